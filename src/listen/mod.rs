//! What all listeners have in common: no client holds up another.
//!
//! A listener serves only so many connections at once. If more clients come, a connection whose time is over
//! is dropped for them; one that has sent no request has less time than one that waits for its reply.

mod conversation;
mod pool;

pub use conversation::{HeadLimits, answer_one};
pub use pool::{ConnectionPool, Grace};
