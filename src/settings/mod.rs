//! Settings of the daemon and of the client commands: flags, environment variables and `twitcher.toml`.
//!
//! Flags win over environment variables, environment variables over the file, and the file over the defaults.
//! Flags come in as plain data and settings go out as plain data: this module does not parse the command
//! line, and opens no socket.
//!
//! ```text
//!  twitcher.toml ─ read ─▶ SettingsFile ─┐
//!                                        ├─▶ DaemonSettings, StoreSettings, the path of the control socket
//!  DaemonFlags, StoreFlags, environment ─┘
//! ```
//!
//! * `file` defines one field per key and one type per section of the file; `secret_setting` is the type of a
//!   key that holds a secret.
//! * `read` opens, parses and checks the file; `parse_error` locates a mistake without quoting a secret.
//! * `store_choice` selects the store, `stores` looks it up in the file, and `store_settings` makes the
//!   settings of a connection from its sections.
//! * `control` makes the settings of the control socket and of the address of the metrics.
//! * `environment` reads environment variables, and `duration` numbers of seconds.
//! * `daemon` makes the settings of `twitcher run`, `client` those of the client commands, `serve` those of
//!   `twitcher serve`, and `commits` those of its clients, which go to a `commits_url`.

mod client;
mod commits;
mod commits_keys;
mod commits_section;
mod commits_url;
mod control;
mod daemon;
mod duration;
mod environment;
mod error;
mod file;
mod parse_error;
mod places;
mod read;
mod secret_setting;
mod serve;
mod serve_section;
mod store_choice;
mod store_settings;
mod stores;
#[cfg(test)]
mod tests;

pub use client::{client_socket, client_state_dir, client_store};
pub use commits::{CommitsSettings, TokenOrigin};
pub use commits_url::{CommitsServer, CommitsUrl, WebServer};
pub use control::{ControlSettings, NamedGroup};
pub use daemon::{DaemonFlags, DaemonSettings};
pub use duration::{positive_seconds, seconds};
pub use environment::{absolute, config_path};
pub use error::SettingsError;
pub use file::{STORE_MEMORY, SettingsFile};
pub use read::{read, text};
pub use serve::{
    Grant, KeeperPlace, Listen, NamespaceSettings, Right, ServeSettings, ServeTls, UserSettings, UserToken,
};
pub use store_choice::{StoreChoice, StoreFlags};
pub use stores::{problems, store_named, store_names};
