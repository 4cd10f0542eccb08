//! How many bytes the updates that wait may hold, in all watches together.
//!
//! In PARALLEL each update waits with its own content, and whoever writes the node decides how many there are
//! and how large. Above the budget, the watch that holds the most gives up an update, so that no watch pays
//! for another. Each watch keeps its newest update in any case: nothing else would run it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::WatchId;
use crate::model::Content;
use crate::watch::Watch;

pub struct Budget {
    limit: Option<u64>,
    /// The bytes of all contents that wait. A content that waits in several watches counts once.
    total: u64,
    /// How often each content waits.
    contents: HashMap<Address, usize>,
    /// What waits in each watch, oldest first.
    waiting: HashMap<WatchId, Vec<(Address, u64)>>,
    /// The bytes of what each watch can give up.
    excess: BTreeSet<(u64, WatchId)>,
    /// How often [`Self::note`] was called.
    #[cfg(test)]
    pub notes: usize,
}

/// Where the blob of a content lies in memory, which names it as long as it waits.
type Address = usize;

impl Budget {
    pub fn new(limit: Option<u64>) -> Self {
        let (contents, waiting, excess) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        Self {
            limit,
            total: 0,
            contents,
            waiting,
            excess,
            #[cfg(test)]
            notes: 0,
        }
    }

    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// The bytes that wait.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Notes what waits in a watch now. This looks at all that waits there, so call it only if that changed.
    pub fn note(&mut self, id: WatchId, watch: &Watch) {
        #[cfg(test)]
        (self.notes += 1);
        let blobs = watch.waiting_contents().map(Content::blob);
        self.replace(id, blobs.map(|blob| (blob.address(), blob.len())).collect());
    }

    /// Notes that a watch is gone.
    pub fn forget(&mut self, id: WatchId) {
        self.replace(id, Vec::new());
    }

    /// The watch that is to give up an update, if too many bytes wait.
    pub fn must_shed(&self) -> Option<WatchId> {
        let (_, most) = self.excess.last()?;
        self.limit.is_some_and(|limit| self.total > limit).then_some(*most)
    }

    fn replace(&mut self, id: WatchId, now: Vec<(Address, u64)>) {
        let before = self.waiting.get(&id).map_or(&[][..], Vec::as_slice);
        if before == now {
            return;
        }
        for (address, bytes) in &now {
            let times = self.contents.entry(*address).or_default();
            *times += 1;
            if *times == 1 {
                self.total += bytes;
            }
        }
        for (address, bytes) in before {
            if let Entry::Occupied(mut times) = self.contents.entry(*address) {
                *times.get_mut() -= 1;
                if *times.get() == 0 {
                    times.remove();
                    self.total -= bytes;
                }
            }
        }
        self.excess.extend(excess(&now).map(|bytes| (bytes, id)));
        if let Some(bytes) = excess(before).filter(|bytes| excess(&now) != Some(*bytes)) {
            self.excess.remove(&(bytes, id));
        }
        match now.is_empty() {
            true => self.waiting.remove(&id),
            false => self.waiting.insert(id, now),
        };
    }
}

/// The bytes of all but the newest update, if there are others.
fn excess(waiting: &[(Address, u64)]) -> Option<u64> {
    let (_, others) = waiting.split_last()?;
    (!others.is_empty()).then(|| others.iter().map(|(_, bytes)| bytes).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: WatchId = WatchId(1);
    const B: WatchId = WatchId(2);

    #[test]
    fn a_content_that_waits_in_several_watches_counts_once() {
        let mut budget = Budget::new(None);
        budget.replace(A, vec![(1, 10), (2, 5)]);
        budget.replace(B, vec![(1, 10)]);
        assert_eq!(budget.total(), 15);
        budget.replace(A, vec![(2, 5)]);
        assert_eq!(budget.total(), 15);
        budget.forget(B);
        assert_eq!(budget.total(), 5);
        budget.replace(A, Vec::new());
        assert!(budget.total() == 0 && budget.contents.is_empty() && budget.waiting.is_empty());
        assert!(budget.excess.is_empty());
    }

    #[test]
    fn above_the_budget_the_watch_that_holds_the_most_gives_up_an_update() {
        let mut budget = Budget::new(Some(20));
        budget.replace(A, vec![(1, 4), (2, 4), (3, 4)]);
        budget.replace(B, vec![(4, 7)]);
        assert_eq!(budget.must_shed(), None);
        budget.replace(B, vec![(4, 7), (5, 2)]);
        assert_eq!(budget.must_shed(), Some(A), "B is over the budget by less");
        budget.replace(A, vec![(1, 4), (3, 4)]);
        assert_eq!(budget.must_shed(), None);
        budget.replace(B, vec![(4, 7), (6, 100)]);
        assert_eq!(budget.must_shed(), Some(B));
        budget.replace(B, vec![(6, 100)]);
        budget.replace(A, vec![(3, 4)]);
        assert_eq!(budget.must_shed(), None, "each keeps its newest");
    }
}
