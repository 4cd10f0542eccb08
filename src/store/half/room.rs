//! How much the contents of one store may take in the daemon. No IO.
//!
//! The daemon holds what its watches still need, in files in memory as a rule, whose pages no limit of a
//! process counts. A half that somebody steers could send the longest content for each watch, and fill the
//! host.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Id;
use crate::model::{Blob, BlobCount};

/// How much of `store_memory` the contents may take that the daemon holds. The least of it is 64 MiB, so that
/// the largest tree, which has 64 MiB of data, still has room beside two former ones that a run reads and
/// that waits, and its own index.
const SHARE: u64 = 4;

/// How often it is looked whether there is room again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Room {
    limit: Option<u64>,
    held: BlobCount,
    /// The subjects whose contents did not fit, and how much they take.
    unfit: BTreeMap<Id, u64>,
    retry_at: Option<Instant>,
}

impl Room {
    /// Makes room for the contents of a store whose halves have so much memory; `None` is no limit.
    pub(super) fn new(store_memory: Option<u64>) -> Self {
        let limit = store_memory.map(|memory| memory.saturating_mul(SHARE));
        Self { limit, held: BlobCount::default(), unfit: BTreeMap::new(), retry_at: None }
    }

    /// Counts a content as long as anybody holds it. The error is the reason why it does not fit. A short one
    /// always fits, because it is no more than the watch itself.
    pub(super) fn take(&mut self, id: Id, body: Blob, now: Instant) -> Result<Blob, String> {
        self.unfit.remove(&id);
        let len = body.len();
        if len <= Blob::MAX_INLINE as u64 {
            return Ok(body);
        }
        match self.limit {
            Some(limit) if self.held.bytes() + len > limit => {
                self.unfit.insert(id, len);
                self.retry_at.get_or_insert(now + RETRY_INTERVAL);
                Err(format!(
                    "the contents that the watches of this store wait with, or run with, may take {limit} \
                     bytes together, which leaves too little for it; raise `store_memory` in twitcher.toml, \
                     of which that is {SHARE} times as much, or look at the watches that are paused or whose \
                     actions do not end"
                ))
            }
            Some(_) | None => Ok(body.counted(&self.held)),
        }
    }

    /// When [`Self::retry`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns the subjects for which there is room now.
    pub(super) fn retry(&mut self, now: Instant) -> Vec<Id> {
        let mut free = self.limit.unwrap_or(u64::MAX).saturating_sub(self.held.bytes());
        let fits = |(_, len): &(&Id, &u64)| match free.checked_sub(**len) {
            Some(left) => {
                free = left;
                true
            }
            None => false,
        };
        let fitting: Vec<Id> = self.unfit.iter().filter(fits).map(|(id, _)| *id).collect();
        for id in &fitting {
            self.unfit.remove(id);
        }
        self.retry_at = (!self.unfit.is_empty()).then(|| now + RETRY_INTERVAL);
        fitting
    }

    /// Another half reports everything anew.
    pub(super) fn restart(&mut self) {
        self.unfit.clear();
        self.retry_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_tried_again_when_there_is_room() {
        let blob = |len: usize| Blob::from(vec![0; len]);
        let (now, large) = (Instant::now(), 1 << 20);
        let mut room = Room::new(Some(large as u64));
        let mut held: Vec<Blob> = (0..4).map(|id| room.take(id, blob(large), now).unwrap()).collect();
        assert!(room.take(4, blob(large), now).is_err_and(|reason| reason.contains("`store_memory`")));
        assert!(room.take(5, blob(2 * large), now).is_err());
        assert!(room.take(6, blob(Blob::MAX_INLINE), now).is_ok(), "it is short");
        let due = room.due().unwrap();
        assert!(room.retry(due).is_empty());
        let clone = held[0].clone();
        held.swap_remove(0);
        assert!(room.retry(due).is_empty(), "somebody still holds it");
        drop(clone);
        assert_eq!(room.retry(due), [4]);
        held.clear();
        assert_eq!(room.retry(due), [5]);
        assert_eq!((room.due(), room.held.bytes()), (None, 0));
        let mut endless = Room::new(None);
        assert!(endless.take(0, blob(100 * large), now).is_ok());
    }
}
