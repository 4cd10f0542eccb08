//! The fault suite: each promise of the contract under the fault that breaks it elsewhere, on real servers,
//! with an oracle that does not ask the daemon: a second client compares every node's final content with a
//! journal that the actions append to.
//!
//! With `FAULTS=full` in the environment the loads and lengths are those of the promises; without, they are
//! such that the whole test run stays within minutes.

mod actions;
mod configs;
mod crash;
mod ensemble;
mod ledger;
mod machine;
mod machines;
mod network;
mod oracle;
mod remote;
mod sessions;
mod soak;
