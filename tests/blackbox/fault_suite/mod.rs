//! The fault suite: each promise of the contract under the faults that threaten it, on real servers. The
//! daemon is not asked whether it kept the promise: a second client compares every node's final content with
//! a journal that the actions append to.
//!
//! With `FAULTS=full` in the environment the loads and lengths are those of the promises. Without, they are
//! smaller, so that the whole test run takes minutes.

mod actions;
mod cache;
mod configs;
mod crash;
mod ensemble;
mod halves;
mod ledger;
mod ledger_kept;
mod machine;
mod machines;
mod name_server;
mod network;
mod oracle;
mod remote;
mod sessions;
mod soak;
