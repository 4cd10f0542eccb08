//! Tests of the real binary on real servers, from outside. docs/guarantees.md lists the tests of each
//! promise, and a test quotes its promise. `tests/run` installs what the suite needs and runs it.
//!
//! # Where tests are, in the whole repository
//!
//! * Unit tests are at the end of the file that they test, in `mod tests`, if they have at most 150 lines.
//! * Longer unit tests of `x.rs` or `x/mod.rs` are in `x/tests.rs`, and properties in `x/properties.rs`. If
//!   such a file gets too long, its tests are in `x/tests/`, one file for each topic.
//! * Each other test binary is a folder of `tests/` with a `main.rs`: `blackbox` tests what the program does,
//!   `config` the evaluator and the loader of configs, `shipped` what the packages contain beside the
//!   program, and `arrows` which file of `src/` uses which.
//! * `tests/fuzz.rs` runs the fuzz targets of `fuzz/` on their seeds. It alone uses `#[path]`, because
//!   `fuzz/` is a workspace of its own.
//! * Each topic is one file. A topic that needs several files is a folder, and its `mod.rs` holds the shared
//!   code. No file has more than 500 lines.

mod harness;

mod absent;
mod action;
mod action_input;
mod action_timeout;
mod audit;
mod bad_input;
mod cached;
mod circles;
mod cli;
mod client_commands;
mod client_refusals;
mod commits;
mod completion;
mod conditions;
mod control;
mod convert;
mod daemon_instances;
mod decode;
mod deletion;
mod edit_command;
mod emptied;
mod etcd;
mod exec_context;
mod explain;
mod export;
mod facts;
mod failure;
mod fault_suite;
mod faults;
mod fleet;
mod function;
mod guard;
mod half;
mod half_outage;
mod held_up;
mod hostile_data;
mod identities;
mod import;
mod inheritance;
mod journald;
mod json_log;
mod kernel;
mod literals;
mod log_faults;
mod logging;
mod lying_server;
mod many_stores;
mod max_actions;
mod members;
mod once;
mod other_store;
mod output_file;
mod permissions;
mod places;
mod register;
mod register_service;
mod register_watch;
mod reload;
mod removal;
mod restart;
mod run_modes;
mod scale;
mod secure_stores;
mod security;
mod services;
mod set_acl;
mod set_retry;
mod signals;
mod start_failure;
mod stdout;
mod store_memory;
mod store_root;
mod stores;
mod systemd;
mod tour;
mod tree;
mod tree_command;
mod trust;
mod txn;
mod unstartable_store;
mod watch_command;
