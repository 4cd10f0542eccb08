//! What tells two states of a subject apart.

/// Identifies one state of one subject within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Differs between a node and the one re-created under its name (ZooKeeper: czxid).
    pub incarnation: i64,
    /// Differs between two states of one incarnation (ZooKeeper: mzxid for data, pzxid for children; a tree: a hash
    /// of all its versions).
    pub revision: i64,
    /// What people are shown and actions get as `TWITCHER_VERSION` (ZooKeeper: the data version or the
    /// cversion; a tree: its revision). Never compared: delete and re-create gives 0 and 0.
    pub number: i64,
}

impl Version {
    /// Returns true if and only if both name one state of the node. The number can differ even so: a directory's is its
    /// modification time, which moves with what is no child of it.
    pub fn is_same_state(self, other: Self) -> bool {
        (self.incarnation, self.revision) == (other.incarnation, other.revision)
    }
}
