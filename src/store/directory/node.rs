//! One followed node: what is known of it, and when it is looked at next.

use std::time::Duration;

use tokio::time::Instant;

use super::file::{Reading, Stamp};
use crate::model::{State, Subject, Version};
use crate::store::StoreEvent;
use crate::store::backoff::Backoff;

/// How long nothing may happen to a file before it counts as written: a shell needs well below a millisecond
/// from truncating a file to writing it, a busy machine some.
const QUIET: Duration = Duration::from_millis(25);

/// How long a file that is never quiet is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pauses before a node that could not be read is tried again; the longest is what the contract promises.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

pub(super) struct Node {
    /// Rises when the node is seen to be gone, so that its next state is a new incarnation.
    pub(super) generation: i64,
    /// When to look, and why.
    pub(super) visit: Option<Visit>,
    known: Known,
    /// Whether to send what is found even if it is known.
    forced: bool,
    /// Whether the present series of failures has been reported.
    complained: bool,
    backoff: Backoff,
}

/// What a hint means for when to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cue {
    /// Look at once: whoever wrote is done.
    Done,
    /// Look at once, though somebody may be about to write.
    Now,
    /// Somebody writes: look when it is quiet.
    Writing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) due: Instant,
    /// The first and the latest of the hints that led here.
    first: Instant,
    last: Instant,
    cue: Cue,
}

#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Absent,
    Present { version: Version, stamp: Stamp, blank: bool },
}

impl Node {
    pub(super) fn new() -> Self {
        Self {
            generation: 0,
            visit: None,
            known: Known::Nothing,
            forced: false,
            complained: false,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        }
    }

    pub(super) fn hint(&mut self, now: Instant, cue: Cue) {
        let first = self.visit.map_or(now, |visit| visit.first.min(now));
        let due = match cue {
            Cue::Done | Cue::Now => now,
            Cue::Writing => (now + QUIET).min(first + PATIENCE),
        };
        self.visit = Some(Visit { due, first, last: now, cue });
    }

    /// Look now, and send what is found in any case.
    pub(super) fn force(&mut self, now: Instant) {
        self.forced = true;
        self.hint(now, Cue::Done);
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        match self.known {
            Known::Nothing | Known::Absent => None,
            Known::Present { stamp, .. } => Some(stamp),
        }
    }

    /// Takes what a visit found, and gives what there is to say. `visit` is the one that led here; a newer
    /// one in `self.visit` means that things happened during the read.
    pub(super) fn found(
        &mut self,
        subject: &Subject,
        visit: Visit,
        found: std::io::Result<Option<Reading>>,
        now: Instant,
    ) -> Option<StoreEvent> {
        let patient = now < visit.first + PATIENCE;
        if let Some(newer) = &mut self.visit {
            newer.first = visit.first;
            newer.due = newer.due.min(visit.first + PATIENCE);
            if patient {
                return None;
            }
        }
        let reading = match found {
            Ok(reading) => reading,
            Err(error) => return self.failed(subject, error.to_string(), now),
        };
        if let Some(reading) = &reading
            && patient
            && let Some(due) = self.doubt(reading, visit, now)
        {
            self.visit = Some(Visit { due: due.min(visit.first + PATIENCE), ..visit });
            return None;
        }
        self.backoff.reset();
        let (known, state) = match reading {
            None => (Known::Absent, State::Absent),
            Some(reading) => {
                let version = reading.version(self.generation);
                let Reading { content, stamp, blank, .. } = reading;
                (Known::Present { version, stamp, blank }, State::Present { version, content })
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
        let silent = same && !self.forced && !self.complained;
        (self.forced, self.complained) = (false, false);
        (!silent).then(|| StoreEvent::Observed { subject: subject.clone(), state })
    }

    /// When to look again before this is believed; `None` if it is.
    fn doubt(&self, reading: &Reading, visit: Visit, now: Instant) -> Option<Instant> {
        if !reading.steady {
            return Some(now + QUIET);
        }
        let emptied = reading.blank
            && match self.known {
                Known::Nothing => false,
                Known::Absent => true,
                Known::Present { blank, .. } => !blank,
            };
        if !emptied {
            return None;
        }
        // Truncated, and still open: what is to be written is worth some waiting.
        let believed = match visit.cue {
            Cue::Done => visit.last + QUIET,
            Cue::Now | Cue::Writing => visit.first + PATIENCE,
        };
        (now < believed).then_some(believed)
    }

    fn failed(&mut self, subject: &Subject, reason: String, now: Instant) -> Option<StoreEvent> {
        let due = now + self.backoff.next();
        self.visit.get_or_insert(Visit { due, first: due, last: due, cue: Cue::Done });
        let asked = std::mem::take(&mut self.forced);
        if std::mem::replace(&mut self.complained, true) && !asked {
            return None;
        }
        Some(StoreEvent::Unreadable { subject: subject.clone(), reason })
    }
}
