//! The control socket, by which operators see and control a running daemon.
//!
//! The protocol is HTTP/1.1 over a Unix socket, so that `curl --unix-socket` can use it too. A thread of its
//! own serves the socket, so that slow and hostile clients cost the daemon nothing. The thread asks the
//! daemon's loop in small [`DaemonRequest`]s, and sends long replies as fast as the client reads them.
//!
//! * [`endpoint`] opens the socket and the address of the metrics, also again;
//!   [`server`] accepts and limits connections.
//! * [`routes`] answers requests, with [`parameters`] and [`response`], and [`cached`] those for data that is
//!   cached; [`peer`] says who a client is;
//!   [`request`] defines the requests to the daemon's loop.
//! * [`status`] defines the documented JSON.
//! * [`name`] finds the watch that a client names.
//! * [`client`] is the other end of the socket, for `twitcher status` and other commands.

mod cached;
pub mod client;
pub mod endpoint;
pub mod name;
mod parameters;
mod peer;
mod presence;
mod request;
mod response;
pub mod routes;
pub mod server;
pub mod status;

pub use request::{
    CommandResult, DaemonRequest, MAX_PAUSE, MAX_WHY_BYTES, Order, OutputPiece, REPLY_TIMEOUT, RUNS_PER_PAGE,
    ReplySender, RequestError, WATCHES_PER_PAGE,
};
