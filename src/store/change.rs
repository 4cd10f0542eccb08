//! Looking at many nodes, and changing many, each on its own condition: what publishes a whole table asks of
//! a store. A round trip for each node would take too long.

use super::client_error::ClientError;
use crate::model::{NodePath, Version};

/// What one of many nodes has.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It does not exist.
    Nothing,
    Data(&'a [u8], Version),
    /// Why it cannot be read.
    Unreadable(&'a str),
}

/// Takes in what the node with this index has. The nodes come in any order, each once.
pub type See<'a> = dyn FnMut(usize, Seen<'_>) + 'a;

/// A write or a removal of one node, which is done only if the node is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub node: NodePath,
    /// The state in which the node was seen. `None` if it did not exist.
    pub before: Option<Version>,
    /// The new data. `None` removes the node, which must have no children where these need it.
    pub data: Option<Vec<u8>>,
}

/// What became of a [`Change`].
#[derive(Debug)]
pub enum Changed {
    Done,
    /// The node is not as it was, or the change was not tried. Look again.
    Overtaken,
    Failed(ClientError),
}
