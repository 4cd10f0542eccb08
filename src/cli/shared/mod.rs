//! Code that several subcommands share.
//!
//! * [`store`] defines the arguments of commands that talk to a store, and connects to it.
//! * [`control`] defines the arguments of commands that talk to the daemon, and connects to its control
//!   socket, and [`named`] those of commands to several watches; [`configs`] is where all find their
//!   settings.
//! * [`stdout`] and [`table`] print results; [`exit`] prints errors, and defines the exit codes.
//! * [`definition`] is the whole command line.
//! * [`offline`] reads the ledger of a daemon that does not run, [`when`] parses points in time, and
//!   [`number`] whole numbers.
//! * [`editor`] has a text edited.
//! * [`following`] follows a node until the command is interrupted.
//! * [`reaper`] reaps the children of others, as the first process of a container must.
//! * [`runtime`] runs asynchronous code, [`signals`] receives signals, and [`scratch`] makes private
//!   directories.

pub mod configs;
pub mod control;
pub mod definition;
pub mod editor;
pub mod exit;
pub mod following;
pub mod format;
pub mod named;
pub mod number;
pub mod offline;
pub mod reaper;
pub mod runtime;
pub mod scratch;
pub mod signals;
pub mod stdout;
pub mod store;
pub mod table;
pub mod when;
