//! A commit as a whole, and as the data of its node.

use crate::model::Commit;
use crate::value::commit::encode as encode_parts;

/// A commit with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullCommit {
    pub header: Commit,
    /// Empty if the commit removes its key.
    pub payload: Vec<u8>,
}

/// Returns the data of the node that publishes the commit.
pub fn encode(commit: &FullCommit) -> Vec<u8> {
    encode_parts(&commit.header, &commit.payload)
}
