//! The watches on one stream: whose each is, and what is to be asked of the server about them.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::keys::KeyRange;
use super::wire::messages::{AnyWatchRequest, WatchCancel, WatchCreate, WatchRequest};
use crate::model::{Shrink, Subject};

/// The number of a watch that the server refused.
const REFUSED: i64 = -1;

#[derive(Default)]
pub(super) struct Watches {
    owners: HashMap<i64, Subject>,
    /// Those that the server has not confirmed, in the order in which they were asked for, with the time of
    /// that.
    unconfirmed: VecDeque<(i64, Instant)>,
    /// What is to be sent.
    requests: VecDeque<AnyWatchRequest>,
    last: i64,
}

/// What the server said to a request for a watch.
pub(super) enum Confirmed {
    /// It is there, or nobody needs it any more.
    Watched,
    Refused(Subject),
    /// The server speaks of another watch than that which it was asked for.
    Unexpected,
}

impl Watches {
    /// Asks for a watch that begins with `start`. Returns its number.
    pub(super) fn watch(&mut self, subject: Subject, range: KeyRange, start: i64, now: Instant) -> i64 {
        self.last += 1;
        self.owners.insert(self.last, subject);
        self.unconfirmed.push_back((self.last, now));
        let KeyRange { first: key, end: range_end } = range;
        self.requests.push_back(AnyWatchRequest::Create(WatchCreate {
            key,
            range_end,
            start_revision: start,
            watch: self.last,
            fragment: true,
        }));
        self.last
    }

    pub(super) fn cancel(&mut self, watch: i64) {
        if self.owners.remove(&watch).is_some() {
            self.owners.shrink_if_sparse();
            self.requests.push_back(AnyWatchRequest::Cancel(WatchCancel { watch }));
        }
    }

    /// Whether this is the number of a watch, of the present or of the past.
    pub(super) fn was_asked(&self, watch: i64) -> bool {
        (1..=self.last).contains(&watch)
    }

    pub(super) fn owner(&self, watch: i64) -> Option<&Subject> {
        self.owners.get(&watch)
    }

    /// Notes that the server has ended a watch. Returns whose it was, if somebody needs it.
    pub(super) fn ended(&mut self, watch: i64) -> Option<Subject> {
        self.owners.remove(&watch)
    }

    /// Takes the reply to the oldest request for a watch: replies come in the order of the requests.
    pub(super) fn confirmed(&mut self, watch: i64) -> Confirmed {
        self.unconfirmed.shrink_if_sparse();
        match self.unconfirmed.pop_front() {
            Some((asked, _)) if watch == REFUSED => {
                self.owners.remove(&asked).map_or(Confirmed::Watched, Confirmed::Refused)
            }
            Some((asked, _)) if asked == watch => Confirmed::Watched,
            Some(_) | None => Confirmed::Unexpected,
        }
    }

    /// When the request was made that has waited longest for its reply.
    pub(super) fn oldest_unconfirmed(&self) -> Option<Instant> {
        self.unconfirmed.front().map(|(_, asked)| *asked)
    }

    pub(super) fn next_request(&mut self) -> Option<WatchRequest> {
        self.requests.shrink_if_sparse();
        self.requests.pop_front().map(|request| WatchRequest { request: Some(request) })
    }
}
