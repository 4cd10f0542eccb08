//! What the watches of the server say.

use std::time::Duration;

use tokio::time::Instant;

use super::Table;
use crate::model::Subject;
use crate::store::etcd::ended::Ended;
use crate::store::etcd::known::Unexpected;
use crate::store::etcd::watches::Confirmed;
use crate::store::etcd::wire::messages::WatchResponse;
use crate::store::etcd::wire::status::{Meaning, Status};

/// A stream whose login is older than this may be refused a watch because of that.
const LOGIN_AGE: Duration = Duration::from_secs(60);

/// How many subjects may be read again in a second because the server said something unusual of each, beside
/// as many as there are: a compaction can concern all of them.
const MAX_ODDITIES: usize = 16;
const ODDITIES_PERIOD: Duration = Duration::from_secs(1);

impl Table {
    /// Has a subject read again because something is unusual. Fails if that happens too often, so that the
    /// pauses between two connections lie in between.
    pub(super) fn odd(&mut self, subject: &Subject, now: Instant) -> Result<(), Ended> {
        if self.oddities.0 + ODDITIES_PERIOD <= now {
            self.oddities = (now, 0);
        }
        self.oddities.1 += 1;
        if self.oddities.1 > self.followed.len() + MAX_ODDITIES {
            let text = "the server ends watches, or gives events that do not fit, again and again";
            return Err(Ended::Unusual(text.to_owned()));
        }
        self.read_again(subject);
        Ok(())
    }

    /// Notes which response arrives in fragments. They follow one another.
    fn note_fragment(&mut self, watch: i64, is_last: bool, now: Instant) -> Result<(), Ended> {
        match self.incomplete {
            Some((other, _)) if other != watch => {
                return Err(Ended::Unusual("the rest of a response in fragments did not come".to_owned()));
            }
            Some(_) if is_last => self.incomplete = None,
            None if !is_last => self.incomplete = Some((watch, now)),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Takes what the stream of watches said.
    pub(in super::super) fn heard(&mut self, response: WatchResponse, now: Instant) -> Result<(), Ended> {
        self.expect_cluster(response.header.as_ref())?;
        let WatchResponse {
            watch, created, canceled, compact_revision, cancel_reason, fragment, events, ..
        } = response;
        self.note_fragment(watch, !fragment, now)?;
        if created {
            match self.watches.confirmed(watch) {
                Confirmed::Watched => {}
                Confirmed::Refused(subject) => return self.refused(&subject, &cancel_reason, now),
                Confirmed::Unexpected => {
                    let text =
                        "the server confirmed a watch that nobody asked for (is it older than etcd 3.4?)";
                    return Err(Ended::Unusual(text.to_owned()));
                }
            }
        }
        if canceled {
            return match self.watches.ended(watch) {
                None => Ok(()),
                Some(subject) if compact_revision > 0 => self.odd(&subject, now),
                Some(_) => Err(Ended::Lost(format!("the server ended a watch: {cancel_reason}"))),
            };
        }
        if !events.is_empty() && !self.watches.was_asked(watch) {
            let text = "the server gave events of a watch that nobody asked for";
            return Err(Ended::Unusual(text.to_owned()));
        }
        let Some(subject) = self.watches.owner(watch).cloned() else { return Ok(()) };
        let Some(followed) = self.followed.get_mut(&subject) else { return Ok(()) };
        self.report_bytes -= followed.known.waiting();
        let (mut is_changed, mut skipped, mut unexpected) = (followed.is_partial && !fragment, 0, false);
        followed.is_partial = fragment;
        for event in events {
            match followed.apply(&self.keys, &subject, &event) {
                Some(Ok(changed)) => is_changed |= changed,
                Some(Err(Unexpected)) => unexpected = true,
                None => skipped += 1,
            }
        }
        self.report_bytes += followed.known.waiting();
        let excess = followed.known.excess();
        self.note_skipped(&subject, skipped);
        if unexpected {
            self.odd(&subject, now)?;
        } else if let Some(reason) = excess {
            self.fail(&subject, reason, now);
        } else if is_changed {
            self.touch(&subject, now);
        }
        Ok(())
    }

    /// Takes a message of the stream that was too long to be read, of which only its watch is known.
    pub(in super::super) fn overheard(&mut self, watch: i64, now: Instant) -> Result<(), Ended> {
        self.incomplete = None;
        match self.watches.owner(watch).cloned() {
            Some(subject) => self.odd(&subject, now),
            None => Ok(()),
        }
    }

    /// The server does not let us watch what it let us read.
    fn refused(&mut self, subject: &Subject, reason: &str, now: Instant) -> Result<(), Ended> {
        let status = Status { code: 2, text: reason.to_owned() };
        // Some servers say of an old login that the right is missing.
        if status.meaning() == Meaning::Token || self.since + LOGIN_AGE <= now {
            return Err(Ended::Login);
        }
        self.fail(subject, format!("the server refuses to watch it ({reason}); check the user's roles"), now);
        Ok(())
    }

    /// Notes how many keys a subject has that are no nodes. Several subjects can have the same ones, so that
    /// the one with the most is told of.
    pub(super) fn note_skipped(&mut self, subject: &Subject, skipped: u64) {
        let most = self.skipped.as_ref().map_or(0, |(most, _)| *most);
        if skipped > most && !self.is_skipping_known {
            self.skipped = Some((skipped, subject.clone()));
        }
    }
}
