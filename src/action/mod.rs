//! Actions: processes with exactly the identity, environment and descriptors that the contract promises.
//!
//! * [`payload`] is what one is given of its node.
//! * [`spawn`] starts one and says whether its program could be executed.
//! * [`run`] follows it to its end: signals, output, exit status.
//! * [`output`] turns what it prints into bounded log lines.
//! * [`orphan`] finds what a former daemon started and did not see end, by what [`proc`] says.

pub mod orphan;
pub mod output;
pub mod payload;
pub mod proc;
pub mod run;
pub mod spawn;
