//! Who an action runs as.

use serde::{Deserialize, Serialize};

/// A user or group as a script names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    Id(u32),
    Name(String),
}

/// Who an action runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub home: String,
    pub shell: String,
    pub uid: u32,
    pub gid: u32,
    /// What the child must become. `None`: the daemon's own ids and groups, untouched.
    pub change: Option<Credentials>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; set whole, so that nothing of the daemon's is left.
    pub groups: Vec<u32>,
}
