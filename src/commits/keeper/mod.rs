//! A keeper: the nodes `{path}/data/{key}`, each with the newest commit of its key. (The keeper of the
//! members of services, in [`crate::store`], is something else.)
//!
//! * [`connection`] is a keeper on a connection to its store.
//! * [`verdict`] decides what is to be done about a node. It is pure.
//! * [`settle`] does so for some keys, and [`sweep`] goes over all of them.

mod connection;
mod error;
mod settle;
mod sweep;
mod verdict;

pub use connection::Keeper;
pub use error::PublishError;
pub use settle::{BATCH_BYTES, Fate, Head, Settled, newest};
pub use sweep::{Comparison, Difference};
pub use verdict::Intruder;
