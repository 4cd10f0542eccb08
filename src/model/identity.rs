//! The user and groups that an action runs as.

use serde::{Deserialize, Serialize};

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
