//! Configs: from `*.twc` files to plain [`WatchSpec`](crate::model::WatchSpec)s, reloaded as they change.
//!
//! ```text
//!  files ── source ─▶ evaluate ══ pipe ══▶ script (in a confined child)
//!    ▲                    │ RawWatch
//!  notify              resolve ── WatchSpec ─▶ diff ── WatchChange ─▶ the daemon
//! ```
//!
//! * [`files`] owns the directory: it scans, decides what changed and reports [`files::FileChange`]s.
//! * [`evaluate`] keeps the confined child that runs the scripts.
//! * [`script`] is the other end, the only place that interprets anything. [`register`] checks what a script
//!   registers, [`modules`] answers its imports, [`facts`] what it asks of its host, [`fingerprint`] says when a function
//!   changed.
//! * [`reply_check`] distrusts what the child replies.
//! * [`resolve`] asks the system for users and groups; [`diff`] compares definitions.

mod catalog;
pub mod diff;
pub mod evaluate;
pub mod facts;
pub mod files;
pub mod fingerprint;
mod hints;
pub mod load;
pub mod message;
pub mod modules;
pub mod register;
pub mod registered;
mod reply_check;
pub mod resolve;
pub mod scan;
pub mod script;
