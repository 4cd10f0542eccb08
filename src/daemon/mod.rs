//! The shell around the pure core ([`crate::watch`]): one loop that tells the watches what happens, and
//! performs what the core wants done. What a watch does is the core's decision alone.
//!
//! # How it moves
//!
//! ```text
//!  stores ─────── store_events ─┐                           ┌─ runs ─ starter ─▶ processes
//!  config files ─ registration ─┤                           │
//!  timers, stop ────────────────┼▶ watches ─ core ▶ effects ┼─ persist ────────▶ ledger
//!  operators ──── operator ─────┤                           │
//!  ends of runs ─ effects ──────┘                           └─ log
//! ```
//!
//! [`event_loop`] waits for the next event and passes it to one of the [`parts`]. Most events become
//! inputs of watches: [`watches`] asks the core, and queues the effects that the core answers with. At the
//! end of the turn [`effects`] performs them, in the order in which the core asked for them. A watch that
//! wants to start a run waits for a place ([`places`]). Runs are started last and all together, after one
//! commit of the ledger that names them all: so the next daemon knows every process that this one may have
//! started. Whatever else changed is written a moment later ([`persist`]).
//!
//! # The parts
//!
//! Each part owns its state in private fields. What it needs of another part is an argument.
//!
//! * [`watches`]: the watches, their timers, and the effects that wait.
//! * [`places`]: how many runs there may be, and which watch may start the next one.
//! * [`runs`]: the runs that are about to start, and the live ones ([`live_run`]). [`starter`] starts them,
//!   in threads ([`workers`]).
//! * [`decoder`]: has contents decoded, in threads, each by a child.
//! * [`services`]: the services of the host, their checks, and the keepers of their members.
//! * [`shortage`]: when a shortage of what starts need is over.
//! * [`persist`]: the ledger, when it is written, and what a former daemon left in it.
//! * [`configs`]: which files fail, which were there at the start, and who waits for a reload.
//! * [`completion`]: whether the daemon is over, and what a dry run would have started.
//! * [`departure`]: how far the members of a daemon that stops are gone.
//! * [`share`]: how much of the loop's time the requests of operators get.
//! * [`stores`]: the stores, and which nodes are followed in each, for which [`subscribers`]. What many of
//!   them are to be told waits in [`untold`].
//! * [`signals`]: what each signal means.
//! * [`identities`]: who the users of actions are at the moment. [`waiting_starts`] wait for a lookup.
//! * [`systemd`]: what the service manager is told.
//!
//! What takes several parts is done in one place each: [`store_events`] takes what a store says,
//! [`registration`] what a config file registers, [`effects`] what the core wants and how runs end,
//! [`operator`] commands and questions, [`orphans`] the runs of a former daemon. [`status`] shows the present
//! state of all parts. [`launch`] says what a run's process is started with, [`start_outcome`] and
//! [`run_end`] what the end of a start and of a run mean to the watch, and [`clock`] converts the loop's time
//! into the core's.

mod clock;
mod completion;
mod configs;
mod decoder;
mod departure;
mod effects;
mod event_loop;
#[cfg(test)]
mod fixtures;
mod followed;
mod identities;
mod launch;
mod live_run;
mod operator;
mod orphans;
mod parts;
mod persist;
mod places;
mod registration;
mod run_end;
mod runs;
mod services;
mod share;
mod shortage;
pub mod signals;
mod start_outcome;
mod starter;
mod status;
mod store_events;
mod stores;
mod subscribers;
pub mod systemd;
mod untold;
mod waiting_starts;
mod watches;
mod workers;

pub use completion::{FinalStatus, PlannedRun, Until};
pub use event_loop::{Setup, run};
pub use stores::{Stores, ledger_name};
