//! Twitcher watches nodes in a coordination service and runs an action as soon as one changes.
//!
//! ```text
//!  store::zookeeper ┐ ┊                                                ┌▶ action: a command, a function
//!  store::etcd      ┼─┊▶ daemon ─ Input ─▶ watch,  ─ Effect ─▶ daemon ─┼▶ ledger
//!  store::directory ┘ ┊    ▲               service              │      ├▶ report ─▶ log, metrics
//!  config, control ────────┤               (pure)               │      └┊▶ keeper: members in a store
//!                          └─────── ends of actions, timers ────┘
//! ```
//!
//! The dotted lines are the cut: what talks to a store runs in a process of its own without the daemon's
//! rights, and its keeper, which holds the members of services there, in another one. `store::half` is both
//! sides of it.
//!
//! An update travels from left to right. The ends of actions and the timers are events of the daemon's loop
//! like any other. CONTRIBUTING.md follows one update through all of it.
//!
//! The rooms, from the top floor down. A room uses only rooms below it; `tests/arrows` holds the exact table.
//!
//! * [`cli`] defines the command line, one file per subcommand.
//! * [`daemon`] is the loop around the core: it tells the watches what happens, performs what they want done,
//!   and tells systemd that it is alive. It decides nothing about a watch.
//! * [`serve`] is another program in the same binary: the HTTP server of versioned configuration, without
//!   rights and without the daemon.
//! * [`control`] lets operators see and steer the daemon, over a socket that a thread of its own serves.
//! * [`metrics`] exports counts and the current state in the format of Prometheus.
//! * [`report`] defines one report per event, and turns each into a log line and a count.
//! * [`cache`] keeps the last data of each node, for when the store is away.
//! * [`ledger`] persists where each watch stands and which runs there were, so that the next daemon goes on
//!   from there.
//! * [`act`] is what runs in the process of a function action; [`action`] starts and follows processes, with
//!   exactly the identity and environment that an action is promised.
//! * [`decode`] has a content decoded by a child without rights.
//! * [`watch`] is the pure core: it decides what runs, when, which process is signalled, and which update is
//!   held as suspicious. It does no IO and reads no clock.
//! * [`service`] is its sister for services: it decides when a service is checked, and when its member is
//!   announced and withdrawn.
//! * [`config`] turns `*.twc` files into plain [`model::WatchSpec`]s. A short-lived, unprivileged and limited
//!   child evaluates the scripts; the daemon itself holds no interpreter.
//! * [`listen`] bounds what the clients of a listener take.
//! * [`settings`] combines flags, environment variables and `twitcher.toml`.
//! * [`commits`] keeps versioned configuration in a journal, and publishes the newest commits in a store.
//! * [`store`] turns each node into the stream of its latest states. Sessions, backoff and resync stay inside
//!   it. Once a node stops changing, the last state that the store reported is the node's state. Each store
//!   runs in a process of its own, without the daemon's rights; only [`store`] knows where the cut is.
//! * [`content`] reads what nodes contain, and [`value`] what it means: JSON, CBOR, properties and commits.
//!   Only what runs without root uses them.
//! * [`trust`] judges which files root may load: only those that no other user can change.
//! * [`sys`] contains all unsafe code.
//! * [`model`] is the plain data that several rooms share, and [`text`] has helpers for text.

#![deny(unsafe_code)]

pub mod act;
pub mod action;
pub mod cache;
pub mod cli;
pub mod commits;
pub mod config;
pub mod content;
pub mod control;
pub mod daemon;
pub mod decode;
pub mod ledger;
pub mod listen;
pub mod metrics;
pub mod model;
pub mod report;
pub mod serve;
pub mod service;
pub mod settings;
pub mod store;
#[allow(unsafe_code)]
pub mod sys;
pub mod text;
pub mod trust;
pub mod value;
pub mod watch;
