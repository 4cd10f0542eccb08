//! A whole subtree as one subject, put together from the data and the children of its nodes.
//!
//! No store knows of trees. A [`router`] between the daemon and a store's task follows, for each tree, the data and
//! the children of every node in it, and gives its state when all of them are known. From the store's guarantee
//! follows the tree's: at rest, the last state given is the true one.
//!
//! * [`Tree`](crate::model::Tree) is a finished state.
//! * [`assembly`] has one tree in the making, [`trees`] all of a store: neither does any IO.
//! * [`router`] is what the daemon and the store's task touch.

mod assembly;
mod node;
#[cfg(test)]
mod properties;
pub(super) mod router;
#[cfg(test)]
mod tests;
mod trees;

pub use assembly::MAX_TREE_NODES;

/// What trees need to know of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capabilities {
    /// Whether a version is the same for every daemon.
    pub(super) durable_versions: bool,
    /// A child of the root that is the store's own, and in no tree at the root.
    pub(super) reserved: Option<&'static str>,
}

/// For what cannot be: a store's task that is to follow a tree.
pub(super) fn unsupported_tree_facet() -> ! {
    unreachable!("trees are put together from what stores tell of single nodes")
}
