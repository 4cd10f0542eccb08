//! Transactions: what `twitcher txn` asks of a store, and what the store replies.
//!
//! All conditions are looked at and all operations are done at one moment, or nothing is done.

use crate::model::NodePath;

/// If all conditions hold, the operations of `then` are done, else those of `otherwise`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    pub conditions: Vec<Test>,
    pub then: Vec<Operation>,
    pub otherwise: Vec<Operation>,
}

impl Transaction {
    /// Whether it could change anything.
    pub fn writes(&self) -> bool {
        let is_write = |operation: &Operation| !matches!(operation, Operation::Get { .. });
        self.then.iter().chain(&self.otherwise).any(is_write)
    }
}

/// A condition on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub node: NodePath,
    pub wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The node is there, and its version has this number.
    Version(i64),
    /// The node is not there (true), or is there (false).
    Absent(bool),
    /// The node is there and has this data.
    Value(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Replaces the data of the node, or creates it, with its parents where the store needs them.
    Set { node: NodePath, data: Vec<u8> },
    /// Removes the node, which must be there. If it is not, or has children where these need it, the
    /// transaction fails, and nothing is done.
    Remove { node: NodePath },
    /// Reads the node, as the operations before leave it.
    Get { node: NodePath },
}

/// What a transaction has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the conditions held.
    pub succeeded: bool,
    /// One for each operation of the branch that was done.
    pub results: Vec<OperationResult>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationResult {
    /// The number of the new version.
    Set {
        node: NodePath,
        version: i64,
    },
    Removed {
        node: NodePath,
    },
    /// The data and the number of the version, if the node is there.
    Got {
        node: NodePath,
        found: Option<(Vec<u8>, i64)>,
    },
}

impl Wanted {
    /// Whether a node in this state, with its data and the number of its version, is what is wanted.
    pub(super) fn is(&self, found: Option<(&[u8], i64)>) -> bool {
        match (self, found) {
            (Self::Version(wanted), Some((_, version))) => *wanted == version,
            (Self::Value(wanted), Some((data, _))) => wanted == data,
            (Self::Version(_) | Self::Value(_), None) => false,
            (Self::Absent(wanted), found) => *wanted == found.is_none(),
        }
    }
}

impl Operation {
    pub fn node(&self) -> &NodePath {
        match self {
            Self::Set { node, .. } | Self::Remove { node } | Self::Get { node } => node,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        match self {
            Self::Set { .. } | Self::Remove { .. } => true,
            Self::Get { .. } => false,
        }
    }
}

impl Transaction {
    pub(super) fn branch(&self, holds: bool) -> &[Operation] {
        if holds { &self.then } else { &self.otherwise }
    }

    /// Returns a node to which a branch writes twice. No store does that.
    pub fn written_twice(&self) -> Option<&NodePath> {
        [&self.then, &self.otherwise].into_iter().find_map(|branch| {
            let mut written: Vec<_> = branch.iter().filter(|operation| operation.is_write()).collect();
            written.sort_by_key(|operation| operation.node());
            written.windows(2).find(|pair| pair[0].node() == pair[1].node()).map(|pair| pair[0].node())
        })
    }
}
