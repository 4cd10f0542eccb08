//! Code that several subcommands share.
//!
//! * [`store`] defines the arguments of commands that talk to a store, and connects to it.
//! * [`control`] defines the arguments of commands that talk to the daemon, and connects to its control
//!   socket.
//! * [`stdout`] and [`table`] print results; [`exit`] prints errors, and defines the exit codes.
//! * [`runtime`] runs asynchronous code, and [`signals`] receives signals.

pub mod control;
pub mod exit;
pub mod runtime;
pub mod signals;
pub mod stdout;
pub mod store;
pub mod table;
