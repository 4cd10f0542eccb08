//! Why a command on a store failed.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::condition::{Condition, Found};
use super::etcd::RowError;
use crate::model::NodePath;

/// Why a command failed. The text names the node, the URL of the store and the remedy.
#[derive(Debug, Error)]
pub enum ClientError {
    /// `permanent` tells that another try would not help, before somebody does something.
    #[error("cannot connect to {store}: {reason}")]
    Unreachable { store: String, reason: String, permanent: bool },
    /// One request has no reply. A command of many requests may take longer than this.
    #[error("{store}: no answer within {} s{doubt}", .timeout.as_secs_f64())]
    NoAnswer { store: String, timeout: Duration, doubt: Doubt },
    #[error("the connection to {store} was lost ({reason}){doubt}")]
    Lost { store: String, reason: String, doubt: Doubt },
    #[error("node {node} does not exist in {store}; {remedy}")]
    Missing { node: NodePath, store: String, remedy: &'static str },
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
    #[error("{} ({store}); nothing was changed", .found.against(*.condition, &format!("node {}", .node)))]
    ConditionFailed { node: NodePath, store: String, condition: Condition, found: Found },
    #[error("node {node} was written, but its ACL was not changed: {reason}")]
    AclNotSet { node: NodePath, reason: Box<ClientError> },
    /// The store cannot do this for now.
    #[error("node {node} in {store}: {reason}")]
    Hindered { node: NodePath, store: String, reason: String },
    #[error("{store} is read-only (`readonly = true` in twitcher.toml); nothing was changed")]
    ReadOnly { store: String },
    /// The store has no such thing.
    #[error("{store}: {reason}")]
    Unsupported { store: String, reason: String },
    /// The path begins like that of a row of a table, and is none.
    #[error("node {mistake} (in {store})")]
    Row { store: String, mistake: RowError },
    #[error("node {node} in {store}: {reason}")]
    Refused { node: NodePath, store: String, reason: String },
    #[error("node {node} in {store}: {source}")]
    File { node: NodePath, store: String, source: io::Error },
}

impl ClientError {
    /// The remedy where a node is missing that can be there.
    pub const CREATE: &str = "create it with `twitcher set`";
}

/// What a command does to a node, and so the right that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    /// Replacing the content.
    Write,
    Create,
    Remove,
    /// Replacing the ACL.
    Administrate,
}

/// What an error without a reply leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing was asked for yet, or nothing that changes anything.
    None,
    /// Whether this node was changed.
    Change(NodePath),
    /// Whether a transaction was done.
    Transaction,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("; try again"),
            Self::Change(node) => {
                write!(f, "; whether node {node} was changed is unknown, so look and try again")
            }
            Self::Transaction => {
                f.write_str("; whether the transaction was done is unknown, so look before you try again")
            }
        }
    }
}

impl ClientError {
    /// Whether the same command may succeed soon, without anybody doing anything about it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { permanent, .. } => !permanent,
            Self::NoAnswer { .. } | Self::Lost { .. } | Self::Contended { .. } | Self::Hindered { .. } => {
                true
            }
            Self::AclNotSet { reason, .. } => reason.is_transient(),
            Self::File { source, .. } => is_transient(source),
            Self::Missing { .. }
            | Self::NothingToRemove { .. }
            | Self::NoRoot { .. }
            | Self::Forbidden { .. }
            | Self::NotEmpty { .. }
            | Self::Root { .. }
            | Self::TooLarge { .. }
            | Self::ConditionFailed { .. }
            | Self::ReadOnly { .. }
            | Self::Unsupported { .. }
            | Self::Row { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// Whether the command may have changed something all the same.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::NoAnswer { doubt, .. } | Self::Lost { doubt, .. } => *doubt != Doubt::None,
            Self::AclNotSet { .. } => true,
            Self::Unreachable { .. }
            | Self::Contended { .. }
            | Self::Hindered { .. }
            | Self::File { .. }
            | Self::Missing { .. }
            | Self::NothingToRemove { .. }
            | Self::NoRoot { .. }
            | Self::Forbidden { .. }
            | Self::NotEmpty { .. }
            | Self::Root { .. }
            | Self::TooLarge { .. }
            | Self::ConditionFailed { .. }
            | Self::ReadOnly { .. }
            | Self::Unsupported { .. }
            | Self::Row { .. }
            | Self::Refused { .. } => false,
        }
    }
}

/// Whether the error of a file is that of a disk or a server that is away for a moment.
fn is_transient(error: &io::Error) -> bool {
    // The enum is open.
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::EIO
                | Errno::ESTALE
                | Errno::ETIMEDOUT
                | Errno::ENOTCONN
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::EBUSY
                | Errno::EINTR
                | Errno::EAGAIN
        )
    )
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Administrate => "change the ACL of",
        })
    }
}

impl Right {
    /// Returns what an error without a reply leaves open.
    pub(super) fn doubt(self, node: &NodePath) -> Doubt {
        match self {
            Self::Read => Doubt::None,
            Self::Write | Self::Create | Self::Remove | Self::Administrate => Doubt::Change(node.clone()),
        }
    }
}
