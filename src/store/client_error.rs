//! Why a command on a store failed.

use std::io;

use thiserror::Error;

use crate::model::NodePath;

/// Why a command failed. The text names the node, the URL of the store and the remedy.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error("cannot connect to {store}: {reason}")]
    Unreachable { store: String, reason: String },
    #[error(
        "the connection to {store} was lost ({reason}); whether node {node} was changed is unknown, so look \
         and try again"
    )]
    Lost { node: NodePath, store: String, reason: String },
    #[error("node {node} does not exist in {store}; create it with `twitcher set`")]
    Missing { node: NodePath, store: String },
    #[error(
        "node {node} in {store} is not ours to access; check its permissions and `auth` in twitcher.toml"
    )]
    Forbidden { node: NodePath, store: String },
    #[error("node {node} in {store} has children; remove them first or give --recursive")]
    NotEmpty { node: NodePath, store: String },
    #[error("the root of {store} cannot be removed; name a node below it")]
    Root { store: String },
    #[error("node {node} in {store}: {reason}")]
    Refused { node: NodePath, store: String, reason: String },
    #[error("node {node} in {store}: {source}")]
    File { node: NodePath, store: String, source: io::Error },
}
