//! A directory as a store: a node is a file, and its children are the entries of a directory.
//!
//! * [`settings`] is what people give.
//! * [`start`](mod@start) begins to follow nodes, as soon as the system lets us.
//! * [`follow`] follows nodes, each as a [`node`], with hints from inotify [`watches`]; [`subjects`] says
//!   which directories these are.
//! * [`root`] looks whether the store is there, and [`way`] follows the links and directories above it.
//! * [`successor`] is the process after this one, and the one that must read another directory, which this
//!   one may not. [`tally`] counts the nodes that are there.
//! * [`file`] reads nodes from files, which must lie [`inside`] the store, and [`client`] are the commands.
//!   [`remove`] removes a tree. [`keep`] keeps members, each with a [`claim`] in a [`claim_file`], and
//!   [`elect`] stands for a leadership.

mod claim;
mod claim_file;
mod client;
mod elect;
mod file;
mod follow;
mod inside;
mod keep;
mod node;
mod remove;
mod root;
mod settings;
mod start;
mod subjects;
mod successor;
mod tally;
#[cfg(test)]
mod tests;
mod watches;
mod way;

pub(super) use client::DirectoryClient;
pub(super) use elect::elect;
pub(super) use keep::keep;
pub(super) use root::{of_former_daemon, permit};

/// The most data of a node.
pub(super) const MAX_DATA: usize = file::MAX_NODE_BYTES as usize;

/// The longest path of a file. Linux takes one byte less than this in all, and a node is written to a file
/// with another name beside it first.
pub(super) const MAX_PATH: usize = nix::libc::PATH_MAX as usize - 1 - "/.twitcher-123456".len();

pub use settings::{DirectorySettings, DirectoryUrl, DirectoryUrlError};
pub(super) use start::start;
