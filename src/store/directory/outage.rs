//! What is reported while the store's directory is away.

use std::collections::BTreeSet;

use crate::store::StoreEvent;

/// How many reasons are reported in one outage.
const MAX_REPORTED_REASONS: usize = 10;

pub(super) struct Outage {
    /// Whether the daemon knows that the store is away.
    is_known: bool,
    told: BTreeSet<String>,
}

impl Outage {
    pub(super) fn new(is_known: bool) -> Self {
        Self { is_known, told: BTreeSet::new() }
    }

    /// Makes the event that says why the store is away: once, and then for each other reason.
    pub(super) fn event(&mut self, reason: String) -> Option<StoreEvent> {
        if self.told.len() >= MAX_REPORTED_REASONS || !self.told.insert(reason.clone()) {
            return None;
        }
        Some(match std::mem::replace(&mut self.is_known, true) {
            false => StoreEvent::Disconnected { reason },
            true => StoreEvent::Refused { reason },
        })
    }
}
