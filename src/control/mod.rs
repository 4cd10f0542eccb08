//! The control socket: how operators see and control a running daemon.
//!
//! It speaks HTTP/1.1 over a Unix socket, so that `curl --unix-socket` can use it too. A thread of its own
//! serves it, so that slow and hostile clients cost the daemon nothing. What only the daemon knows, the
//! thread asks the daemon's loop in small [`DaemonRequest`]s, and it sends long answers as fast as the client
//! reads them.
//!
//! * [`socket`] creates the socket; [`server`] accepts and limits connections.
//! * [`routes`] answers requests, with [`parameters`] and [`response`]; [`request`] is what it asks the
//!   daemon.
//! * [`status`] is what clients see as plain data: the documented JSON.
//! * [`name`] finds the watch that a client names.
//! * [`client`] is the other end of the socket, for `twitcher status` and other commands.

pub mod client;
pub mod name;
mod parameters;
mod request;
mod response;
pub mod routes;
pub mod server;
pub mod socket;
pub mod status;

pub use request::{
    CommandResult, DaemonRequest, REPLY_TIMEOUT, RUNS_PER_PAGE, ReplySender, RequestError, WATCHES_PER_PAGE,
};
