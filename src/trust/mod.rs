//! Decides whether root trusts the files that it reads, and opens them so that nobody can exchange them.
//!
//! * `rule` judges one file, directory or link by its owner and mode.
//! * [`root`] opens the config directory and everything in it by that rule.

pub mod root;
mod rule;

pub use rule::{Fault, Location, Trust, Untrusted, check, exposed};
