//! Comparing subjects with what the server has.

use tokio::time::Instant;

use super::Table;
use crate::model::Subject;
use crate::store::etcd::ended::Ended;
use crate::store::etcd::followed::Phase;
use crate::store::etcd::reads::{Batch, Reads, comparison};
use crate::store::etcd::wire::messages::{RangeResponse, TxnResponse};

impl Table {
    /// Has those subjects compared that are due.
    pub(super) fn compare(&mut self, now: Instant) {
        let mut due: Vec<(Subject, u64)> = Vec::new();
        if self.comparisons.begin_round(self.followed.len(), now) {
            let watched =
                self.followed.iter().filter(|(_, followed)| matches!(followed.phase, Phase::Watched));
            due.extend(watched.map(|(subject, followed)| (subject.clone(), followed.ticket)));
        }
        while let Some(subject) = self.comparisons.next_suspect(now) {
            let ticket = self.followed.get(&subject).map(|followed| followed.ticket);
            due.extend(ticket.map(|ticket| (subject, ticket)));
        }
        self.reads.compare(due);
    }

    /// Takes what the server has of subjects that are watched. What a watch has not told yet may be under
    /// way.
    pub(super) fn compared(
        &mut self,
        batch: Batch,
        response: TxnResponse,
        now: Instant,
    ) -> Result<(), Ended> {
        let places = batch.subjects.iter().map(|(subject, _)| comparison(&self.keys, subject));
        let places: Vec<Vec<usize>> =
            places.map(|requests| requests.map(|(place, _)| place).collect()).collect();
        let (_, found) = Reads::found(response, places.iter().map(Vec::len).sum())?;
        let mut found = found.into_iter();
        for ((subject, ticket), places) in batch.subjects.into_iter().zip(places) {
            let found: Vec<(usize, RangeResponse)> = places.into_iter().zip(found.by_ref()).collect();
            if !self.is_watched(&subject, ticket) {
                continue;
            }
            let Some(followed) = self.followed.get_mut(&subject) else { continue };
            let tallies = followed.tallies;
            let covers = found.iter().all(|(place, found)| {
                let latest = found.kvs.first().map_or(0, |kv| kv.mod_revision);
                tallies[*place].covers(found.count, latest)
            });
            let suspect = Some(tallies).filter(|_| !covers);
            let before = std::mem::replace(&mut followed.suspect, suspect);
            match suspect {
                None => {}
                Some(_) if before == suspect => {
                    self.missed.push_back(subject.clone());
                    self.read_again(&subject);
                }
                Some(_) => self.comparisons.suspect(subject, now),
            }
        }
        Ok(())
    }

    pub(super) fn is_watched(&self, subject: &Subject, ticket: u64) -> bool {
        self.followed
            .get(subject)
            .is_some_and(|followed| followed.ticket == ticket && matches!(followed.phase, Phase::Watched))
    }
}
