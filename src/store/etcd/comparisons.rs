//! When subjects are compared with what the server has. Nothing should ever be found: watches tell of every
//! change. It is also noticed here that a right is gone, and the login is kept alive by use.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Subject;
use crate::store::backoff::jittered;

/// The shortest and the longest time between two comparisons of a subject. A login of 300 s is kept alive.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(240);

/// How many subjects are compared in a second, within the limits of [`INTERVAL`].
const RATE: u32 = 10;

/// How long an event may be under way that tells of what a comparison found.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Comparisons {
    /// When all are compared.
    next: Instant,
    /// Those that differed, by when they are compared once more.
    suspects: VecDeque<(Instant, Subject)>,
}

impl Comparisons {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now + jittered(*INTERVAL.start()), suspects: VecDeque::new() }
    }

    pub(super) fn due(&self) -> Instant {
        self.suspects.front().map_or(self.next, |(due, _)| self.next.min(*due))
    }

    /// Whether all `subjects` are to be compared now.
    pub(super) fn begin_round(&mut self, subjects: usize, now: Instant) -> bool {
        let is_due = self.next <= now;
        if is_due {
            let all = Duration::from_secs(1) * u32::try_from(subjects).unwrap_or(u32::MAX) / RATE;
            self.next = now + jittered(all.clamp(*INTERVAL.start(), *INTERVAL.end()));
        }
        is_due
    }

    /// Returns the next subject that is to be compared once more.
    pub(super) fn next_suspect(&mut self, now: Instant) -> Option<Subject> {
        self.suspects.front().filter(|(due, _)| *due <= now)?;
        self.suspects.pop_front().map(|(_, subject)| subject)
    }

    pub(super) fn suspect(&mut self, subject: Subject, now: Instant) {
        self.suspects.push_back((now + PATIENCE, subject));
    }
}

/// What is known of the keys that one watch is on: how many there are, and up to which revision it knows all
/// that happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) keys: i64,
    pub(super) seen: i64,
}

/// That of a node's own key, and that of the keys below it. A watch on one of them can be lost while the
/// other tells of later changes.
pub(super) type Tallies = [Tally; 2];

impl Tally {
    /// Whether a server that has so many keys, the latest change of which has this revision, has nothing that
    /// is not known.
    pub(super) fn covers(self, keys: i64, latest: i64) -> bool {
        self.keys == keys && latest <= self.seen
    }
}
