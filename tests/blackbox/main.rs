//! Tests of the real binary on real servers, from outside. Each promise of the contract has a test that is
//! named after it, with the promise quoted above.
//!
//! `tests/run` installs what the suite needs (a ZooKeeper server, kazoo) and runs it.

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
