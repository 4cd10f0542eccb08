//! The fuzz targets: one module each, whose `run` panics if a promise is broken.
//!
//! Nothing here depends on a fuzzer. The crate's own `tests/fuzz.rs` includes these files too, and runs each
//! target over its seeds with the stable compiler.
//!
//! * [`commit_requests`]: requests to the server of commits, and [`commit_headers`]: what they and nodes say
//!   about a commit. Both have a [`commit_server`].
//! * [`evaluation`]: replies of the child that evaluates configs.
//! * [`control`]: requests to the control socket.
//! * [`from_half`]: what the process of a store says to the daemon, and [`to_half`]: what it is told. Both
//!   are [`packets`].
//! * [`from_keeper`]: what the process of a keeper of members says to the daemon, and [`to_keeper`]: what it
//!   is told.
//! * [`ledger`]: the database files on the disk.
//! * [`node_paths`]: names of nodes and stores, and their data.
//! * [`log_lines`]: the output of actions, and names in the log.
//! * [`values`]: contents of nodes in the formats that can be decoded.
//! * [`watch`]: events of a watch, and their times.
//! * [`zookeeper`] and [`etcd`]: what such a server sends.

pub mod commit_headers;
pub mod commit_requests;
mod commit_server;
pub mod control;
pub mod etcd;
pub mod evaluation;
pub mod from_half;
pub mod from_keeper;
pub mod ledger;
pub mod log_lines;
pub mod node_paths;
mod packets;
pub mod to_half;
pub mod to_keeper;
pub mod values;
pub mod watch;
pub mod zookeeper;

/// The name of a target, of its binary and of the directory of its seeds; and its function.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 15] = [
    ("commit_headers", commit_headers::run),
    ("commit_requests", commit_requests::run),
    ("control", control::run),
    ("etcd", etcd::run),
    ("evaluation", evaluation::run),
    ("from_half", from_half::run),
    ("from_keeper", from_keeper::run),
    ("ledger", ledger::run),
    ("log_lines", log_lines::run),
    ("node_paths", node_paths::run),
    ("to_half", to_half::run),
    ("to_keeper", to_keeper::run),
    ("values", values::run),
    ("watch", watch::run),
    ("zookeeper", zookeeper::run),
];
