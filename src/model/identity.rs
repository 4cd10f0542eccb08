//! The user and groups that an action runs as.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// A user or group in a config.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Account {
    Id(u32),
    Name(String),
}

/// A user from the system's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub home: String,
    pub shell: String,
    pub uid: u32,
    pub gid: u32,
    /// The credentials that the child must take on. `None`: it keeps the daemon's ids and groups.
    pub change: Option<Credentials>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// All supplementary groups. They replace those of the daemon.
    pub groups: Vec<u32>,
}

/// The user and group that a config asks for; `None` is the daemon's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RunAs {
    pub uid: Option<Account>,
    pub gid: Option<Account>,
}

impl RunAs {
    /// Whether the action runs as the daemon does.
    pub fn is_own(&self) -> bool {
        self.uid.is_none() && self.gid.is_none()
    }
}

/// What a config says of the user or group: `user appx`, `user 4001, group www`.
impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.uid, &self.gid) {
            (None, None) => f.write_str("the daemon's user"),
            (Some(uid), None) => write!(f, "user {uid}"),
            (None, Some(gid)) => write!(f, "group {gid}"),
            (Some(uid), Some(gid)) => write!(f, "user {uid}, group {gid}"),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Id(id) => id.fmt(f),
            Account::Name(name) => f.write_str(&printable(name.as_bytes())),
        }
    }
}
