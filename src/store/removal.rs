//! How far the removal of a tree of nodes has come.

use std::cell::Cell;
use std::fmt;

/// Counts nodes while a command removes a tree. It shows what a removal that did not end has left. Requests
/// without a reply may have removed more, and nodes that are left may have children that are not counted.
#[derive(Debug, Default)]
pub struct Removal {
    /// Nodes that are removed.
    pub removed: Cell<u64>,
    /// Nodes that are known and not removed.
    pub left: Cell<u64>,
}

impl Removal {
    pub(super) fn one_is_gone(&self) {
        self.removed.set(self.removed.get() + 1);
        self.left.set(self.left.get().saturating_sub(1));
    }

    pub(super) fn found(&self, nodes: usize) {
        self.left.set(self.left.get() + nodes as u64);
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (removed, left) = (self.removed.get(), self.left.get());
        write!(f, "at least {removed} removed, about {left} left")
    }
}
