//! Finds watches that run themselves in circles: an action sets its own node, or two actions set the node of
//! each other.
//!
//! Nobody sees who sets a node. But in a circle, every single update of a watch arrives while the action that
//! sets the node runs, or a moment later. A watch is suspicious if it runs many times in a row and the same
//! action was running at each update. It is in a circle if that action is its own, or if a chain of such
//! actions leads back to it. It looks the same if somebody else sets the node without a rest while the action
//! always runs, and the remedy is the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Time;

/// How many runs in a row are a circle: more than anybody wants within seconds.
const MANY: u32 = 50;

/// From this number of runs in a row on, it is noted which actions run. Below, a busy daemon has too many
/// watches to look at.
const FEW: u32 = 10;

/// The longest time between two starts of a row. A circle that is slower harms nobody.
const REST: Duration = Duration::from_secs(5);

/// How long after the end of an action an update may arrive that this action caused.
const LATENCY: Duration = Duration::from_millis(50);

/// With more rows, those of watches that rest are dropped.
const MAX_ROWS: usize = 1000;

/// What happened to the circles of watches, which `K` names.
#[derive(Clone, Debug, PartialEq)]
pub enum CircleChange<K> {
    /// The first watch runs in a circle with the others; alone, it starts itself.
    Found { watches: Vec<K>, runs_per_second: f64 },
    /// The circle that this watch was the first of is over.
    Over(K),
}

/// The circles of all watches.
#[derive(Debug)]
pub struct Circles<K> {
    /// How many actions of each watch run.
    running: BTreeMap<K, usize>,
    /// The ends of the last [`LATENCY`], oldest first.
    ended: VecDeque<(Time, K)>,
    rows: BTreeMap<K, Row<K>>,
    /// The circles that were found, by their first watch.
    found: BTreeMap<K, Vec<K>>,
    changes: VecDeque<CircleChange<K>>,
}

/// Runs of one watch without a rest.
#[derive(Debug)]
struct Row<K> {
    runs: u32,
    first_start: Time,
    last_start: Time,
    /// Whether an update arrived since the last start, and which actions ran then, if that was noted.
    arrived: Option<Option<BTreeSet<K>>>,
    /// The actions that ran at every update that was noted. `None` until there is one.
    suspects: Option<BTreeSet<K>>,
}

impl<K: Copy + Ord> Row<K> {
    fn new(now: Time) -> Self {
        Self { runs: 1, first_start: now, last_start: now, arrived: None, suspects: None }
    }

    /// Takes the next start. Returns false if it belongs to another row.
    fn goes_on(&mut self, now: Time) -> bool {
        if now > self.last_start + REST {
            return false;
        }
        self.runs = self.runs.saturating_add(1);
        self.last_start = now;
        match self.arrived.take() {
            // It was tried again, or an operator wanted it.
            None => false,
            Some(None) => true,
            Some(Some(running)) => {
                let suspects = match self.suspects.take() {
                    Some(suspects) => &suspects & &running,
                    None => running,
                };
                !self.suspects.insert(suspects).is_empty()
            }
        }
    }
}

impl<K> Default for Circles<K> {
    fn default() -> Self {
        Self {
            running: BTreeMap::new(),
            ended: VecDeque::new(),
            rows: BTreeMap::new(),
            found: BTreeMap::new(),
            changes: VecDeque::new(),
        }
    }
}

impl<K: Copy + Ord> Circles<K> {
    /// Notes an update that will run.
    pub fn updated(&mut self, watch: K, now: Time) {
        while self.ended.front().is_some_and(|(at, _)| *at + LATENCY < now) {
            self.ended.pop_front();
        }
        let Some(row) = self.rows.get_mut(&watch) else { return };
        let arrived = row.arrived.get_or_insert(None);
        if row.runs >= FEW {
            let ended = self.ended.iter().map(|(_, watch)| watch);
            arrived.get_or_insert_default().extend(self.running.keys().chain(ended));
        }
    }

    /// Notes a start. `is_throttled` says that the definition of the watch bounds how often it runs.
    pub fn started(&mut self, watch: K, is_throttled: bool, now: Time) {
        *self.running.entry(watch).or_default() += 1;
        if is_throttled {
            self.end_row(watch);
            return;
        }
        if self.rows.get_mut(&watch).is_some_and(|row| row.goes_on(now)) {
            self.look_for_circle(watch, now);
        } else {
            self.end_row(watch);
            self.rows.insert(watch, Row::new(now));
        }
        if self.rows.len() > MAX_ROWS {
            self.rest(now);
        }
    }

    /// Notes the end of a run.
    pub fn ended(&mut self, watch: K, now: Time) {
        if let Some(running) = self.running.get_mut(&watch) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&watch);
            }
            self.ended.push_back((now, watch));
        }
    }

    /// Notes that a watch is gone.
    pub fn forget(&mut self, watch: K) {
        self.running.remove(&watch);
        self.end_row(watch);
    }

    /// When [`Self::rest`] is due.
    pub fn due(&self) -> Option<Time> {
        let rows = self.found.keys().filter_map(|watch| self.rows.get(watch));
        rows.map(|row| row.last_start + REST).min()
    }

    /// Ends the rows of the watches that rest.
    pub fn rest(&mut self, now: Time) {
        let resting: Vec<K> = self
            .rows
            .iter()
            .filter(|(_, row)| row.last_start + REST <= now)
            .map(|(watch, _)| *watch)
            .collect();
        resting.into_iter().for_each(|watch| self.end_row(watch));
    }

    pub fn next_change(&mut self) -> Option<CircleChange<K>> {
        self.changes.pop_front()
    }

    fn end_row(&mut self, watch: K) {
        self.rows.remove(&watch);
        if self.found.remove(&watch).is_some() {
            self.changes.push_back(CircleChange::Over(watch));
        }
    }

    fn look_for_circle(&mut self, watch: K, now: Time) {
        let Some(row) = self.rows.get(&watch).filter(|row| row.runs >= MANY) else { return };
        if self.found.values().flatten().any(|known| *known == watch) {
            return;
        }
        let Some(mut watches) = self.way_back(watch) else { return };
        if watches.len() == 1 {
            // Its own action may be the cause, or another one whose runs overlap with it.
            let starts = |suspect: &&K| self.suspects(**suspect).any(|cause| *cause == watch);
            watches.extend(self.suspects(watch).filter(|suspect| **suspect != watch).filter(starts));
        }
        let seconds = now.saturating_sub(row.first_start).as_secs_f64();
        let runs_per_second = f64::from(row.runs) / seconds.max(0.001);
        self.found.insert(watch, watches.clone());
        self.changes.push_back(CircleChange::Found { watches, runs_per_second });
    }

    fn suspects(&self, watch: K) -> impl Iterator<Item = &K> {
        self.rows.get(&watch).and_then(|row| row.suspects.as_ref()).into_iter().flatten()
    }

    /// The shortest way from a watch to itself, from each watch to one that may have started it.
    fn way_back(&self, watch: K) -> Option<Vec<K>> {
        let mut ways = VecDeque::from([vec![watch]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for suspect in self.suspects(*way.last()?) {
                if *suspect == watch {
                    return Some(way);
                }
                if seen.insert(*suspect) {
                    ways.push_back(way.iter().copied().chain([*suspect]).collect());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
