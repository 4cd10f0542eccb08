//! What several subcommands share.
//!
//! * [`store`] has the arguments of commands that talk to a store, and connects to it.
//! * [`control`] has the arguments of commands that talk to the daemon, and asks it over its control socket.
//! * [`stdout`] and [`table`] print results; [`exit`] prints errors, and has the exit codes.
//! * [`runtime`] runs asynchronous code, and [`signals`] receives signals.

pub mod control;
pub mod exit;
pub mod runtime;
pub mod signals;
pub mod stdout;
pub mod store;
pub mod table;
