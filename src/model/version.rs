//! Versions, which distinguish the states of a subject.

use serde::{Deserialize, Serialize};

/// Identifies one state of a subject in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Differs between a node and a node that was re-created under its name (ZooKeeper: czxid).
    pub incarnation: i64,
    /// Differs between two states of one incarnation (ZooKeeper: mzxid for data, pzxid for children; a tree:
    /// a hash of the versions of its nodes; members: a hash of what they say).
    pub revision: i64,
    /// The number that people see, and that actions get as `TWITCHER_VERSION` (ZooKeeper: the data version or
    /// the cversion; a tree: its revision). It is never compared, because a re-created node starts at 0
    /// again.
    pub number: i64,
}

impl Version {
    /// The version of a deletion, which has no version in the store. No node has this number.
    pub const DELETION: Self = Self { incarnation: i64::MIN, revision: i64::MIN, number: -1 };

    /// The version of the data of a node that is only there because others are below it.
    pub const UNWRITTEN: Self = Self { incarnation: 0, revision: 0, number: 0 };

    pub fn is_deletion(self) -> bool {
        self.is_same_state(Self::DELETION)
    }

    /// Whether both versions name the same state of the subject. Their numbers can differ: the number of a
    /// directory is its modification time, which also changes with files that are not its children.
    pub fn is_same_state(self, other: Self) -> bool {
        (self.incarnation, self.revision) == (other.incarnation, other.revision)
    }
}
