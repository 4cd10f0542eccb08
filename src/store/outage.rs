//! Says why a store is away: once in each outage, and then each reason that somebody must remove.

use std::collections::HashSet;

/// How many reasons are told in one outage. Each server may have its own, and a server may vary what it says.
const MAX_REASONS: usize = 10;

/// What is to be told of a store that is away. Each kind of event has the same two.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// The outage begins.
    Disconnected { reason: String },
    /// It will not end by itself.
    Refused { reason: String },
}

/// The outage that there is, if any.
#[derive(Default)]
pub(super) struct Outage {
    /// What somebody must remove, as far as it was told; `None` if there is no outage, or nobody was told of
    /// it yet.
    told: Option<HashSet<String>>,
}

impl Outage {
    /// An outage that was told of already.
    pub(super) fn known() -> Self {
        Self { told: Some(HashSet::new()) }
    }

    pub(super) fn is_known(&self) -> bool {
        self.told.is_some()
    }

    /// Notes that there is a connection.
    pub(super) fn ended(&mut self) {
        self.told = None;
    }

    /// Returns what is to be told of a connection that was lost, or not made. `permanent` is a reason that
    /// somebody must remove. A server that is restarted with another certificate, say, is first away and then
    /// refuses us, and people must know the latter.
    pub(super) fn note(&mut self, reason: String, permanent: bool) -> Option<Away> {
        let is_known = self.is_known();
        let told = self.told.get_or_insert_default();
        let is_new = permanent && told.len() < MAX_REASONS && told.insert(reason.clone());
        if is_known {
            is_new.then_some(Away::Refused { reason })
        } else {
            Some(Away::Disconnected { reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_each_refusal_in_it() {
        let mut outage = Outage::default();
        let disconnected = |reason: &str| Some(Away::Disconnected { reason: reason.into() });
        let refused = |reason: &str| Some(Away::Refused { reason: reason.into() });
        let mut note = |reason: &str, permanent| outage.note(reason.to_owned(), permanent);
        assert_eq!(note("a", false), disconnected("a"));
        assert_eq!(note("b", false), None);
        assert_eq!(note("c", true), refused("c"));
        assert_eq!(note("c", true), None);
        outage.ended();
        let mut note = |reason: &str, permanent| outage.note(reason.to_owned(), permanent);
        assert_eq!(note("c", true), disconnected("c"));
        assert_eq!((0..50).filter(|n| note(&n.to_string(), true).is_some()).count(), MAX_REASONS - 1);
        assert_eq!(Outage::known().note("a".to_owned(), true), refused("a"));
    }
}
