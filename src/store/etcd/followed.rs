//! One subject that is followed.

use std::time::Duration;

use tokio::time::Instant;

use super::comparisons::Tallies;
use super::keys::Keys;
use super::known::{Known, Unexpected};
use super::row::Found;
use super::wire::messages::{DELETION, Event};
use crate::model::{Facet, Subject, Version};
use crate::store::backoff::Backoff;
use crate::store::tree::{DEBOUNCE, MAX_DEBOUNCE};

/// The pauses before a subject that could not be read is tried again: short at first, because most failures
/// pass, and at most what the contract promises.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

pub(super) struct Followed {
    pub(super) known: Known,
    pub(super) phase: Phase,
    /// The number of the latest read of it. An answer to another one does not matter any more.
    pub(super) ticket: u64,
    pub(super) watches: [Option<i64>; 2],
    /// Whether a part of a revision has arrived, and the rest has not.
    pub(super) is_partial: bool,
    /// The times of the first and of the latest change that is not reported.
    pub(super) unsent: Option<(Instant, Instant)>,
    /// Whether it is among the subjects to report.
    pub(super) is_queued: bool,
    /// The version that was reported last, of what has many nodes.
    pub(super) before: Option<Version>,
    pub(super) failures: Option<Box<Failures>>,
    pub(super) tallies: Tallies,
    /// They were so at the last comparison, if that found something else.
    pub(super) suspect: Option<Tallies>,
}

pub(super) enum Phase {
    Unread,
    Reading,
    Watched,
    Failing { due: Instant },
}

pub(super) struct Failures {
    pub(super) backoff: Backoff,
    /// What is to be reported; `None` once it is.
    pub(super) reason: Option<String>,
}

impl Failures {
    pub(super) fn new(reason: String) -> Box<Self> {
        Box::new(Self { backoff: Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY), reason: Some(reason) })
    }
}

impl Followed {
    pub(super) fn new(facet: Facet) -> Self {
        Self {
            known: match facet {
                Facet::Data => Known::Data(None),
                Facet::Children | Facet::Tree | Facet::Members => Known::nothing(facet),
            },
            phase: Phase::Unread,
            ticket: 0,
            watches: [None, None],
            is_partial: false,
            unsent: None,
            is_queued: false,
            before: None,
            failures: None,
            tallies: Tallies::default(),
            suspect: None,
        }
    }

    /// Takes in an event. Returns whether there is something to report, or `None` if its key is no node's.
    pub(super) fn apply(
        &mut self,
        keys: &Keys,
        subject: &Subject,
        event: &Event,
    ) -> Option<Result<bool, Unexpected>> {
        let kv = event.kv.as_ref()?;
        let (is_deletion, is_new) = (event.kind == DELETION, kv.create_revision == kv.mod_revision);
        let is_below = keys.key(&subject.path).is_none_or(|own| own != kv.key);
        let tally = &mut self.tallies[usize::from(is_below)];
        // It was read, or told of, already.
        if kv.mod_revision < tally.seen || (is_below && subject.facet == Facet::Data) {
            return Some(Err(Unexpected));
        }
        tally.seen = tally.seen.max(kv.mod_revision);
        tally.keys += i64::from(!is_deletion && is_new) - i64::from(is_deletion);
        let path = match keys.find(&subject.path, &kv.key) {
            Found::Node(path) => path,
            Found::Elsewhere => return Some(Ok(false)),
            Found::NoNode => return None,
        };
        Some(match is_deletion {
            true => self.known.remove(&subject.path, &path, kv.mod_revision),
            false => Ok(self.known.put(&subject.path, &path, kv, is_new)),
        })
    }

    /// Returns when a tree that changed is reported.
    pub(super) fn settled(&self) -> Option<Instant> {
        self.unsent.map(|(first, latest)| (latest + DEBOUNCE).min(first + MAX_DEBOUNCE))
    }
}
