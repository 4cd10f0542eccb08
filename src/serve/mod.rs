//! The server of commits: Rainer's HTTP interface, and who may use it.
//!
//! ```text
//!  connection ─▶ server ─ route ─▶ access ─┬▶ api ──┬▶ namespace ─ validate ─▶ journal, publisher
//!                                          └▶ page ─┘
//! ```
//!
//! * `server` listens, and bounds what clients take; `tls` lets them in by TLS, and `systemd` hears how it
//!   does.
//! * `route` says what an address asks for, and `access` who asks and what they may do.
//! * `api` is the interface for programs: what Rainer's clients expect, byte for byte. `page` is the one for
//!   people.
//! * `memory` bounds what all requests and replies take together; `body` reads and sends them within
//!   that, and `listing` sends lists of any length.
//! * `namespace` saves a commit, after `validate` has had a program look at it.
//! * `left_behind` ends what validators leave behind.
//! * `published` compares the journal with the store.
//! * [`fuzzing`] is the server without its listener.
//! * `metrics` tells how the server does, and `reply` makes replies that no other site can use.
//!
//! It keeps no commit and decides no version: [`crate::commits`] does.

mod access;
mod api;
mod body;
pub mod fuzzing;
mod left_behind;
mod listing;
mod memory;
mod metrics;
mod namespace;
mod page;
mod published;
mod reply;
mod route;
mod server;
mod systemd;
mod tls;
mod validate;

pub use server::{ServeError, run};
