//! The vocabulary of configs: every word that a script can use, each in one row of one table.
//!
//! * [`KEYS`]: the keys of `RegisterWatch`. [`RETRY_KEYS`] and [`GUARD_KEYS`]: those of the maps within.
//! * [`CONSTANTS`] and [`signals`]: the constants.
//! * [`FUNCTIONS`]: the functions of configs and of function actions.
//!
//! A row has everything about its word. The parser ([`super::register`]), the interpreter
//! ([`super::script`]), the suggestions in errors ([`super::message`]), the check of the evaluator's replies
//! ([`super::evaluate`]), [fingerprints](super::fingerprint) and [definition hashes](super::definition),
//! `check --explain`, and the test of the manual read these tables. So none of them has a word that another
//! one lacks.
//!
//! A new key needs these edits:
//!
//! 1. a field with its default in [`Policy`](crate::model::Policy) if it decides when an action runs, or in
//!    [`ExecContext`](crate::model::ExecContext) if it is about the action's process;
//! 2. a row in `keys.rs`, with a function in `values.rs` if it takes a new kind of value;
//! 3. the definition hash in `definition.rs`;
//! 4. what the key does, in [`crate::watch`] or [`crate::action`];
//! 5. an entry with an example in the manual, `docs/man/twitcher.twc.5.md`;
//! 6. tests of what it does.

mod constants;
mod functions;
mod keys;
mod shown;
mod values;

pub(super) use constants::Value;
pub use constants::{CONSTANTS, Constant, signals};
pub use functions::{FUNCTIONS, Function, Scope};
pub(super) use keys::fill;
pub use keys::{GUARD_KEYS, KEYS, Key, RETRY_KEYS};
pub(super) use values::{no_nul, type_of};
