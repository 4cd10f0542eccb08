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
mod commit_server;
pub mod control;
mod database;
mod ensemble;
mod etcd;
mod etcd_client;
pub mod etcd_liar;
pub mod etcd_messages;
mod guarded;
pub mod impostor;
mod journal;
mod journald;
mod kazoo;
pub mod liar;
mod link;
mod load;
mod machine;
mod nodes;
mod notify;
pub mod ports;
mod process;
mod proxy;
mod sandbox;
pub mod secure;
pub mod secure_etcd;
mod server;
mod store;
mod twitcher;
mod txaioetcd;
pub mod wait;
mod writer;
mod zookeeper;
mod zookeeper_client;

pub use certificates::{Authority, Validity};
pub use command::command;
pub use commit_server::CommitServer;
pub use database::{DatabaseKind, DatabaseServer, PASSWORD, TestDatabase};
pub(crate) use database::{on_every_database, on_every_database_server};
pub use ensemble::Ensemble;
pub use etcd::{Etcd, etcdctl, program as etcd_program};
pub use etcd_client::EtcdClient;
pub use guarded::Guarded;
pub use journal::{Gate, Journal};
pub use journald::Journald;
pub use kazoo::{interpreter, kazoo, python};
pub use link::Link;
pub use load::load;
pub use machine::Machine;
pub use nodes::Nodes;
pub use notify::{Message, Notify};
pub use process::{Process, require_root};
pub use proxy::Proxy;
pub use sandbox::{STRANGER, Sandbox, exec, set_mode, watch};
pub use server::Server;
pub use store::Store;
pub(crate) use store::{on_every_kind, on_every_server, on_every_store};
pub use twitcher::{Daemon, Finished, Twitcher};
pub use txaioetcd::txaioetcd;
pub use wait::{poll, wait_for, wait_until};
pub use writer::Writer;
pub use zookeeper::ZooKeeper;
