//! The vocabulary of configs: every word that a script can use, each in one row of one table.
//!
//! * [`KEYS`], and [`RETRY_KEYS`] and [`GUARD_KEYS`] for the maps within: the keys of `RegisterWatch`.
//! * [`CONSTANTS`] and [`signals`]: the constants.
//! * [`FUNCTIONS`]: the functions, also those that only function actions have.
//!
//! A row says all that there is to know of its word. The parser ([`super::register`]), the interpreter
//! ([`super::script`]), the suggestions in errors ([`super::message`]), the check of the evaluator's replies
//! ([`super::reply_check`]), the hash of a definition ([`super::definition`]), `check --explain` and the test
//! of the manual read these tables, so none of them knows a word that the others do not.

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
