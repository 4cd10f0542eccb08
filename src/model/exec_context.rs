//! What an action's process finds around it, where its watch says more than who it runs as: plain data.

use std::collections::BTreeMap;

use nix::libc;
use serde::{Deserialize, Serialize};

/// The default is what a watch has that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecContext {
    /// Environment variables, beside those that every action has or in their place. By name, so that their order in a
    /// script makes no other definition.
    pub variables: BTreeMap<String, String>,
    /// Absolute. Entered under the action's own identity.
    pub cwd: String,
    /// 0 to 0o777.
    pub umask: u32,
    /// -20 to 19. `None`: the daemon's.
    pub nice: Option<i32>,
    /// Soft and hard in one; [`UNLIMITED`] is none.
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

/// Where stdout and stderr go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Output {
    /// Into the daemon's log, and into its ledger.
    Log,
    Discard,
    /// Appended to the file at this absolute path. The daemon sees nothing of it.
    File(String),
}

/// The kernel's own number for no limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// What the kernel limits the use of, under its own numbers; see getrlimit(2).
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

    /// As a script and prlimit(1) write it.
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

    /// What its number counts, with a space before it; nothing where the name says it.
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
