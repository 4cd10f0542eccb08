//! Configs: loads `*.twc` files as [`WatchSpec`](crate::model::WatchSpec)s, and loads them again when they
//! change.
//!
//! ```text
//!  files ── source ─▶ evaluate ══ pipe ══▶ script (in a confined child)
//!    ▲                    │ Registration
//!  hints              resolve ── WatchSpec ─▶ diff ── WatchChange ─▶ the daemon
//! ```
//!
//! A file goes through these modules:
//!
//! * [`files`] owns the thread that follows the directory. [`catalog`] compares each [`scan`] with the one
//!   before, and reports [`file_change::FileChange`]s. [`hints`] wake the thread.
//!   [`crate::trust`] says which files the daemon may trust, and opens them.
//! * [`load`] takes a file's text to its watches: [`evaluate`] sends it to the child as a [`request`], and
//!   [`resolve`] asks the system for users and groups.
//! * In the child, [`script`] interprets the text; it is the only place that interprets anything.
//!   [`registrar`] collects the [`registration`]s, which [`register`] checks. [`modules`] answers imports and
//!   [`facts`] questions about the host. [`fingerprint`] says whether a function changed, and [`message`]
//!   renders errors.
//! * [`diff`] compares the watches with those before, and [`definition`] hashes them for the ledger.
//!
//! [`vocabulary`] has every word that a config can use. A new key is a row of its table.

mod catalog;
mod definition;
pub mod diff;
pub mod evaluate;
pub mod exec;
pub mod facts;
mod file_change;
pub mod files;
mod fingerprint;
mod hints;
pub mod load;
mod message;
mod modules;
mod register;
pub mod registrar;
pub mod registration;
pub mod request;
pub mod resolve;
pub mod scan;
pub mod script;
pub mod vocabulary;
