//! Twitcher watches nodes in a coordination service and runs an action the moment one changes.
//!
//! Data flows one way, left to right:
//!
//! ```text
//!  store::zookeeper ┐                                                  ┌ command (fork and exec)
//!  store::directory ┴─ Observed ─▶ watch (pure) ── Effect ──▶ daemon ──┤
//!                                    ▲    ▲                    │  │    └ function (twitcher act)
//!  config (hot reload) ─ WatchChange ┘    └── ends, timers ────┘  ├──▶ report ─▶ log, metrics
//!  control (operators) ─ DaemonRequest ─▶ daemon                      └──▶ ledger
//! ```
//!
//! * [`store`] turns each node into the stream of its latest states. Sessions, re-arming, backoff and
//!   resync stay inside it; at rest, the last state it gave is the true one. Whole trees are put together from single nodes
//!   on the way to the daemon, for every store alike.
//! * [`config`] turns `*.twc` files into plain [`model::WatchSpec`]s. Scripts are evaluated in a
//!   short-lived, unprivileged and limited child; the daemon itself holds no interpreter. Root's reads nothing that
//!   others can change, as [`trust`] says.
//! * [`watch`] is the pure core: it decides what runs, when, what is signalled, and what is held as suspicious. No IO, no
//!   clock.
//! * [`action`] starts processes with exactly the identity and environment an action is promised.
//! * [`daemon`] is the shell: one loop that feeds the core and performs its effects, and tells systemd that it does
//!   ([`daemon::systemd`]).
//! * [`ledger`] remembers, beyond the daemon's death, where each watch stands and what ran. A new daemon goes on from
//!   there.
//! * [`report`] has one typed report per event, and turns each into a log line and a count.
//! * [`metrics`] has these counts, and how the daemon is at the moment, as Prometheus reads them.
//! * [`control`] lets operators see and steer the daemon, over a socket that a thread of its own serves.
//! * [`settings`] reads `twitcher.toml`, flags and environment variables into plain settings.
//! * [`cli`] has one file or folder per subcommand.
//! * [`sys`] is the only unsafe code.

#![deny(unsafe_code)]

pub mod act;
pub mod action;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod report;
pub mod settings;
pub mod store;
#[allow(unsafe_code)]
pub mod sys;
pub mod text;
pub mod trust;
pub mod watch;
