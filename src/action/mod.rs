//! Actions: processes with exactly the identity, environment and descriptors that the contract promises.
//!
//! * [`spawn`] starts one and says whether its program could be executed.
//! * [`run`] follows it to its end: signals, output, exit status.
//! * [`output`] turns what it prints into bounded log lines.

pub mod output;
pub mod run;
pub mod spawn;
