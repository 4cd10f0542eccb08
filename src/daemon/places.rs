//! The places for runs: how many actions may run at once, and which watch may start the next one.
//!
//! A watch whose update is due asks for a place. Places are given in the order in which watches ask, and each
//! is for one run: a watch with many updates asks again, behind the others. So no watch delays the first
//! run of another by more than one round.

use std::collections::VecDeque;
use std::time::Duration;

use super::watches::WatchId;
use crate::report::Report;
use crate::watch::Time;

/// How many places are given in one turn of the loop. A start costs the loop some 0.7 ms, so commands,
/// timeouts and the ends of runs wait some 20 ms for a burst of starts.
const MAX_PER_TURN: usize = 32;

/// The log warns of a full daemon at most once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

pub struct Places {
    /// The largest number of runs at once.
    limit: Option<usize>,
    /// The watches that ask for a place, each once, the first one first.
    queue: VecDeque<WatchId>,
    /// How many places were given in this turn.
    given: usize,
    /// When the log was warned last, and whether it was told that no watch waits any more.
    warned: Option<(Time, bool)>,
}

impl Places {
    pub fn new(limit: Option<usize>) -> Self {
        Self { limit, queue: VecDeque::new(), given: 0, warned: None }
    }

    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// How many watches ask for a place.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Notes that a watch asks for a place. It must not ask again before [`Self::give`] returned it.
    pub fn ask(&mut self, watch: WatchId) {
        self.queue.push_back(watch);
    }

    /// Whether a place can be given to a watch that asks while `taken` places are taken.
    pub fn can_give(&self, taken: usize) -> bool {
        !self.queue.is_empty() && self.limit.is_none_or(|limit| taken < limit)
    }

    /// Returns the watch that may start a run, unless enough places were given in this turn.
    pub fn give(&mut self, taken: usize) -> Option<WatchId> {
        if !self.can_give(taken) || !self.use_turn() {
            return None;
        }
        self.queue.pop_front()
    }

    /// Counts a start that has its place already among those of this turn. Returns false if there were
    /// enough.
    pub fn use_turn(&mut self) -> bool {
        let is_left = self.given < MAX_PER_TURN;
        self.given += usize::from(is_left);
        is_left
    }

    /// Ends the turn. Returns what the log is told now.
    pub fn end_turn(&mut self, taken: usize, now: Time) -> Option<Report<'static>> {
        self.given = 0;
        if let (Some((_, over @ false)), true) = (&mut self.warned, self.queue.is_empty()) {
            *over = true;
            return Some(Report::PlacesFree);
        }
        let is_calm = self.warned.is_none_or(|(at, _)| now >= at + WARNING_INTERVAL);
        let limit = self.limit.filter(|limit| taken >= *limit && !self.queue.is_empty() && is_calm)?;
        self.warned = Some((now, false));
        Some(Report::PlacesTaken { limit, waiting: self.queue.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn asked(limit: Option<usize>, watches: impl IntoIterator<Item = u64>) -> Places {
        let mut places = Places::new(limit);
        watches.into_iter().for_each(|watch| places.ask(WatchId(watch)));
        places
    }

    #[test]
    fn places_are_given_in_order_up_to_the_limit() {
        let mut places = asked(Some(2), [3, 1, 2]);
        assert_eq!(places.give(0), Some(WatchId(3)));
        assert_eq!(places.give(1), Some(WatchId(1)));
        assert_eq!((places.give(2), places.can_give(2), places.waiting()), (None, false, 1));
        assert_eq!(places.give(1), Some(WatchId(2)));
        assert_eq!((places.give(0), places.can_give(0)), (None, false));
    }

    #[test]
    fn without_a_limit_only_the_turn_ends_the_giving() {
        let mut places = asked(None, 0..100);
        let turn = |places: &mut Places| std::iter::from_fn(|| places.give(1_000_000)).count();
        assert_eq!(turn(&mut places), MAX_PER_TURN);
        assert!(places.can_give(1_000_000), "the loop must come back at once");
        assert!(!places.use_turn());
        places.end_turn(1_000_000, NOW);
        assert!(places.use_turn());
        assert_eq!((turn(&mut places), places.waiting()), (MAX_PER_TURN - 1, 37));
    }

    // The first watch has a thousand updates of PARALLEL, and asks again after each.
    #[test]
    fn a_watch_with_many_updates_delays_no_other_by_more_than_one_round() {
        let mut places = asked(None, [1]);
        for _ in 0..1000 {
            places.end_turn(0, NOW);
            assert_eq!(places.give(0), Some(WatchId(1)));
            places.ask(WatchId(1));
        }
        places.ask(WatchId(2));
        let given = std::iter::from_fn(|| {
            let watch = places.give(0)?;
            places.ask(watch);
            Some(watch.0)
        });
        assert_eq!(given.take(4).collect::<Vec<_>>(), [1, 2, 1, 2]);
    }

    #[test]
    fn the_log_is_told_once_that_all_places_are_taken_and_once_that_nobody_waits() {
        let mut places = asked(Some(1), [1, 2]);
        assert!(places.end_turn(0, NOW).is_none(), "they only wait for the next turn");
        places.give(0);
        assert!(matches!(places.end_turn(1, NOW), Some(Report::PlacesTaken { limit: 1, waiting: 1 })));
        places.ask(WatchId(3));
        assert!(places.end_turn(1, NOW).is_none());
        while places.give(0).is_some() {}
        assert!(matches!(places.end_turn(1, NOW), Some(Report::PlacesFree)));
        assert!(places.end_turn(0, NOW).is_none());
        places.ask(WatchId(4));
        assert!(places.end_turn(1, NOW).is_none(), "too soon for another warning");
        let later = NOW + WARNING_INTERVAL;
        assert!(matches!(places.end_turn(1, later), Some(Report::PlacesTaken { limit: 1, waiting: 1 })));
    }
}
