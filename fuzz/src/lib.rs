//! What the fuzzers do with their bytes: a module for each, whose `run` panics if a promise is broken.
//!
//! Nothing in here knows of a fuzzer: `tests/fuzz.rs` of the crate above, which has these files too, runs each over its
//! seeds with the compiler that everybody has.
//!
//! * [`evaluation`]: what the child that evaluates configs may reply.
//! * [`control`]: what clients may send to the control socket.
//! * [`ledger`]: what may have become of the database on the disk.
//! * [`node_paths`]: what nodes, stores and their data may be called and hold.
//! * [`log_lines`]: what may be in the output of actions, and in names that are logged.
//! * [`watch`]: what may happen to a watch, and when.

pub mod control;
pub mod evaluation;
pub mod ledger;
pub mod log_lines;
pub mod node_paths;
pub mod watch;

/// Its name, which is that of its binary and of the directory of its seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 6] = [
    ("control", control::run),
    ("evaluation", evaluation::run),
    ("ledger", ledger::run),
    ("log_lines", log_lines::run),
    ("node_paths", node_paths::run),
    ("watch", watch::run),
];
