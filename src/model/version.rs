//! Versions, which distinguish the states of a subject.

use serde::{Deserialize, Serialize};

/// Identifies one state of a subject in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Differs between a node and a node that was re-created under its name (ZooKeeper: czxid). Negative if
    /// nothing tells the two apart for sure, see [`Self::of_several`].
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

    /// Returns the version of what is there as long as one of several keys is, as a tree in etcd: no key has
    /// to outlive the others. `since` is a positive number, like `number`: it was there without a gap from
    /// this one on, as far as is known. The revision must differ between any two states.
    pub fn of_several(since: i64, revision: i64, number: i64) -> Self {
        Self { incarnation: -since, revision, number }
    }

    /// Returns since when it is known to be there, if it is made of several keys.
    fn since(self) -> Option<i64> {
        self.incarnation.checked_neg().filter(|since| *since > 0)
    }

    pub fn is_deletion(self) -> bool {
        (self.incarnation, self.revision) == (Self::DELETION.incarnation, Self::DELETION.revision)
    }

    /// Whether both versions name the same state of the subject. Their numbers can differ: the number of a
    /// directory is its modification time, which also changes with files that are not its children. Since
    /// when something of several keys is there is known better or worse.
    pub fn is_same_state(self, other: Self) -> bool {
        let is_of_several = self.since().is_some() && other.since().is_some();
        self.revision == other.revision && (is_of_several || self.incarnation == other.incarnation)
    }

    /// Whether the subject was gone, as far as is known, after it had this earlier version.
    pub fn was_recreated_since(self, before: Self) -> bool {
        match (self.since(), before.since()) {
            (Some(since), Some(_)) => since > before.number,
            (Some(_) | None, Some(_) | None) => self.incarnation != before.incarnation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_several_keys_was_recreated_if_none_of_them_is_left() {
        let tree = Version::of_several;
        let before = tree(3, 77, 9);
        // It was read anew, when the oldest of the keys had gone that were there before.
        assert!(!tree(9, 78, 12).was_recreated_since(before));
        assert!(tree(10, 78, 12).was_recreated_since(before));
        assert!(tree(9, 77, 9).is_same_state(before) && !tree(3, 78, 9).is_same_state(before));
        assert!(!before.is_deletion() && Version::DELETION.is_deletion());
        assert!(!Version { revision: i64::MIN, ..before }.is_same_state(Version::DELETION));
    }

    #[test]
    fn a_node_was_recreated_if_its_incarnation_is_another() {
        let node = |incarnation, revision| Version { incarnation, revision, number: 100 };
        assert!(node(1, 5).was_recreated_since(node(2, 5)) && !node(2, 6).was_recreated_since(node(2, 5)));
        assert!(node(2, 5).is_same_state(node(2, 5)) && !node(2, 5).is_same_state(node(1, 5)));
        assert!(!node(2, 5).is_same_state(node(-2, 5)) && node(2, 5).was_recreated_since(node(-2, 5)));
    }
}
