//! The fuzz targets: one module each, whose `run` panics if a promise is broken.
//!
//! Nothing here depends on a fuzzer. The crate's own `tests/fuzz.rs` includes these files too, and runs each
//! target over its seeds with the stable compiler.
//!
//! * [`evaluation`]: replies of the child that evaluates configs.
//! * [`control`]: requests to the control socket.
//! * [`ledger`]: the database files on the disk.
//! * [`node_paths`]: names of nodes and stores, and their data.
//! * [`log_lines`]: the output of actions, and names in the log.
//! * [`watch`]: events of a watch, and their times.
//! * [`zookeeper`]: what a ZooKeeper server sends.

pub mod control;
pub mod evaluation;
pub mod ledger;
pub mod log_lines;
pub mod node_paths;
pub mod watch;
pub mod zookeeper;

/// The name of a target, of its binary and of the directory of its seeds; and its function.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 7] = [
    ("control", control::run),
    ("evaluation", evaluation::run),
    ("ledger", ledger::run),
    ("log_lines", log_lines::run),
    ("node_paths", node_paths::run),
    ("watch", watch::run),
    ("zookeeper", zookeeper::run),
];
