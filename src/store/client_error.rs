//! Why a command on a store failed.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::model::NodePath;

/// Why a command failed. The text names the node, the URL of the store and the remedy.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot connect to {store}: {reason}")]
    Unreachable { store: String, reason: String },
    /// One request has no reply. A command of many requests may take longer than this.
    #[error("{store}: no answer within {} s{doubt}", .timeout.as_secs_f64())]
    NoAnswer { store: String, timeout: Duration, doubt: String },
    #[error("the connection to {store} was lost ({reason}){doubt}")]
    Lost { store: String, reason: String, doubt: String },
    #[error("node {node} does not exist in {store}; create it with `twitcher set`")]
    Missing { node: NodePath, store: String },
    #[error("node {node} does not exist in {store}, so nothing was removed")]
    NothingToRemove { node: NodePath, store: String },
    /// `what` is the chroot or the directory under which all nodes of the store are.
    #[error(
        "{what} of {store} does not exist, so the store has no node {node}; is that the right store? \
         (`twitcher set` creates both)"
    )]
    NoRoot { node: NodePath, store: String, what: String },
    #[error("no permission to {right} node {node} in {store}; {remedy}")]
    Forbidden { node: NodePath, store: String, right: Right, remedy: String },
    #[error("node {node} in {store} has children; remove them first or give --recursive")]
    NotEmpty { node: NodePath, store: String },
    #[error("the root of {store} cannot be removed; name a node below it")]
    Root { store: String },
    #[error("{size} bytes are too many for node {node} in {store}; nothing was changed. {limit}")]
    TooLarge { node: NodePath, store: String, size: usize, limit: String },
    #[error(
        "node {node} in {store}: others changed it at each of {tries} tries within {} s; nothing was \
         written; try again",
        .timeout.as_secs_f64()
    )]
    Contended { node: NodePath, store: String, tries: u64, timeout: Duration },
    #[error("node {node} in {store}: {reason}")]
    Refused { node: NodePath, store: String, reason: String },
    #[error("node {node} in {store}: {source}")]
    File { node: NodePath, store: String, source: io::Error },
}

/// What a command does to a node, and so the right that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    /// Replacing the content.
    Write,
    Create,
    Remove,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Remove => "remove",
        })
    }
}

impl Right {
    /// Returns what an error without a reply leaves open.
    pub(super) fn doubt(self, node: &NodePath) -> String {
        match self {
            Self::Read => "; try again".to_owned(),
            Self::Write | Self::Create | Self::Remove => {
                format!("; whether node {node} was changed is unknown, so look and try again")
            }
        }
    }
}
