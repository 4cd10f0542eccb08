//! What a publisher notes of keys, of its journal, its store and its leadership, and tells those who run it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::event::PublisherEvent;
use super::run::Run;
use crate::commits::journal::JournalError;
use crate::commits::keeper::{Fate, PublishError, Settled};
use crate::store::{ClientError, Election};

/// How long everything rests after the journal could not be read. A database in trouble has more urgent work.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

impl Run {
    /// Takes in what became of keys. Returns those that could not be published.
    pub(super) fn take_in<'a>(&mut self, all: &'a [Settled]) -> HashSet<&'a str> {
        let mut failed = HashSet::new();
        for Settled { key, intruder, fate, .. } in all {
            match fate {
                Fate::Failed(why) => {
                    failed.insert(&key[..]);
                    self.trouble(key, why);
                    continue;
                }
                Fate::Repaired => {
                    if let Some(intruder) = intruder {
                        let what = intruder.to_string();
                        self.tell(PublisherEvent::Overwrote { key: key.clone(), what });
                    }
                }
                Fate::Same => {}
                // What was in trouble still is.
                Fate::Differs => continue,
            }
            if self.troubles.has(key) {
                self.troubles.is_over(key);
                self.shared.state().key = self.troubles.one();
            }
        }
        failed
    }

    pub(super) fn trouble(&mut self, key: &str, why: &str) {
        if self.troubles.note(key, why) {
            self.shared.state().key = self.troubles.one();
            self.tell(PublisherEvent::CannotPublish { key: key.to_owned(), why: why.to_owned() });
        }
    }

    /// Takes in why something failed. Returns what ends the connection.
    pub(super) fn failed(&mut self, error: PublishError) -> Result<(), ClientError> {
        match error {
            PublishError::Store(error) => Err(error),
            PublishError::Journal(error) => {
                self.journal_failed(&error);
                Ok(())
            }
            PublishError::Away(_) | PublishError::Stopped => Ok(()),
        }
    }

    pub(super) fn journal_failed(&mut self, error: &JournalError) {
        self.journal_rests_until = Some(Instant::now() + JOURNAL_RETRY);
        let why = PublishError::Journal(error.clone()).to_string();
        if self.shared.state().journal.replace(why.clone()).is_none() {
            self.tell(PublisherEvent::JournalAway { why });
        }
    }

    pub(super) fn journal_is_back(&mut self) {
        self.journal_rests_until = None;
        self.shared.state().journal = None;
    }

    pub(super) fn journal_is_resting(&self, now: Instant) -> bool {
        self.journal_rests_until.is_some_and(|until| now < until)
    }

    /// Takes in whether this server leads.
    pub(super) fn note_leadership(&mut self, election: &Election) {
        let leads = election.leads();
        self.shared.state().election = election.trouble();
        let was_leader = std::mem::replace(&mut self.was_leader, leads);
        match (was_leader, leads) {
            (false, true) => {
                self.next_round = Instant::now() + self.settings.period.mul_f64(fastrand::f64());
                self.tell(PublisherEvent::BecameLeader);
            }
            (true, false) => self.tell(PublisherEvent::NoLongerLeader),
            (true, true) | (false, false) => {}
        }
    }

    pub(super) fn store_away(&mut self, why: String) {
        let is_new = {
            let mut state = self.shared.state();
            state.connected = false;
            state.away.replace(why.clone()).is_none()
        };
        if is_new {
            self.tell(PublisherEvent::StoreAway { store: self.settings.store.to_string(), why });
        }
    }

    pub(super) fn tell(&self, event: PublisherEvent) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}
