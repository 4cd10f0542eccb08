//! The places for runs: how many actions may run at once, and which watch may start the next one.
//!
//! A watch whose update is due asks for a place. Each place is for one run: a watch with many updates asks
//! again, behind the others. The nodes take turns: each turn is one place, for the watch of the node that has
//! asked first. So ten thousand watches of one node delay those of another node by no more than one start,
//! and no watch delays another of its node by more than one round.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::watches::WatchId;
use crate::model::{NodePath, StoreName};
use crate::report::Report;
use crate::watch::Time;

/// How many places are given in one turn of the loop. A start costs the loop some 0.7 ms, so commands,
/// timeouts and the ends of runs wait some 20 ms for a burst of starts.
const MAX_PER_TURN: usize = 32;

/// The log warns of a full daemon at most once in this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The node of a watch.
pub type Node = (StoreName, NodePath);

pub struct Places {
    /// The largest number of runs at once.
    limit: Option<usize>,
    /// The nodes whose watches ask for a place, each once. The next turn is the first one's.
    turns: VecDeque<Option<Node>>,
    /// The watches that ask for a place, each once, by their node, the first one first. None is empty.
    queues: HashMap<Option<Node>, VecDeque<WatchId>>,
    /// How many watches ask for a place.
    waiting: usize,
    /// How many places were given in this turn.
    given: usize,
    /// When the log was warned last, and whether it was told that no watch waits any more.
    warned: Option<(Time, bool)>,
}

impl Places {
    pub fn new(limit: Option<usize>) -> Self {
        let (turns, queues) = (VecDeque::new(), HashMap::new());
        Self { limit, turns, queues, waiting: 0, given: 0, warned: None }
    }

    pub fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// How many watches ask for a place.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Notes that a watch asks for a place. It must not ask again before [`Self::give`] returned it. `node`
    /// is its node, if it has one.
    pub fn ask(&mut self, watch: WatchId, node: Option<Node>) {
        self.waiting += 1;
        if let Some(queue) = self.queues.get_mut(&node) {
            return queue.push_back(watch);
        }
        self.turns.push_back(node.clone());
        self.queues.insert(node, VecDeque::from([watch]));
    }

    /// Whether a place can be given to a watch that asks while `taken` places are taken.
    pub fn can_give(&self, taken: usize) -> bool {
        self.waiting > 0 && self.limit.is_none_or(|limit| taken < limit)
    }

    /// Returns the watch that may start a run, unless enough places were given in this turn.
    pub fn give(&mut self, taken: usize) -> Option<WatchId> {
        if !self.can_give(taken) || !self.use_turn() {
            return None;
        }
        let node = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&node)?;
        let watch = queue.pop_front()?;
        self.waiting -= 1;
        match queue.is_empty() {
            true => drop(self.queues.remove(&node)),
            false => self.turns.push_back(node),
        }
        Some(watch)
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
        if let (Some((_, over @ false)), true) = (&mut self.warned, self.waiting == 0) {
            *over = true;
            return Some(Report::PlacesFree);
        }
        let is_calm = self.warned.is_none_or(|(at, _)| now >= at + WARNING_INTERVAL);
        let limit = self.limit.filter(|limit| taken >= *limit && self.waiting > 0 && is_calm)?;
        self.warned = Some((now, false));
        Some(Report::PlacesTaken { limit, waiting: self.waiting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::ZERO;

    fn node(name: &str) -> Option<Node> {
        Some((StoreName::default(), NodePath::parse(name).expect("a path")))
    }

    /// Each watch has a node of its own.
    fn ask(places: &mut Places, watch: u64) {
        places.ask(WatchId(watch), node(&format!("/{watch}")));
    }

    fn asked(limit: Option<usize>, watches: impl IntoIterator<Item = u64>) -> Places {
        let mut places = Places::new(limit);
        watches.into_iter().for_each(|watch| ask(&mut places, watch));
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
            ask(&mut places, 1);
        }
        ask(&mut places, 2);
        let given = std::iter::from_fn(|| {
            let watch = places.give(0)?;
            ask(&mut places, watch.0);
            Some(watch.0)
        });
        assert_eq!(given.take(4).collect::<Vec<_>>(), [1, 2, 1, 2]);
    }

    #[test]
    fn the_watches_of_one_node_delay_those_of_another_by_one_place_however_many_they_are() {
        let mut places = Places::new(None);
        (0..10_000).for_each(|watch| places.ask(WatchId(watch), node("/crowded")));
        assert_eq!(places.give(0), Some(WatchId(0)));
        places.ask(WatchId(10_000), node("/other"));
        places.ask(WatchId(10_001), node("/other"));
        places.ask(WatchId(10_002), None);
        let given: Vec<_> = (0..6).filter_map(|_| places.give(0).map(|watch| watch.0)).collect();
        assert_eq!(given, [1, 10_000, 10_002, 2, 10_001, 3]);
        assert_eq!(places.waiting(), 10_003 - 7);
        while places.waiting() > 0 {
            places.give(0);
            places.end_turn(0, NOW);
        }
        assert!(places.turns.is_empty() && places.queues.is_empty());
    }

    #[test]
    fn the_log_is_told_once_that_all_places_are_taken_and_once_that_nobody_waits() {
        let mut places = asked(Some(1), [1, 2]);
        assert!(places.end_turn(0, NOW).is_none(), "they only wait for the next turn");
        places.give(0);
        assert!(matches!(places.end_turn(1, NOW), Some(Report::PlacesTaken { limit: 1, waiting: 1 })));
        ask(&mut places, 3);
        assert!(places.end_turn(1, NOW).is_none());
        while places.give(0).is_some() {}
        assert!(matches!(places.end_turn(1, NOW), Some(Report::PlacesFree)));
        assert!(places.end_turn(0, NOW).is_none());
        ask(&mut places, 4);
        assert!(places.end_turn(1, NOW).is_none(), "too soon for another warning");
        let later = NOW + WARNING_INTERVAL;
        assert!(matches!(places.end_turn(1, later), Some(Report::PlacesTaken { limit: 1, waiting: 1 })));
    }
}
