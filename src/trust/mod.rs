//! Decides whether root trusts the files that it reads, and opens them so that nobody can exchange them.
//!
//! * `rule` judges one file, directory or link by its owner and mode.
//! * `place` opens files that root writes to, so that no other user can choose which.
//! * [`root`] opens the config directory and everything in it by that rule.
//! * `way` finds the links and directories that decide where a path leads, and `way_watch` watches them.

mod place;
pub mod root;
mod rule;
mod way;
mod way_watch;

pub use place::Place;
pub use rule::{Fault, Location, Trust, Untrusted, check, exposed};
pub use way::way;
pub use way_watch::WayWatch;
