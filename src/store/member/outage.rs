//! Says why a store is away, once.

use std::collections::HashSet;

use super::message::KeeperEvent;

/// How many reasons are told in one outage. Each server may have its own, and a server may vary what it says.
const MAX_REASONS: usize = 10;

/// The outage that there is, if any.
#[derive(Default)]
pub(in crate::store) struct Outage {
    /// The reasons that were told of it.
    told: Option<HashSet<String>>,
}

impl Outage {
    /// Notes that there is a connection.
    pub(in crate::store) fn ended(&mut self) {
        self.told = None;
    }

    /// Returns what is to be told of a connection that was lost, or not made. A server that is first away and
    /// then refuses us is told of twice: people must know the latter.
    pub(in crate::store) fn note(&mut self, reason: &str, permanent: bool) -> Option<KeeperEvent> {
        let reason = reason.to_owned();
        let Some(told) = &mut self.told else {
            self.told = Some(HashSet::from([reason.clone()]));
            return Some(KeeperEvent::Disconnected { reason });
        };
        let is_new = permanent && told.len() < MAX_REASONS && told.insert(reason.clone());
        is_new.then_some(KeeperEvent::Refused { reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_each_refusal_in_it() {
        let mut outage = Outage::default();
        let disconnected = |reason: &str| Some(KeeperEvent::Disconnected { reason: reason.into() });
        let refused = |reason: &str| Some(KeeperEvent::Refused { reason: reason.into() });
        assert_eq!(outage.note("a", false), disconnected("a"));
        assert_eq!(outage.note("b", false), None);
        assert_eq!(outage.note("c", true), refused("c"));
        assert_eq!(outage.note("c", true), None);
        outage.ended();
        assert_eq!(outage.note("c", true), disconnected("c"));
        assert_eq!((0..50).filter(|n| outage.note(&n.to_string(), true).is_some()).count(), MAX_REASONS - 1);
    }
}
