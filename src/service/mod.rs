//! The pure core of a service: decides when it is checked, and when its member is announced and withdrawn.
//!
//! [`Service::step`] takes the time and an [`Input`], and returns [`Effect`]s for the daemon to perform. This
//! room does no IO and reads no clock. So every promise about checks and members is tested by tables
//! (`tests.rs`) and by properties (`properties.rs`).
//!
//! A member goes through these files:
//!
//! 1. [`checks`] starts the check, and kills it at its timeout. [`verdict`] counts the results in a row:
//!    `rise` successes and `fall` failures turn it. A check that cannot be started leaves it as it is.
//! 2. [`step`] compares what the verdict, the operator and the definition want with what the keeper was told
//!    last, and tells the keeper the difference. The keeper is the part of a store that holds members: it
//!    announces, renews, and tries again by itself for as long as a member is wanted.
//! 3. [`keeping`] takes the keeper's reports: whether the member is there, and what prevents it.
//!
//! [`interface`] defines inputs and effects, [`state`] defines a service, [`condition`] and [`shown`] say
//! what operators see, and [`snapshot`] is what the next daemon needs.

mod checks;
mod condition;
mod interface;
mod keeping;
#[cfg(test)]
mod properties;
mod shown;
mod snapshot;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod verdict;

pub use condition::Condition;
pub use interface::{CheckId, Definition, Effect, Input, Report, Time};
pub use snapshot::Snapshot;
pub use state::Service;
pub use verdict::{CheckResult, Health, Turn, Verdict};
