//! Trees: a whole subtree as one subject, assembled from the data and the children of its nodes. The members
//! of a service are assembled in the same way, from the list of its children and the data of each.
//!
//! ZooKeeper and directories know single nodes only. For them, a [`router`] between the channel and the
//! backend follows the data and the children of every node in a tree, and reports the tree's state when all
//! of them are known. The store's guarantee holds for trees as well: at rest, the last state reported is the
//! true one.
//!
//! This happens on the store's side of the channel, for three reasons. A store that can watch a whole tree at
//! once needs no router: it reports trees itself, and the daemon sees no difference. The daemon hears of one
//! state per tree, however many nodes have changed. And assembling looks into what nodes contain, which the
//! process of a store can do with fewer rights than the daemon has.
//!
//! * [`Tree`](crate::model::Tree) is a finished state.
//! * [`assembly`] is one tree, or one service, that is being assembled, [`shape`] says of what, within which
//!   [`limits`], and [`trees`] are all of a store. None does any IO.
//! * [`router`] connects them to the channel and to the backend.

mod assembly;
mod limits;
mod node;
#[cfg(test)]
mod properties;
pub(super) mod router;
mod shape;
#[cfg(test)]
mod tests;
mod trees;

pub(super) use limits::{DEBOUNCE, MAX_BYTES, MAX_DEBOUNCE};
