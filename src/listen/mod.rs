//! What all listeners have in common: no client holds up another.
//!
//! A listener serves only so many connections at once. If more clients come, a connection whose time is over
//! is dropped for them; one that has sent no request has less time than one that waits for its reply.

//!
//! A listener on a Unix socket has a file, which outlives a process that is killed: [`bind`] replaces what
//! such a process left, and nothing else.

mod conversation;
mod pool;
mod socket;

pub use conversation::{HeadLimits, answer_one};
pub use pool::{ConnectionPool, Grace};
pub use socket::{BoundSocket, SocketError, SocketFile, SocketOptions, bind};
