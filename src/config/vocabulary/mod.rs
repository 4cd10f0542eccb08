//! The vocabulary of configs. Each word has exactly one row in one of these tables:
//!
//! * [`KEYS`]: the keys of `RegisterWatch`. [`RETRY_KEYS`] and [`GUARD_KEYS`]: the keys of the `retry` and
//!   `guard` maps. [`SERVICE_KEYS`]: the keys of `RegisterService`.
//! * [`CONSTANTS`] and [`signals`]: the constants.
//! * [`FUNCTIONS`]: the functions of configs and of function actions.
//!
//! A row describes the syntax of a word: name, type, default and meaning, and for keys how a value is
//! checked, stored and shown. The check of `RegisterWatch` ([`super::registrar`]), the interpreter
//! ([`super::script`]), the suggestions in errors ([`super::message`]), the check of the evaluator's replies
//! ([`super::evaluate`]), [fingerprints](super::fingerprint) and [definition hashes](super::definition),
//! `check --explain`, and the test of the manual read these tables. So all of them know the same words.
//!
//! To add a key:
//!
//! 1. Add a field with its default: to [`Policy`](crate::model::Policy) if the key decides when an action
//!    runs, to [`ExecContext`](crate::model::ExecContext) if it sets something in the action's process.
//!    Another key, like `uid` or `pipe_stdin`, gets a field in `Registration` and in
//!    [`WatchSpec`](crate::model::WatchSpec), and [`super::resolve`] takes the value from one to the other.
//! 2. Add a row to `keys.rs`, with a function in `values.rs` for a new kind of value, and one in `shown.rs`
//!    for a value that `check --explain` shows in a new form.
//! 3. Add the field to the hash in `definition.rs`.
//! 4. Implement the key in [`crate::watch`] or [`crate::action`].
//! 5. Describe it, with an example, in the manual, `docs/man/twitcher.twc.5.md`.
//! 6. Test it.

mod constants;
mod fault;
mod functions;
mod json;
mod key;
mod keys;
mod process_keys;
mod service_keys;
mod shown;
mod types;
mod values;

pub(super) use constants::Value;
pub use constants::{CONSTANTS, Constant, signals};
pub(super) use fault::Fault;
pub use functions::{FUNCTIONS, Function, Scope};
pub use key::Key;
pub(super) use key::fill;
pub use keys::{GUARD_KEYS, KEYS, RETRY_KEYS};
pub(super) use service_keys::MAX_MEMBER_BYTES;
pub use service_keys::SERVICE_KEYS;
pub use types::type_of;
pub(super) use types::{as_string, type_named};
pub(super) use values::{no_nul, with_unit};
