//! The settings of an action's process, besides its identity.

use std::collections::BTreeMap;

use nix::libc;
use serde::{Deserialize, Serialize};

/// Environment, working directory, limits and output of an action's process. The default is for a watch that
/// sets none of these keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecContext {
    /// Environment variables that are added to those of every action, or replace them. Their order in a
    /// script is not part of the definition.
    pub variables: BTreeMap<String, String>,
    /// An absolute path. The process enters it with the action's own identity.
    pub cwd: String,
    /// 0 to 0o777.
    pub umask: u32,
    /// -20 to 19. `None`: the daemon's own.
    pub nice: Option<i32>,
    /// Each value is both the soft and the hard limit. [`UNLIMITED`] means no limit.
    pub limits: BTreeMap<Resource, u64>,
    pub no_new_privs: bool,
    pub output: Output,
}

impl Default for ExecContext {
    fn default() -> Self {
        Self {
            variables: BTreeMap::new(),
            cwd: "/".to_owned(),
            umask: 0o022,
            nice: None,
            limits: BTreeMap::new(),
            no_new_privs: false,
            output: Output::Log,
        }
    }
}

/// Where an action's stdout and stderr go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Output {
    /// To the daemon's log and its ledger.
    Log,
    Discard,
    /// To the end of the file at this absolute path, without passing through the daemon.
    File(String),
}

/// The kernel's number for no limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// A resource whose use the kernel limits, with the kernel's number for it; see getrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(i32)]
pub enum Resource {
    As = libc::RLIMIT_AS as i32,
    Core = libc::RLIMIT_CORE as i32,
    Cpu = libc::RLIMIT_CPU as i32,
    Data = libc::RLIMIT_DATA as i32,
    Fsize = libc::RLIMIT_FSIZE as i32,
    Locks = libc::RLIMIT_LOCKS as i32,
    Memlock = libc::RLIMIT_MEMLOCK as i32,
    Msgqueue = libc::RLIMIT_MSGQUEUE as i32,
    Nice = libc::RLIMIT_NICE as i32,
    Nofile = libc::RLIMIT_NOFILE as i32,
    Nproc = libc::RLIMIT_NPROC as i32,
    Rss = libc::RLIMIT_RSS as i32,
    Rtprio = libc::RLIMIT_RTPRIO as i32,
    Rttime = libc::RLIMIT_RTTIME as i32,
    Sigpending = libc::RLIMIT_SIGPENDING as i32,
    Stack = libc::RLIMIT_STACK as i32,
}

impl Resource {
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// Returns the name in configs and in prlimit(1).
    pub fn name(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
        }
    }

    /// Returns the unit of the limit with a space before it, or an empty text if the name says what is
    /// counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::As
            | Self::Core
            | Self::Data
            | Self::Fsize
            | Self::Memlock
            | Self::Msgqueue
            | Self::Rss
            | Self::Stack => " bytes",
            Self::Cpu => " s",
            Self::Rttime => " µs",
            Self::Locks | Self::Nice | Self::Nofile | Self::Nproc | Self::Rtprio | Self::Sigpending => "",
        }
    }
}
