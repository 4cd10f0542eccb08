//! The reads that are to be made and that are under way: the data of many nodes at once, and what has many
//! nodes page by page.

use std::collections::{HashMap, VecDeque};

use hyper::body::Bytes;

use super::comparisons::{Tallies, Tally};
use super::ended::Ended;
use super::keys::{KeyRange, Keys, after};
use super::known::{Known, ranges};
use super::order;
use super::row::Found;
use super::wire::messages::{
    AnyResult, BY_CHANGE, DESCENDING, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::model::{Facet, Subject};
use crate::store::encoding::MAX_TREE_NODES;

/// How many reads are under way at once. The server answers them one after the other.
const MAX_IN_FLIGHT: usize = 4;

/// How many operations a transaction can have, unless the server is configured otherwise.
const MAX_BATCH: usize = 128;

/// How many keys are read at once with their data, or without.
const TREE_PAGE: i64 = 512;
const NAMES_PAGE: i64 = 4096;

/// How many keys are read of one subject, also if most are no nodes, or far below: more than a server has
/// room for by default.
const MAX_KEYS: i64 = 20_000_000;

/// The longest reply to a read of several keys. If it is too long, fewer are read at once.
const MAX_REPLY: u64 = 4 << 20;

/// The longest reply to a read of one key: more than any node that a server takes.
const MAX_KEY: u64 = 64 << 20;

#[derive(Default)]
pub(super) struct Reads {
    unread: VecDeque<Subject>,
    /// What was too much at once, in smaller parts, and the pages after those that were read.
    next: VecDeque<Read>,
    under_way: HashMap<u64, Read>,
    last: u64,
    /// How much smaller than [`MAX_BATCH`] a batch should be, as a power of two.
    shift: u32,
}

pub(super) enum Read {
    Data(Batch),
    /// How many keys these subjects have, and which was changed last.
    Comparison(Batch),
    Page(Page),
}

/// Some subjects, each with the number of its read.
pub(super) struct Batch {
    pub(super) subjects: Vec<(Subject, u64)>,
}

/// A page of the keys of one subject.
pub(super) struct Page {
    subject: Subject,
    ticket: u64,
    known: Known,
    /// Where it begins; `None` at the first one.
    start: Option<Bytes>,
    /// All pages are of this revision, once it is known.
    revision: i64,
    limit: i64,
    /// How many keys were read: the node's own, and those below it.
    keys: [i64; 2],
    /// How many of them are no paths.
    skipped: u64,
    has_too_many: bool,
}

/// Why something was not read, although the connection is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// The reply has so many bytes.
    TooLong(u64),
    Forbidden(String),
    /// The revision of the first page is gone.
    Compacted,
}

impl Reads {
    pub(super) fn add(&mut self, subject: Subject) {
        self.unread.push_back(subject);
    }

    /// Returns the next read: its number, the request, and the longest reply. `begin` begins to read a
    /// subject with the number of its read, and returns false if that is not wanted any more.
    pub(super) fn next(
        &mut self,
        keys: &Keys,
        begin: impl FnMut(&Subject, u64) -> bool,
    ) -> Option<(u64, TxnRequest, u64)> {
        if self.under_way.len() >= MAX_IN_FLIGHT {
            return None;
        }
        let read = match self.next.pop_front() {
            Some(read) => read,
            None => self.begin(begin)?,
        };
        self.last += 1;
        let (request, limit) = (read.request(keys), read.longest_reply());
        self.under_way.insert(self.last, read);
        Some((self.last, request, limit))
    }

    fn begin(&mut self, mut begin: impl FnMut(&Subject, u64) -> bool) -> Option<Read> {
        let mut subjects = Vec::new();
        while subjects.len() < (MAX_BATCH >> self.shift).max(1)
            && let Some(subject) = self.unread.pop_front()
        {
            let is_data = subject.facet == Facet::Data;
            if !is_data && !subjects.is_empty() {
                self.unread.push_front(subject);
                break;
            }
            self.last += 1;
            if !begin(&subject, self.last) {
                continue;
            }
            if !is_data {
                return Some(Read::Page(Page::first(subject, self.last)));
            }
            subjects.push((subject, self.last));
        }
        (!subjects.is_empty()).then_some(Read::Data(Batch { subjects }))
    }

    /// Returns the read that is answered.
    pub(super) fn done(&mut self, number: u64) -> Option<Read> {
        self.under_way.remove(&number)
    }

    /// Notes that a batch was not too large.
    pub(super) fn succeeded(&mut self, batch: &Batch) {
        if batch.subjects.len() >= MAX_BATCH >> self.shift {
            self.shift = self.shift.saturating_sub(1);
        }
    }

    /// Has subjects compared.
    pub(super) fn compare(&mut self, subjects: Vec<(Subject, u64)>) {
        for subjects in subjects.chunks(MAX_BATCH / 2) {
            self.next.push_back(Read::Comparison(Batch { subjects: subjects.to_vec() }));
        }
    }

    pub(super) fn go_on(&mut self, page: Page) {
        self.next.push_back(Read::Page(page));
    }

    /// Reads less at once, after this read failed. Returns the subject that cannot be read, with the number
    /// of its read, if there is no less.
    pub(super) fn smaller(&mut self, read: Read, failure: &ReadFailure) -> Option<(Subject, u64)> {
        match read {
            Read::Comparison(mut batch) => {
                let rest = batch.subjects.split_off(batch.subjects.len().div_ceil(2));
                if rest.is_empty() {
                    return batch.subjects.pop();
                }
                self.next.extend([batch.subjects, rest].map(|subjects| Read::Comparison(Batch { subjects })));
            }
            Read::Data(mut batch) => {
                let rest = batch.subjects.split_off(batch.subjects.len().div_ceil(2));
                if rest.is_empty() {
                    return batch.subjects.pop();
                }
                if let ReadFailure::TooLong(_) = failure {
                    self.shift = (self.shift + 1).min(MAX_BATCH.ilog2());
                }
                self.next.extend([batch.subjects, rest].map(|subjects| Read::Data(Batch { subjects })));
            }
            Read::Page(page) => match failure {
                ReadFailure::TooLong(_) if page.limit > 1 => {
                    self.next.push_back(Read::Page(Page { limit: page.limit / 2, ..page }));
                }
                ReadFailure::TooLong(_) | ReadFailure::Forbidden(_) | ReadFailure::Compacted => {
                    return Some(page.subject());
                }
            },
        }
        None
    }

    /// Returns the revision of a reply, and what each of `count` reads has found.
    pub(super) fn found(response: TxnResponse, count: usize) -> Result<(i64, Vec<RangeResponse>), Ended> {
        let unusual = || Ended::Unusual("the server replied to something else".to_owned());
        let revision = response.header.ok_or_else(unusual)?.revision;
        let ranges = response.responses.into_iter().map(|result| match result.result {
            Some(AnyResult::Range(found)) => Ok(found),
            Some(AnyResult::Put(_) | AnyResult::Delete(_)) | None => Err(unusual()),
        });
        let ranges: Vec<_> = ranges.collect::<Result<_, _>>()?;
        // The revision after it has to be one, too.
        if ranges.len() == count && (1..i64::MAX).contains(&revision) {
            Ok((revision, ranges))
        } else {
            Err(unusual())
        }
    }
}

impl Read {
    fn request(&self, keys: &Keys) -> TxnRequest {
        let reads: Vec<RangeRequest> = match self {
            Self::Data(batch) => {
                // The root has no key where there is no prefix, nor has a table. Nobody else has this one.
                let none = || KeyRange { first: Bytes::from_static(&[0]), end: Bytes::new() };
                let own = |subject: &Subject| keys.own(&subject.path).unwrap_or_else(none).request();
                batch.subjects.iter().map(|(subject, _)| own(subject)).collect()
            }
            Self::Comparison(batch) => {
                let requests = batch.subjects.iter().flat_map(|(subject, _)| comparison(keys, subject));
                requests.map(|(_, request)| request).collect()
            }
            Self::Page(page) => page.requests(keys),
        };
        TxnRequest { success: reads.into_iter().map(Into::into).collect(), ..Default::default() }
    }

    fn longest_reply(&self) -> u64 {
        let keys = match self {
            Self::Data(batch) => batch.subjects.len(),
            // Its replies have no data.
            Self::Comparison(_) => 0,
            Self::Page(page) => page.limit as usize,
        };
        if keys == 1 { MAX_KEY } else { MAX_REPLY }
    }
}

/// Returns the requests that find out how many keys a subject has, and which was changed last: each with the
/// place of its tally.
pub(super) fn comparison(
    keys: &Keys,
    subject: &Subject,
) -> impl Iterator<Item = (usize, RangeRequest)> + use<> {
    let (own, below) = ranges(keys, subject);
    let request = |range: KeyRange| RangeRequest {
        limit: 1,
        sort_order: DESCENDING,
        sort_target: BY_CHANGE,
        keys_only: true,
        ..range.request()
    };
    let both = [own, below].into_iter().enumerate();
    both.filter_map(move |(place, range)| Some((place, request(range?))))
}

impl Page {
    fn first(subject: Subject, ticket: u64) -> Self {
        let limit = match subject.facet {
            Facet::Tree | Facet::Members => TREE_PAGE,
            Facet::Data | Facet::Children => NAMES_PAGE,
        };
        let known = Known::nothing(subject.facet);
        Self {
            subject,
            ticket,
            known,
            start: None,
            revision: 0,
            limit,
            keys: [0; 2],
            skipped: 0,
            has_too_many: false,
        }
    }

    pub(super) fn subject(&self) -> (Subject, u64) {
        (self.subject.clone(), self.ticket)
    }

    fn requests(&self, keys: &Keys) -> Vec<RangeRequest> {
        let (own, below) = ranges(keys, &self.subject);
        let own = own.filter(|_| self.start.is_none());
        let below = below.map(|below| match &self.start {
            None => below,
            Some(start) => KeyRange { first: start.clone(), ..below },
        });
        let request = |range: KeyRange| RangeRequest {
            limit: self.limit,
            revision: self.revision,
            keys_only: self.subject.facet == Facet::Children,
            ..range.request()
        };
        own.into_iter().chain(below).map(request).collect()
    }

    /// Takes what was read. Returns true if this was the last page.
    pub(super) fn take(&mut self, keys: &Keys, response: TxnResponse) -> Result<bool, Ended> {
        let requests = self.requests(keys);
        let (revision, found) = Reads::found(response, requests.len())?;
        if !requests.iter().zip(&found).all(|(request, found)| order::is_possible(request, found)) {
            return Err(Ended::Unusual("the server gave keys out of order, or of another range".to_owned()));
        }
        if self.revision == 0 {
            self.revision = revision;
        }
        let is_tree = self.subject.facet == Facet::Tree;
        self.has_too_many = is_tree && found.iter().any(|found| found.count > MAX_TREE_NODES as i64);
        let mut next = None;
        for found in found {
            next = found.kvs.last().filter(|_| found.more).map(|last| after(&last.key));
            for kv in &found.kvs {
                let is_below = keys.key(&self.subject.path).is_none_or(|own| own != kv.key);
                self.keys[usize::from(is_below)] += 1;
                match keys.find(&self.subject.path, &kv.key) {
                    Found::Node(path) => drop(self.known.put(&self.subject.path, &path, kv, true)),
                    Found::Elsewhere => {}
                    Found::NoNode => self.skipped += 1,
                }
            }
        }
        let is_last = next.is_none();
        self.start = next;
        Ok(is_last)
    }

    /// Returns why it is too much, if it is.
    pub(super) fn excess(&self) -> Option<String> {
        if self.has_too_many {
            Some(format!(
                "it has more than {MAX_TREE_NODES} nodes; remove some, or watch smaller trees below it"
            ))
        } else if self.keys.iter().sum::<i64>() > MAX_KEYS {
            Some(format!(
                "there are more than {MAX_KEYS} keys below it; remove some, or watch nodes below it"
            ))
        } else {
            self.known.excess()
        }
    }

    /// Returns what is known, of how many keys and of which revision, and how many keys are no paths.
    pub(super) fn finish(self) -> (Known, Tallies, u64) {
        (self.known, self.keys.map(|keys| Tally { keys, seen: self.revision }), self.skipped)
    }
}
