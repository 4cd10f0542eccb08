//! The keys that cannot be published, each told once for each reason.

use std::collections::HashMap;

/// How many are remembered. If there are more, some are told once more.
const MAX_KEYS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Troubles(HashMap<String, String>);

impl Troubles {
    /// Notes why a key cannot be published. Returns whether this is to be told.
    pub(super) fn note(&mut self, key: &str, why: &str) -> bool {
        if self.0.get(key).is_some_and(|told| told == why) {
            return false;
        }
        if self.0.len() >= MAX_KEYS {
            self.0.clear();
        }
        self.0.insert(key.to_owned(), why.to_owned());
        true
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Notes that a key is published.
    pub(super) fn is_over(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Returns one of them, for people.
    pub(super) fn one(&self) -> Option<String> {
        self.0.iter().next().map(|(key, why)| format!("{key} is not published: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_until_the_key_is_published() {
        let mut troubles = Troubles::default();
        assert!(troubles.note("a", "x") && !troubles.note("a", "x") && troubles.note("a", "y"));
        assert_eq!(troubles.one().as_deref(), Some("a is not published: y"));
        assert!(troubles.has("a") && !troubles.has("b"));
        troubles.is_over("a");
        assert_eq!(troubles.one(), None);
        assert!(troubles.note("a", "y"));
        for number in 0..2 * MAX_KEYS {
            troubles.note(&number.to_string(), "z");
        }
        assert!(troubles.0.len() <= MAX_KEYS);
    }
}
