//! Reports: the daemon makes one typed [`Report`] per event, and the [`Reporter`] counts and logs it.
//!
//! No other code writes to the log, and no report holds node data.
//!
//! * [`event`] says what can be reported; [`level`], [`context`] and [`display`] say how much a report
//!   matters, what it is about, and how it reads.
//! * [`reporter`] passes each report to the metrics and to the [`log`], whose thread writes [`line`]s to a
//!   stream, to [`syslog`] or to systemd's [`journal`]; a [`forwarder`] reconnects to the latter two.
//! * [`held`] describes what a guard holds, for the log, `twitcher status` and the control socket.

mod context;
mod display;
mod event;
mod forwarder;
mod held;
pub mod journal;
mod level;
pub mod line;
pub mod log;
mod reporter;
mod syslog;

pub use event::{NodeRef, PreviousRun, Report, RunName, RunReport};
pub(crate) use held::{HeldSummary, force_command};
pub use level::Level;
pub use log::Log;
pub use reporter::{Count, Reporter};
