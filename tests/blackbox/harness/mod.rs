//! What the tests are made of: real servers, a network that fails on demand, the real binary, and actions
//! that keep a journal.
//!
//! Two rules keep the suite fast and reliable:
//!
//! * Tests do not sleep. They wait for a condition, with a deadline far beyond need ([`wait`]).
//! * To show that something does *not* run, a test does what must run nothing, then what must run something,
//!   waits for the second, and reads the journal.

mod certificates;
mod command;
pub mod control;
mod ensemble;
mod journal;
mod journald;
mod kazoo;
pub mod liar;
mod load;
mod nodes;
mod notify;
mod process;
mod proxy;
mod sandbox;
pub mod secure;
mod twitcher;
pub mod wait;
mod zookeeper;
mod zookeeper_client;

pub use certificates::{Authority, Validity};
pub use command::command;
pub use ensemble::Ensemble;
pub use journal::{Gate, Journal};
pub use journald::Journald;
pub use kazoo::{kazoo, python};
pub use load::load;
pub use nodes::Nodes;
pub use notify::{Message, Notify};
pub use process::{Process, require_root};
pub use proxy::Proxy;
pub use sandbox::{Sandbox, exec, on_both_stores, set_mode, watch};
pub use twitcher::{Daemon, Twitcher};
pub use wait::{poll, wait_for, wait_until};
pub use zookeeper::ZooKeeper;
