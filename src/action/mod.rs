//! Actions: processes with exactly the identity, environment and descriptors that the contract promises.
//!
//! * [`payload`] is the content of a node, as an action reads it.
//! * [`spawn`] starts a process and tells whether its program could be executed.
//! * `diagnosis` explains why a process could not be started.
//! * [`run`] follows a process to its end: signals, exit status, the rest of its group.
//! * [`reap`] reaps processes, however long somebody else holds them back.
//! * `sink` reads the output of a process, which [`output`] turns into bounded log lines.
//! * [`left_behind`] keeps the output of what an action left behind flowing when the daemon stops.
//! * [`orphan`] finds processes that a former daemon started and did not see end.
//! * [`process_watch`] tells when a process has ended.
//! * [`slots`] tells the next daemon of processes that the ledger does not know yet.
//! * [`proc`] reads what `/proc` tells of processes.

mod diagnosis;
pub mod left_behind;
pub mod orphan;
pub mod output;
pub mod payload;
pub mod proc;
pub mod process_watch;
pub mod reap;
pub mod run;
mod sink;
pub mod slots;
pub mod spawn;
mod start_error;
