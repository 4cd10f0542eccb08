//! Versioned configuration: `twitcher serve` and `twitcher commits`, with foreign clients where there are
//! some.

mod access;
mod api;
mod command_line;
mod command_line_edit;
mod command_line_faults;
mod command_line_places;
mod command_line_real;
mod disk;
mod fake_server;
mod faults;
mod hostile;
mod journals;
mod memory;
mod mirror;
mod openapi;
pub mod page;
mod publishing;
mod rainer;
mod servers;
mod site;
mod validators;
