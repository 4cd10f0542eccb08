//! The pure core: decides what a watch does about what happens.
//!
//! [`Watch::step`] takes the time and an [`Input`], and returns [`Effect`]s for the daemon to perform. It
//! does no IO, reads no clock and draws no random numbers. So every promise about run modes, timeouts and
//! removal is tested by tables (`tests/`) and by properties (`properties.rs`).
//!
//! An update goes through these files:
//!
//! 1. The store reports a state of the node. [`updates`] compares it with the state before: is it an update,
//!    or is it known already? What was seen is kept in the [`snapshot`], which outlives the daemon.
//! 2. [`guard`] judges the update. If it is suspicious, it is [`held`] until an operator forces it or the
//!    node changes.
//! 3. [`updates`] puts it among the waiting ones, as the run mode says: in the place of an older one, or
//!    behind it.
//! 4. [`runs`] starts it when run mode, throttles and older runs allow it, ends it at its timeout, and takes
//!    its end: a success is recorded as applied, a failure is retried or given up.
//!
//! [`state`] has the state of a watch, [`step`] calls the other files, [`interface`] has what goes in and
//! comes out, [`commands`] has the answers to operators, and [`condition`] sums up a watch in one word.

mod commands;
mod condition;
mod event;
mod generator;
mod guard;
mod held;
mod interface;
#[cfg(test)]
mod properties;
mod runs;
mod snapshot;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod updates;

pub use commands::{Accepted, Refusal};
pub use condition::Condition;
pub use event::Event;
pub use generator::Generator;
pub use held::{Held, HoldReason};
pub use interface::{Effect, Input, KILL_AFTER, MAX_WAITING, Reason, RunId, RunResult, Time, Update};
pub use snapshot::{Record, Recovery, Seen, Snapshot};
pub use state::Watch;
