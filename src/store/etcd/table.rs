//! All subjects that are followed, on one connection after another, and what is to be done about each. It
//! does no IO.
//!
//! A subject is read at some revision, and watched from the next one on, so that nothing lies in between. It
//! has no watch while it is read, so that an event is always newer than what is known. Whatever is unusual
//! ends the connection or has the subject read again, at the present revision: an old one is never resumed,
//! because a server that was restored from a snapshot may never get there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::comparisons::{Comparisons, Tallies, Tally};
use super::ended::Ended;
use super::followed::{Failures, Followed, Phase};
use super::keys::Keys;
use super::known::{Known, ranges};
use super::order;
use super::reads::{Batch, Page, Read, ReadFailure, Reads};
use super::row::mistake;
use super::watches::Watches;
use super::wire::messages::{Header, TxnRequest, TxnResponse, WatchRequest};
use crate::model::{Facet, Shrink, Subject};
use crate::store::memory;
use crate::store::message::{StoreCommand, StoreEvent};
use crate::text::count;

/// How many reports, and how many bytes in them, may wait for the daemon while more is read.
const MAX_REPORTS: usize = 1024;
const MAX_REPORT_BYTES: u64 = 8 << 20;

/// How long what arrives in pieces may take: a message, or a response in fragments. A slow network needs
/// less, and a server that never ends one would keep all that follows from us.
pub(super) const MAX_PIECES: Duration = Duration::from_secs(30);

pub(super) struct Table {
    keys: Keys,
    timeout: Duration,
    followed: HashMap<Subject, Followed>,
    reads: Reads,
    watches: Watches,
    /// The subjects to report. Some may need no report any more.
    reports: VecDeque<Subject>,
    /// How much data is in them.
    report_bytes: u64,
    /// Trees and members by when they are reported.
    settling: BTreeSet<(Instant, Subject)>,
    /// Failing subjects by when they are tried again.
    retries: BTreeSet<(Instant, Subject)>,
    comparisons: Comparisons,
    /// Changes that were missed and are to be mentioned.
    missed: VecDeque<Subject>,
    /// Since when there is this connection.
    since: Instant,
    /// The cluster's identity on this connection; 0 if it is not known.
    cluster: u64,
    /// The watch of which a response in fragments is arriving, and since when.
    incomplete: Option<(i64, Instant)>,
    /// How many oddities there were since some moment.
    oddities: (Instant, usize),
    /// Keys under a watched node that are no paths, which were not mentioned yet, and one of the nodes.
    skipped: Option<(u64, Subject)>,
    is_skipping_known: bool,
    has_read: bool,
}

impl Table {
    pub(super) fn new(keys: Keys, timeout: Duration, now: Instant) -> Self {
        Self {
            keys,
            timeout,
            followed: HashMap::new(),
            reads: Reads::default(),
            watches: Watches::default(),
            reports: VecDeque::new(),
            report_bytes: 0,
            settling: BTreeSet::new(),
            retries: BTreeSet::new(),
            comparisons: Comparisons::new(now),
            missed: VecDeque::new(),
            since: now,
            cluster: 0,
            incomplete: None,
            oddities: (now, 0),
            skipped: None,
            is_skipping_known: false,
            has_read: false,
        }
    }

    /// Begins anew on another connection, on which nothing was read yet.
    pub(super) fn restart(&mut self, cluster: u64, now: Instant) {
        (self.reads, self.watches) = (Reads::default(), Watches::default());
        (self.reports, self.report_bytes) = (VecDeque::new(), 0);
        (self.settling, self.retries) = (BTreeSet::new(), BTreeSet::new());
        (self.since, self.has_read) = (now, false);
        (self.cluster, self.incomplete, self.oddities) = (cluster, None, (now, 0));
        (self.comparisons, self.missed) = (Comparisons::new(now), VecDeque::new());
        for (subject, followed) in &mut self.followed {
            let before = followed.before;
            *followed = Followed { before, ..Followed::new(subject.facet) };
            self.reads.add(subject.clone());
        }
    }

    /// Whether something was read on this connection.
    pub(super) fn has_read(&self) -> bool {
        self.has_read
    }

    pub(super) fn take(&mut self, command: StoreCommand, now: Instant) {
        match command {
            StoreCommand::Follow(subject) => {
                if !self.followed.contains_key(&subject) {
                    self.followed.insert(subject.clone(), Followed::new(subject.facet));
                    self.reads.add(subject);
                }
            }
            StoreCommand::Leave(subject) => self.leave(&subject),
            StoreCommand::Refresh(subject) => self.refresh(&subject, now),
        }
    }

    fn leave(&mut self, subject: &Subject) {
        let Some(mut followed) = self.followed.remove(subject) else { return };
        self.followed.shrink_if_sparse();
        self.report_bytes -= followed.known.waiting();
        followed.watches.iter_mut().filter_map(Option::take).for_each(|watch| self.watches.cancel(watch));
        self.unschedule(subject, &followed);
    }

    fn unschedule(&mut self, subject: &Subject, followed: &Followed) {
        if let Phase::Failing { due } = followed.phase {
            self.retries.remove(&(due, subject.clone()));
        }
        if let Some(due) = followed.settled() {
            self.settling.remove(&(due, subject.clone()));
        }
    }

    /// Has a subject reported once more, also if it is known to be unreadable.
    fn refresh(&mut self, subject: &Subject, now: Instant) {
        let Some(followed) = self.followed.get_mut(subject) else { return };
        match (&followed.phase, subject.facet) {
            (Phase::Unread | Phase::Reading, _) => {}
            (Phase::Watched, Facet::Children | Facet::Tree | Facet::Members) => self.touch(subject, now),
            (Phase::Watched, Facet::Data) => self.read_again(subject),
            (Phase::Failing { .. }, _) => {
                followed.failures = None;
                self.read_again(subject);
            }
        }
    }

    /// Has a subject read as soon as possible, and watched anew.
    fn read_again(&mut self, subject: &Subject) {
        let Some(mut followed) = self.followed.remove(subject) else { return };
        self.report_bytes -= followed.known.waiting();
        followed.watches.iter_mut().filter_map(Option::take).for_each(|watch| self.watches.cancel(watch));
        self.unschedule(subject, &followed);
        let Followed { before, failures, is_queued, .. } = followed;
        let again = Followed { before, failures, is_queued, ..Followed::new(subject.facet) };
        self.followed.insert(subject.clone(), again);
        self.reads.add(subject.clone());
    }

    /// Returns the next read to ask for: its number, the request, and the longest reply.
    pub(super) fn next_read(&mut self, now: Instant) -> Option<(u64, TxnRequest, u64)> {
        if self.is_full() {
            return None;
        }
        let (keys, followed) = (&self.keys, &mut self.followed);
        let mut mistaken = Vec::new();
        let read = self.reads.next(keys, |subject, ticket| {
            if let Some(mistake) = mistake(&subject.path) {
                mistaken.push((subject.clone(), mistake.to_string()));
                return false;
            }
            let followed =
                followed.get_mut(subject).filter(|followed| matches!(followed.phase, Phase::Unread));
            followed.is_some_and(|followed| {
                (followed.phase, followed.ticket) = (Phase::Reading, ticket);
                true
            })
        });
        for (subject, reason) in mistaken {
            self.fail(&subject, reason, now);
        }
        read
    }

    /// Whether so much waits for the daemon that nothing should be read.
    pub(super) fn is_full(&self) -> bool {
        self.reports.len() >= MAX_REPORTS || self.report_bytes >= MAX_REPORT_BYTES
    }

    /// Returns what is to be said next on the stream of watches.
    pub(super) fn next_watch_request(&mut self) -> Option<WatchRequest> {
        self.watches.next_request()
    }

    /// Takes the answer to a read.
    pub(super) fn answered(
        &mut self,
        number: u64,
        answer: Result<TxnResponse, ReadFailure>,
        now: Instant,
    ) -> Result<(), Ended> {
        if let Ok(response) = &answer {
            self.expect_cluster(response.header.as_ref())?;
        }
        let Some(read) = self.reads.done(number) else { return Ok(()) };
        match (read, answer) {
            (Read::Data(batch), Ok(response)) => self.data_read(batch, response, now),
            (Read::Comparison(batch), Ok(response)) => self.compared(batch, response, now),
            (Read::Page(page), Ok(response)) => self.page_read(page, response, now),
            (read, Err(failure)) => self.read_failed(read, failure, now),
        }
    }

    fn is_current(&self, subject: &Subject, ticket: u64) -> bool {
        self.followed
            .get(subject)
            .is_some_and(|followed| followed.ticket == ticket && matches!(followed.phase, Phase::Reading))
    }

    fn data_read(&mut self, batch: Batch, response: TxnResponse, now: Instant) -> Result<(), Ended> {
        let (revision, found) = Reads::found(response, batch.subjects.len())?;
        self.reads.succeeded(&batch);
        for ((subject, ticket), found) in batch.subjects.into_iter().zip(found) {
            let own = self.keys.own(&subject.path);
            if own.is_some_and(|own| !order::is_possible(&own.request(), &found)) {
                return Err(Ended::Unusual("the server gave keys that nobody asked for".to_owned()));
            }
            if self.is_current(&subject, ticket) {
                let mut known = Known::nothing(Facet::Data);
                if let Some(kv) = found.kvs.first() {
                    known.put(&subject.path, &subject.path, kv, true);
                }
                let own = Tally { keys: found.kvs.len() as i64, seen: revision };
                self.is_read(&subject, known, [own, Tally { keys: 0, seen: revision }], now);
            }
        }
        Ok(())
    }

    fn page_read(&mut self, mut page: Page, response: TxnResponse, now: Instant) -> Result<(), Ended> {
        let (subject, ticket) = page.subject();
        if !self.is_current(&subject, ticket) {
            return Ok(());
        }
        let is_complete = page.take(&self.keys, response)?;
        if let Some(reason) = page.excess() {
            self.fail(&subject, reason, now);
        } else if is_complete {
            let (known, tallies, skipped) = page.finish();
            self.note_skipped(&subject, skipped);
            self.is_read(&subject, known, tallies, now);
        } else {
            self.reads.go_on(page);
        }
        Ok(())
    }

    fn read_failed(&mut self, read: Read, failure: ReadFailure, now: Instant) -> Result<(), Ended> {
        let Some(read) = self.reads.smaller(read, &failure) else { return Ok(()) };
        let (subject, ticket) = read;
        if self.is_watched(&subject, ticket) {
            // It was to be compared. That it cannot be read is reported when it is read.
            self.read_again(&subject);
            return Ok(());
        }
        if !self.is_current(&subject, ticket) {
            return Ok(());
        }
        match failure {
            ReadFailure::Compacted => self.odd(&subject, now)?,
            ReadFailure::Forbidden(reason) => self.fail(&subject, reason, now),
            ReadFailure::TooLong(bytes) => {
                self.fail(&subject, memory::no_room_for(bytes).to_string(), now);
            }
        }
        Ok(())
    }

    /// Takes over what was read, and has it watched from the next revision on.
    fn is_read(&mut self, subject: &Subject, mut known: Known, tallies: Tallies, now: Instant) {
        let Some(followed) = self.followed.get_mut(subject) else { return };
        self.has_read = true;
        if let Some(before) = followed.before {
            known.follow_on(before, tallies[0].seen);
        }
        self.report_bytes += known.waiting();
        (followed.known, followed.phase, followed.failures) = (known, Phase::Watched, None);
        followed.tallies = tallies;
        let (own, below) = ranges(&self.keys, subject);
        followed.watches = [own, below]
            .map(|range| Some(self.watches.watch(subject.clone(), range?, tallies[0].seen + 1, now)));
        self.touch(subject, now);
    }

    /// Has a subject reported.
    fn touch(&mut self, subject: &Subject, now: Instant) {
        let Some(followed) = self.followed.get_mut(subject) else { return };
        if let Some(due) = followed.settled() {
            self.settling.remove(&(due, subject.clone()));
        }
        let first = followed.unsent.map_or(now, |(first, _)| first);
        followed.unsent = Some((first, now));
        if followed.is_partial || followed.is_queued {
            return;
        }
        match subject.facet {
            Facet::Data | Facet::Children => {
                followed.is_queued = true;
                self.reports.push_back(subject.clone());
            }
            Facet::Tree | Facet::Members => {
                if let Some(due) = followed.settled() {
                    self.settling.insert((due, subject.clone()));
                }
            }
        }
    }

    fn fail(&mut self, subject: &Subject, reason: String, now: Instant) {
        self.read_again(subject);
        let Some(followed) = self.followed.get_mut(subject) else { return };
        let is_first = followed.failures.is_none();
        let failures = followed.failures.get_or_insert_with(|| Failures::new(reason));
        let due = now + failures.backoff.next();
        followed.phase = Phase::Failing { due };
        self.retries.insert((due, subject.clone()));
        if is_first && !followed.is_queued {
            followed.is_queued = true;
            self.reports.push_back(subject.clone());
        }
    }

    fn expect_cluster(&self, header: Option<&Header>) -> Result<(), Ended> {
        match header.map_or(0, |header| header.cluster) {
            cluster if cluster == 0 || self.cluster == 0 || cluster == self.cluster => Ok(()),
            cluster => Err(Ended::Unusual(format!(
                "another cluster replied ({cluster:x} in place of {:x}); do the members of the URL belong \
                 together?",
                self.cluster
            ))),
        }
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let unconfirmed = self.watches.oldest_unconfirmed().map(|asked| asked + self.timeout);
        let settled = self.settling.first().map(|(due, _)| *due);
        let retry = self.retries.first().map(|(due, _)| *due);
        let incomplete = self.incomplete.map(|(_, since)| since + MAX_PIECES);
        let due = [unconfirmed, settled, retry, incomplete, Some(self.comparisons.due())];
        due.into_iter().flatten().min()
    }

    /// Does what is due. Fails if the server has taken too long.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Ended> {
        if self.watches.oldest_unconfirmed().is_some_and(|asked| asked + self.timeout <= now) {
            return Err(Ended::NoAnswer(self.timeout));
        }
        if self.incomplete.is_some_and(|(_, since)| since + MAX_PIECES <= now) {
            return Err(Ended::NoAnswer(MAX_PIECES));
        }
        while let Some((due, subject)) = self.settling.pop_first() {
            if due > now {
                self.settling.insert((due, subject));
                break;
            }
            if let Some(followed) = self.followed.get_mut(&subject).filter(|followed| !followed.is_queued) {
                followed.is_queued = true;
                self.reports.push_back(subject);
            }
        }
        while let Some((_, subject)) = self.retries.first().filter(|(due, _)| *due <= now).cloned() {
            self.read_again(&subject);
        }
        self.compare(now);
        Ok(())
    }

    /// Whether [`Self::next_report`] may have something.
    pub(super) fn has_report(&self) -> bool {
        !self.reports.is_empty()
            || !self.missed.is_empty()
            || (self.skipped.is_some() && !self.is_skipping_known)
    }

    /// Returns the next event for the daemon, since there is room for it.
    pub(super) fn next_report(&mut self, now: Instant) -> Option<StoreEvent> {
        if let Some((keys, subject)) = self.skipped.take() {
            self.is_skipping_known = true;
            let (path, facet) = (subject.path.as_str(), subject.facet.as_str());
            let none = match (keys, Keys::is_row(&subject.path)) {
                (1, true) => "is no key of its type",
                (1, false) => "is no node path",
                (_, true) => "are no keys of its type",
                (_, false) => "are no node paths",
            };
            let reason = format!(
                "{} below {path:?} (watched for its {facet}) {none}; such keys are skipped, there and \
                 elsewhere",
                count(keys, "key")
            );
            return Some(StoreEvent::Degraded { reason });
        }
        if let Some(subject) = self.missed.pop_front() {
            return Some(StoreEvent::MissedChange { subject });
        }
        while let Some(subject) = self.reports.pop_front() {
            let Some(followed) = self.followed.get_mut(&subject) else { continue };
            followed.is_queued = false;
            match followed.phase {
                Phase::Failing { .. } => {
                    let reason = followed.failures.as_mut().and_then(|failures| failures.reason.take());
                    if let Some(reason) = reason {
                        return Some(StoreEvent::Unreadable { subject, reason });
                    }
                }
                // The rest, or what is read, will be reported.
                Phase::Unread | Phase::Reading => {}
                Phase::Watched if followed.is_partial => {}
                Phase::Watched => {
                    followed.unsent = None;
                    self.report_bytes -= followed.known.waiting();
                    followed.before = followed.known.version();
                    match followed.known.report(&self.keys, &subject) {
                        Ok(Some(event)) => return Some(event),
                        Ok(None) => {}
                        Err(error) => self.fail(&subject, format!("it cannot be put together: {error}"), now),
                    }
                }
            }
        }
        None
    }
}

mod comparing;
mod hearing;
#[cfg(test)]
mod properties;
