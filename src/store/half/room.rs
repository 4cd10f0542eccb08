//! How much the contents of one store may take in the daemon. No IO.
//!
//! The daemon holds what its watches still need, in files in memory as a rule, whose pages no limit of a
//! process counts. A half that somebody steers could send the longest content for each watch, and fill the
//! host.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Id;
use crate::model::{Blob, BlobCount, CountedBytes};

/// How much of `store_memory` the contents may take that the daemon holds. The least of it is 64 MiB, so that
/// the largest tree, which has 64 MiB of data, still has room beside two former ones that a run reads and
/// that waits, and its own index.
const SHARE: u64 = 4;

/// How often it is looked whether there is room again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Room {
    /// `store_memory`; `None` is no limit.
    memory: Option<u64>,
    held: BlobCount,
    /// The indexes of the trees that the daemon knows. Each takes memory of its own as long as it is watched,
    /// also when the content is let go of. An honest half, which knows the same trees, has no more than this.
    indexes: BlobCount,
    /// The subjects whose contents did not fit.
    unfit: BTreeMap<Id, Wanted>,
    retry_at: Option<Instant>,
}

/// What a content takes.
#[derive(Clone, Copy)]
struct Wanted {
    len: u64,
    /// What its index takes more than the last one of the same subject.
    growth: u64,
}

impl Room {
    /// Makes room for the contents of a store whose halves have so much memory; `None` is no limit.
    pub(super) fn new(store_memory: Option<u64>) -> Self {
        Self {
            memory: store_memory,
            held: BlobCount::default(),
            indexes: BlobCount::default(),
            unfit: BTreeMap::new(),
            retry_at: None,
        }
    }

    /// Counts a content as long as anybody holds it, with the index that it ends with if it is a tree, of
    /// which the last one took `known`. The error is the reason why it does not fit. A short one always fits,
    /// because it is no more than the watch itself.
    pub(super) fn take(
        &mut self,
        id: Id,
        body: Blob,
        index: u64,
        known: u64,
        now: Instant,
    ) -> Result<(Blob, CountedBytes), String> {
        self.unfit.remove(&id);
        let len = body.len();
        if len <= Blob::MAX_INLINE as u64 {
            return Ok((body, self.indexes.count(index)));
        }
        let wanted = Wanted { len, growth: index.saturating_sub(known) };
        let reason = match self.free() {
            Some(free) if free.len < len => format!(
                "the contents that the watches of this store wait with, or run with, may take {} bytes \
                 together, which leaves too little for it; raise `store_memory` in twitcher.toml, of which \
                 that is {SHARE} times as much, or look at the watches that are paused or whose actions do \
                 not end",
                self.limit().unwrap_or(u64::MAX)
            ),
            Some(free) if free.growth < wanted.growth => format!(
                "the names of all nodes in the watched trees of this store may take {} bytes together, which \
                 leaves too little for it; raise `store_memory` in twitcher.toml, which is this limit, or \
                 watch smaller trees",
                self.memory.unwrap_or(u64::MAX)
            ),
            Some(_) | None => return Ok((body.counted(&self.held), self.indexes.count(index))),
        };
        self.unfit.insert(id, wanted);
        self.retry_at.get_or_insert(now + RETRY_INTERVAL);
        Err(reason)
    }

    fn limit(&self) -> Option<u64> {
        self.memory.map(|memory| memory.saturating_mul(SHARE))
    }

    /// Returns what is left; `None` is without a limit.
    fn free(&self) -> Option<Wanted> {
        Some(Wanted {
            len: self.limit()?.saturating_sub(self.held.bytes()),
            growth: self.memory?.saturating_sub(self.indexes.bytes()),
        })
    }

    /// When [`Self::retry`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns the subjects for which there is room now.
    pub(super) fn retry(&mut self, now: Instant) -> Vec<Id> {
        let mut free = self.free().unwrap_or(Wanted { len: u64::MAX, growth: u64::MAX });
        let fits = |(_, wanted): &(&Id, &Wanted)| {
            let left = (free.len.checked_sub(wanted.len), free.growth.checked_sub(wanted.growth));
            let (Some(len), Some(growth)) = left else { return false };
            free = Wanted { len, growth };
            true
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

    fn blob(len: usize) -> Blob {
        vec![0; len].into()
    }

    #[test]
    fn what_does_not_fit_is_tried_again_when_there_is_room() {
        let (now, large) = (Instant::now(), 1 << 20);
        let mut room = Room::new(Some(large as u64));
        let take = |room: &mut Room, id, len| room.take(id, blob(len), 0, 0, now).map(|(blob, _)| blob);
        let mut held: Vec<Blob> = (0..4).map(|id| take(&mut room, id, large).unwrap()).collect();
        assert!(take(&mut room, 4, large).is_err_and(|reason| reason.contains("`store_memory`")));
        assert!(take(&mut room, 5, 2 * large).is_err());
        assert!(take(&mut room, 6, Blob::MAX_INLINE).is_ok(), "it is short");
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
        assert!(take(&mut endless, 0, 100 * large).is_ok());
    }

    // The daemon lets go of the content, and keeps what it has read in the index.
    #[test]
    fn the_indexes_of_all_trees_have_a_limit_of_their_own() {
        let (now, large) = (Instant::now(), 1 << 20);
        let mut room = Room::new(Some(large as u64));
        let half = large as u64 / 2;
        let tree = |room: &mut Room, id, index, known| {
            room.take(id, blob(large), index, known, now).map(|(_, index)| index)
        };
        let first = tree(&mut room, 0, half, 0).unwrap();
        let second = tree(&mut room, 1, half, 0).unwrap();
        assert_eq!((first.len(), room.held.bytes()), (half, 0));
        let refused = tree(&mut room, 2, half, 0).err().unwrap();
        assert!(
            refused.contains("the names of all nodes") && refused.contains("`store_memory`"),
            "{refused}"
        );
        let due = room.due().unwrap();
        assert!(room.retry(due).is_empty());
        let again = tree(&mut room, 1, half, second.len()).unwrap();
        drop(second);
        assert!(room.take(3, blob(large), 0, 0, now).is_ok(), "it has none");
        assert!(room.retry(due).is_empty());
        drop(again);
        assert_eq!(room.retry(due), [2]);
    }
}
