//! Tests of the real binary on real servers, from outside. Each promise of the contract has a test that is
//! named after it, with the promise quoted above the test.
//!
//! `tests/run` installs what the suite needs (a ZooKeeper server, kazoo, promtool) and runs it.
//!
//! Where tests are, in the whole repository. Unit tests stand at the end of the file that they test, in `mod
//! tests`, if they have at most 150 lines. Longer ones are in a file: those of `x.rs` and those of `x/mod.rs`
//! both in `x/tests.rs`, properties in `x/properties.rs`, and if that is too long, by topic in `x/tests/`.
//! Tests of the built binary are below `tests/`, with a folder and a `main.rs` for each test binary:
//! `blackbox` for what it does, `config` for the evaluator and the loader of configs, `shipped` for what the
//! packages contain beside it. In these a topic is one file, or, where it has several, a folder whose
//! `mod.rs` holds what they share. No file has more than 500 lines, and none names another one's path with
//! `#[path]`, except `tests/fuzz.rs`: the fuzz targets that it runs are a workspace of their own.

mod harness;

mod absent;
mod action;
mod action_input;
mod action_timeout;
mod bad_input;
mod cli;
mod client_commands;
mod control;
mod daemon_instances;
mod exec_context;
mod explain;
mod facts;
mod failure;
mod fault_suite;
mod faults;
mod fleet;
mod function;
mod guard;
mod hostile_data;
mod journald;
mod logging;
mod once;
mod permissions;
mod register_watch;
mod reload;
mod restart;
mod run_modes;
mod scale;
mod secure_stores;
mod security;
mod signals;
mod stores;
mod systemd;
mod tree;
mod trust;
mod watch_command;
