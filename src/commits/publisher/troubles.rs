//! The keys that cannot be published, each told once for each reason.

use std::collections::HashMap;

use crate::commits::keeper::Difference;

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

    /// Says why keys differ that could not be published before, if they were only looked at now.
    pub(super) fn explain(&self, differences: &mut [Difference]) {
        for Difference { key, failure, is_repaired, .. } in differences {
            if failure.is_none() && !*is_repaired {
                *failure = self.0.get(key).cloned();
            }
        }
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
    fn what_is_only_looked_at_differs_for_the_reason_that_is_known() {
        let mut troubles = Troubles::default();
        troubles.note("a", "x");
        troubles.note("b", "x");
        let difference = |key: &str, failure: Option<&str>, is_repaired| Difference {
            key: key.to_owned(),
            journal: Some(1),
            store: None,
            intruder: None,
            failure: failure.map(str::to_owned),
            is_repaired,
        };
        let mut differences = [
            difference("a", None, false),
            difference("a", Some("now"), false),
            difference("b", None, true),
            difference("c", None, false),
        ];
        troubles.explain(&mut differences);
        let reasons = differences.map(|difference| difference.failure);
        assert_eq!(reasons, [Some("x".to_owned()), Some("now".to_owned()), None, None]);
    }

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
