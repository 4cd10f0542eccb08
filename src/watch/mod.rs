//! The pure core: decides what a watch does about what happens.
//!
//! [`Watch::step`] takes the time and an [`Input`], and returns [`Effect`]s for the daemon to perform. This
//! room does no IO and reads no clock. Run ids and random delays come from the [`Generator`] that the caller
//! passes. So every promise about run modes, timeouts and removal is tested by tables (`tests/`) and by
//! properties (`properties.rs`).
//!
//! An update goes through these files:
//!
//! 1. The store reports a state of the node. [`updates`] compares this state with the one before, decides
//!    whether it is an update, and names the [`event`] of the update. The ledger stores the state that was
//!    seen as part of the [`snapshot`], for the next daemon.
//! 2. [`guard`] judges the update by its size. A suspicious update is [`held`] until the node changes or an
//!    operator forces it, which means that the action runs with it all the same.
//! 3. If the watch has `decode`, the update is [`undecoded`] until the daemon has a verdict on its content.
//!    Faulty content is held as well.
//! 4. As the run mode says, [`updates`] replaces the waiting update (QUEUE), queues behind it (PARALLEL), or
//!    ignores the new one while the action runs (DISCARD).
//! 5. [`runs`] starts the update when run mode, throttles and older runs allow it, and ends the run at its
//!    timeout. After a success, the update counts as applied. After a failure, it is retried or given up.
//!
//! [`state`] defines a watch, [`step`] calls the other files, [`interface`] defines inputs and effects,
//! [`circles`] finds watches that start themselves, [`commands`] answers operators, [`pause`] ends a pause
//! whose time is over, and [`condition`] names the condition that operators see.

mod circles;
mod commands;
mod condition;
mod event;
mod generator;
mod guard;
mod held;
mod interface;
mod past;
mod pause;
#[cfg(test)]
mod properties;
mod runs;
mod seldom;
mod snapshot;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod undecoded;
mod updates;
mod waiting;

pub use circles::{CircleChange, Circles};
pub use commands::{Accepted, Refusal};
pub use condition::Condition;
pub use event::Event;
pub use generator::Generator;
pub use held::{Held, HoldReason};
pub use interface::{
    DecodingId, Effect, Input, KILL_AFTER, MAX_WAITING, Reason, RunId, RunResult, Time, Update, Verdict,
};
pub use snapshot::{Record, Recovery, Seen, Snapshot};
pub use state::Watch;
