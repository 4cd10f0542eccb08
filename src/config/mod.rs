//! Loads configs (`*.twc`) as [`WatchSpec`](crate::model::WatchSpec)s, and loads them again when they change.
//!
//! ```text
//!  hints ─▶ files ─▶ catalog ── text ─▶ load ══ Request ══▶ script (in a confined child)
//!                       │                │  ◀══ Registrations ══╝
//!                   FileChange        resolve
//!                       ▼
//!                   the daemon ── diff
//! ```
//!
//! * [`files`] owns the thread that follows the config directory. [`hints`] wake it: inotify events, which
//!   say that something may have changed. [`catalog`] [`scan`]s the directory, compares the result with the
//!   last one, and reports [`file_change::FileChange`]s. [`crate::trust`] opens the files that the daemon may
//!   trust.
//! * [`load`] makes watches of a file's text. [`evaluate`] sends the text to the child as a [`request`], and
//!   [`resolve`] asks the system for users and groups; [`accounts`] asks again later.
//! * In the child, [`script`] interprets the text. Only this module interprets text. [`registrar`] checks the
//!   calls of `RegisterWatch` and `RegisterService` ([`service_check`]) and collects the [`registration`]s.
//!   [`exec`] checks the argument of `Exec`. [`modules`] answers imports, and [`facts`] answers questions
//!   about the host. [`fingerprint`] says whether a function changed. [`recovery`] looks for
//!   syntax errors behind the first one, in the statements of an [`outline`]. [`message`] renders errors, and
//!   [`quote`] the lines that they are about.
//! * The daemon compares the watches with the present ones by [`diff`]. [`definition`] hashes them for the
//!   ledger.
//!
//! [`vocabulary`] defines every word that a config can use, and says what a new key needs.

pub mod accounts;
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
mod library;
mod lint;
mod literals;
pub mod load;
mod message;
pub mod mistake;
mod modules;
mod outline;
mod places;
mod python;
pub mod quote;
mod recovery;
pub mod registrar;
pub mod registration;
pub mod request;
pub mod resolve;
pub mod scan;
pub mod script;
mod service_check;
mod syntax;
pub mod vocabulary;
