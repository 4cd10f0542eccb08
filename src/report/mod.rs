//! Reports: the daemon makes one typed [`Report`] per event, and the [`Reporter`] counts and logs it.
//!
//! No other code writes to the log, and reports contain no node data.
//!
//! * [`event`] defines the reports; [`level`], [`context`] and [`display`] define their levels, subjects and
//!   texts.
//! * [`reporter`] passes each report to the metrics and to the [`log`], whose thread writes [`line`]s to a
//!   [`stream`], to [`syslog`] or to systemd's [`journal`], as text or as [`json`]. A [`queue`] keeps lines
//!   while such an [`output`] fails, [`log_state`] tells that it does, and [`fallback`] has stderr as the
//!   last resort. A daemon that ends has its [`last_words`] for what is lost.
//! * [`degraded`] collects what does not work at the moment.
//! * [`held`] describes a held update, for the log, `twitcher status` and the control socket, and [`version`]
//!   shows versions as people can compare them.

mod context;
pub mod degraded;
mod display;
mod event;
mod fallback;
mod held;
pub mod journal;
mod json;
mod last_words;
mod level;
pub mod line;
pub mod log;
mod log_state;
mod output;
mod pause;
mod queue;
mod reporter;
mod service;
pub mod stream;
mod syslog;
mod version;

pub use degraded::{Degradations, Degraded, Part, SETTINGS, SETTINGS_FILE};
pub(crate) use display::SignalName;
pub use event::{NodeRef, PreviousRun, ReloadCause, Report, RunName, RunReport, ServiceReport};
pub(crate) use held::{HeldSummary, force_command};
pub use level::Level;
pub use line::json_line;
pub use log::Log;
pub use reporter::{Count, Reporter};
pub(crate) use version::short_version;
