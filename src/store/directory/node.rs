//! One followed node: what is known of it, and when it is read next.

use std::time::Duration;

use tokio::time::Instant;

use super::file::{Reading, Stamp};
use super::watches::EntryChange;
use crate::model::{NodeContent, Version};
use crate::store::backend::Observation;
use crate::store::backoff::Backoff;

/// How long a file must be quiet before it counts as written. From truncating a file to writing it, a shell
/// needs well below a millisecond, and some on a busy machine.
const DEBOUNCE: Duration = Duration::from_millis(25);

/// How long deletions must have been quiet before they are believed. Whoever removes a whole store removes
/// its nodes first, and then the store is away, and its nodes are not deleted.
const DELETION_DEBOUNCE: Duration = Duration::from_millis(50);

/// The longest wait for a file that is never quiet.
const MAX_DEBOUNCE: Duration = Duration::from_secs(1);

/// How often children are looked at that include members: the lock of a keeper that dies tells nobody.
const MEMBERS_INTERVAL: Duration = Duration::from_secs(1);

/// The pauses before a node that could not be read is tried again. The longest is what the contract promises.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

pub(super) struct FollowedNode {
    /// Rises when the node is found gone, so that its next state is a new incarnation.
    pub(super) generation: i64,
    /// The next read.
    pub(super) scheduled: Option<ScheduledRead>,
    known: Known,
    /// Whether to report what is found even if it is known.
    forced: bool,
    /// Whether the present series of failures has been reported.
    failure_reported: bool,
    backoff: Backoff,
}

/// What a hint says about when to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HintKind {
    /// At once: the writer is done.
    Done,
    /// At once, although somebody may be about to write.
    Now,
    /// When the file is quiet, because somebody writes.
    Writing,
    /// When deletions are quiet, because it is gone.
    Gone,
}

impl HintKind {
    pub(super) fn of(change: EntryChange) -> Self {
        match change {
            EntryChange::Created | EntryChange::Modified => Self::Writing,
            EntryChange::Closed | EntryChange::MovedIn => Self::Done,
            EntryChange::Attributes => Self::Now,
            EntryChange::Gone => Self::Gone,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ScheduledRead {
    pub(super) due: Instant,
    /// The times of the first and of the latest hint that led to this read.
    first: Instant,
    last: Instant,
    hint_kind: HintKind,
}

#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Absent,
    Present { version: Version, stamp: Stamp, is_empty_file: bool, has_children: bool },
}

impl FollowedNode {
    pub(super) fn new() -> Self {
        Self {
            generation: 0,
            scheduled: None,
            known: Known::Nothing,
            forced: false,
            failure_reported: false,
            backoff: Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY),
        }
    }

    pub(super) fn hint(&mut self, now: Instant, hint_kind: HintKind) {
        let first = self.scheduled.map_or(now, |scheduled| scheduled.first.min(now));
        let due = match hint_kind {
            HintKind::Done | HintKind::Now => now,
            HintKind::Writing => (now + DEBOUNCE).min(first + MAX_DEBOUNCE),
            HintKind::Gone => (now + DELETION_DEBOUNCE).min(first + MAX_DEBOUNCE),
        };
        self.scheduled = Some(ScheduledRead { due, first, last: now, hint_kind });
    }

    /// Has the node read now, and reported in any case.
    pub(super) fn force(&mut self, now: Instant) {
        self.forced = true;
        self.hint(now, HintKind::Done);
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.known, Known::Nothing)
    }

    pub(super) fn is_present(&self) -> bool {
        matches!(self.known, Known::Present { .. })
    }

    /// Returns true if these are children, and there are any.
    pub(super) fn has_children(&self) -> bool {
        matches!(self.known, Known::Present { has_children: true, .. })
    }

    /// Whether the node was found gone since it was reported.
    pub(super) fn is_reborn(&self) -> bool {
        matches!(self.known, Known::Present { version, .. } if version.incarnation != self.generation)
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        match self.known {
            Known::Nothing | Known::Absent => None,
            Known::Present { stamp, .. } => Some(stamp),
        }
    }

    /// Takes what a read found. Returns what there is to report. `scheduled` is the read that this was;
    /// another one in `self.scheduled` means that something happened during the read.
    pub(super) fn found(
        &mut self,
        scheduled: ScheduledRead,
        found: std::io::Result<Option<Reading>>,
        now: Instant,
    ) -> Option<Observation> {
        let may_wait = now < scheduled.first + MAX_DEBOUNCE;
        if let Some(newer) = &mut self.scheduled {
            newer.first = scheduled.first;
            newer.due = newer.due.min(scheduled.first + MAX_DEBOUNCE);
            if may_wait {
                return None;
            }
        }
        let reading = match found {
            Ok(reading) => reading,
            Err(error) => return self.failed(error.to_string(), now),
        };
        if let Some(reading) = &reading
            && may_wait
            && let Some(due) = self.recheck_at(reading, scheduled, now)
        {
            self.scheduled =
                Some(ScheduledRead { due: due.min(scheduled.first + MAX_DEBOUNCE), ..scheduled });
            return None;
        }
        self.backoff.reset();
        if reading.as_ref().is_some_and(|reading| reading.has_members) {
            let due = now + MEMBERS_INTERVAL;
            self.scheduled.get_or_insert(ScheduledRead {
                due,
                first: due,
                last: due,
                hint_kind: HintKind::Now,
            });
        }
        let (known, observation) = match reading {
            None => (Known::Absent, Observation::Absent),
            Some(reading) => {
                let (version, origin) = (reading.version(self.generation), reading.origin());
                let Reading { content, stamp, is_empty_file, .. } = reading;
                let has_children = matches!(&content, NodeContent::Children(names) if !names.is_empty());
                let known = Known::Present { version, stamp, is_empty_file, has_children };
                (known, Observation::Present { version, origin, content })
            }
        };
        let same = match (self.known, known) {
            (Known::Absent, Known::Absent) => true,
            (Known::Present { version: before, .. }, Known::Present { version: now, .. }) => {
                before.is_same_state(now)
            }
            (Known::Present { .. }, Known::Absent) => {
                self.generation += 1;
                false
            }
            (Known::Nothing | Known::Absent, _) | (_, Known::Nothing) => false,
        };
        self.known = known;
        let silent = same && !self.forced && !self.failure_reported;
        (self.forced, self.failure_reported) = (false, false);
        (!silent).then_some(observation)
    }

    /// Returns when to read again before this is believed, or `None` if it is believed.
    fn recheck_at(&self, reading: &Reading, scheduled: ScheduledRead, now: Instant) -> Option<Instant> {
        if !reading.stable {
            return Some(now + DEBOUNCE);
        }
        let emptied = reading.is_empty_file
            && match self.known {
                Known::Nothing => false,
                Known::Absent => true,
                Known::Present { is_empty_file, .. } => !is_empty_file,
            };
        if !emptied {
            return None;
        }
        // The file was truncated and is still open, so that it is worth waiting for what is to be written.
        let believed = match scheduled.hint_kind {
            HintKind::Done => scheduled.last + DEBOUNCE,
            HintKind::Now | HintKind::Writing | HintKind::Gone => scheduled.first + MAX_DEBOUNCE,
        };
        (now < believed).then_some(believed)
    }

    fn failed(&mut self, reason: String, now: Instant) -> Option<Observation> {
        let due = now + self.backoff.next();
        self.scheduled.get_or_insert(ScheduledRead { due, first: due, last: due, hint_kind: HintKind::Done });
        let asked = std::mem::take(&mut self.forced);
        if std::mem::replace(&mut self.failure_reported, true) && !asked {
            return None;
        }
        Some(Observation::Unreadable(reason))
    }
}
