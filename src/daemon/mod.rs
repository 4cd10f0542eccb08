//! The shell around the pure core: one loop that tells every watch what happens and performs the effects that
//! the core asks for. It decides nothing about a watch.
//!
//! **How it moves.** [`event_loop`] waits for what happens next and passes it to the part that it concerns:
//!
//! ```text
//!  stores ────── store_events ─┐                                   ┌ runs ─── launch ─▶ processes
//!  config files ─ registration ┤                                   ├ persist ─────────▶ ledger
//!  timers, signals ────────────┼─▶ watches ─▶ core ─▶ effects ─────┤
//!  operators ──── operator ────┤    (queue of effects)  (performed)└ log
//!  ends of runs ── effects ────┘
//! ```
//!
//! A turn takes one event, or a few of the stores. At its end the effects are performed, in the order in
//! which the core asked for them. Runs start last, all at once, after one commit of the ledger that names
//! them all: so the next daemon knows of every process that this one may have started. Whatever else changed
//! is written a moment later.
//!
//! **Parts.** Each part owns its state, knows no other part, and is handed what it needs:
//!
//! * [`watches`] has the watches and the timers, and asks the core.
//! * [`runs`] has the runs that are about to start and those that are live.
//! * [`persist`] has the ledger, and knows when it is told what.
//! * [`configs`] knows which files fail, which were there at the start, and who waits for a reload.
//! * [`completion`] knows when the daemon is over, and what a dry run would have started.
//! * [`stores`] has the stores, and what is followed in each.
//! * [`systemd`] tells the service manager how the daemon does.
//!
//! **What happens between them**, each in the one place where it is done: [`store_events`], [`registration`]
//! (a config file was loaded), [`effects`] (the core wants something, or a run ended), [`operator`] (commands
//! and questions), [`orphans`] (runs of a former daemon, at the start), [`status`] (all parts, looked at).

mod clock;
mod completion;
mod configs;
mod effects;
mod event_loop;
mod launch;
mod operator;
mod orphans;
mod persist;
mod registration;
mod runs;
mod status;
mod store_events;
mod stores;
pub mod systemd;
mod watches;

pub use completion::{FinalStatus, PlannedRun, Until};
pub use event_loop::{Parts, run};
pub use stores::Stores;
