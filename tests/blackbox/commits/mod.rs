//! Versioned configuration: `twitcher commits`.

mod command_line;
mod command_line_edit;
mod command_line_faults;
mod command_line_places;
mod fake_server;
