//! A directory as a store: a node is a file, and its children are the entries of a directory.
//!
//! * [`settings`] is what people give.
//! * [`follow`] follows nodes, each as a [`node`], with hints from inotify [`watches`].
//! * [`way`] follows the links and directories above the store.
//! * [`file`] reads nodes from files, and [`client`] are the commands. [`remove`] removes a tree.

mod client;
mod file;
mod follow;
mod node;
mod remove;
mod settings;
#[cfg(test)]
mod tests;
mod watches;
mod way;

pub(super) use client::DirectoryClient;
pub(super) use follow::start;
pub use settings::{DirectorySettings, DirectoryUrl, DirectoryUrlError};
