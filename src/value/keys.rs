//! The keys of one map, of which no two may be equal.

use std::collections::HashSet;

use crate::text::{printable, shortened};

/// The longest part of a key that an error shows, in characters.
const MAX_SHOWN: usize = 60;

/// The keys that a map has so far.
#[derive(Default)]
pub(super) struct Keys(HashSet<String>);

impl Keys {
    /// Adds a key in its [plain form](super::plain). The error, if the map has the key already, is a text for
    /// people.
    pub(super) fn add(&mut self, key: String) -> Result<(), String> {
        match self.0.replace(key) {
            None => Ok(()),
            Some(key) => Err(format!("duplicate key {}", shown(&key))),
        }
    }
}

/// Returns the beginning of a key, fit for a log.
fn shown(key: &str) -> String {
    printable(shortened(key, MAX_SHOWN).as_bytes())
}
