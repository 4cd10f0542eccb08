//! What the contents of nodes say. Only rooms that run without root use this one: the stores, the process of
//! a function action, and the client `twitcher watch`. The daemon hands contents on as [`Blob`]s.
//!
//! [`Blob`]: crate::model::Blob
//!
//! * [`read`] reads a blob.
//! * [`node_line`] is the line of JSON that an action reads of a node in a tree.

pub mod node_line;
mod read;

pub use read::{BlobReader, names, read, read_shared};
