//! Finds watches that run themselves in circles: an action sets its own node, or two actions set the node of
//! each other.
//!
//! Nobody sees who sets a node. But in a circle, nearly every update of a watch arrives while the action that
//! sets the node runs, or a moment later. A watch is suspicious if it runs many times in a row and the same
//! action was running at nearly all updates. It is in a circle if that action is its own, or if a chain of
//! such actions leads back to it.
//!
//! It looks the same if somebody else sets the node all the time while the action always runs. So a
//! suspicious watch is given a few rests: its next run is held back for a moment. In a circle, nobody sets
//! the node then. If somebody does, others keep the watch busy, which is their right, and the rest ends at
//! once.
//!
//! A step costs about the same however many watches there are: nothing here looks at all of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::Time;

/// How many runs in a row are a circle: more than anybody wants within seconds.
const MANY: u32 = 50;

/// From this number of runs in a row on, it is noted which actions run. Below, a busy daemon has too many
/// watches to look at.
const FEW: u32 = 10;

/// The longest time between two starts of a row. A circle that is slower harms nobody.
const REST: Duration = Duration::from_secs(5);

/// On a host under load, one update of so many may arrive later than [`LATENCY`] says.
const PUNCTUAL: u32 = 10;

/// How long after the end of an action an update may arrive that this action caused.
const LATENCY: Duration = Duration::from_millis(50);

/// How many rests without an update make a circle. By chance, a writer who sets the node at random times
/// leaves one rest of seven alone.
const RESTS: u32 = 3;

/// The shortest rest, and how long after the end of the last action an update may still be caused by it: on a
/// host under load, later than [`LATENCY`] says.
const MIN_REST: Duration = Duration::from_millis(300);
const MAX_LATENCY: Duration = Duration::from_millis(100);

/// The longest time between two runs, on average, of a watch that is given a rest, which takes twice as long.
/// A circle that is slower harms nobody enough to keep an update waiting for longer.
const MAX_INTERVAL: Duration = Duration::from_secs(1);

/// A watch that others keep busy is given the next rest after so many runs.
const BUSY_RUNS: u32 = 1000;

/// A circle is looked for at each start that makes the runs in a row a multiple of this number.
const STEP: u32 = 10;

/// What happened to the circles of watches, which `K` names.
#[derive(Clone, Debug, PartialEq)]
pub enum CircleChange<K> {
    /// The first watch runs in a circle with the others; alone, it starts itself. While it was given a rest,
    /// nobody set its node.
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
    /// The actions of `running` and `ended`. The updates that arrive before either changes share it.
    active: Option<Rc<BTreeSet<K>>>,
    rows: BTreeMap<K, Row<K>>,
    /// The last start of each row.
    starts: BTreeSet<(Time, K)>,
    /// The watches that are given a rest, and until when.
    resting: BTreeSet<(Time, K)>,
    /// The watches whose rest is over.
    rested: VecDeque<K>,
    /// The circles that were found, by their first watch.
    found: BTreeMap<K, Vec<K>>,
    /// In how many of `found` each watch is.
    known: BTreeMap<K, usize>,
    changes: VecDeque<CircleChange<K>>,
    /// How many rows and actions were looked at one by one.
    #[cfg(test)]
    visited: usize,
}

/// Runs of one watch without a rest.
#[derive(Debug)]
struct Row<K> {
    runs: u32,
    first_start: Time,
    last_start: Time,
    /// Whether an update arrived since the last start, and which actions ran then, if that was noted.
    arrived: Option<Option<Rc<BTreeSet<K>>>>,
    /// For how many starts that was noted.
    noted: u32,
    /// The actions that ran nearly each time, with the number of times that they did not.
    suspects: BTreeMap<K, u32>,
    rest: Rest<K>,
    /// How many rests there were in which no update arrived.
    quiet_rests: u32,
    /// The number of runs from which on it may be given the next rest.
    next_rest: u32,
    /// The time that it was given to rest.
    rested: Duration,
}

/// What a row has to do with a rest.
#[derive(Debug)]
enum Rest<K> {
    No,
    /// The next start is held back. These watches seem to start each other.
    Wanted(BTreeSet<K>),
    Now {
        watches: BTreeSet<K>,
        since: Time,
        until: Time,
        /// When the last action of these watches ended.
        quiet_since: Time,
        /// Whether an update arrived that one of these actions may have caused. Then the rest says nothing.
        is_disturbed: bool,
    },
}

impl<K: Copy + Ord> Row<K> {
    fn new(now: Time) -> Self {
        Self {
            runs: 1,
            first_start: now,
            last_start: now,
            arrived: None,
            noted: 0,
            suspects: BTreeMap::new(),
            rest: Rest::No,
            quiet_rests: 0,
            next_rest: MANY,
            rested: Duration::ZERO,
        }
    }

    /// The time that the runs of this row took, without its rests.
    fn busy_time(&self) -> Duration {
        self.last_start.saturating_sub(self.first_start).saturating_sub(self.rested)
    }

    /// Takes the next start. Returns false if it belongs to another row.
    fn goes_on(&mut self, now: Time) -> bool {
        self.runs = self.runs.saturating_add(1);
        self.last_start = now;
        match self.arrived.take() {
            // It was tried again, or an operator wanted it.
            None => false,
            Some(None) => true,
            Some(Some(active)) => self.note(&active),
        }
    }

    /// Notes which actions were active when updates arrived. Returns false if no suspect is left.
    fn note(&mut self, active: &BTreeSet<K>) -> bool {
        let missed = self.noted;
        self.noted += 1;
        let allowed = 1 + self.noted / PUNCTUAL;
        self.suspects.retain(|suspect, misses| {
            *misses += u32::from(!active.contains(suspect));
            *misses <= allowed
        });
        if missed <= allowed {
            for id in active {
                self.suspects.entry(*id).or_insert(missed);
            }
        }
        !self.suspects.is_empty()
    }

    /// Takes an update that arrives while the `active` actions run.
    fn arrives(&mut self, active: &Rc<BTreeSet<K>>) {
        match self.arrived.get_or_insert_default() {
            arrived @ None => *arrived = Some(Rc::clone(active)),
            Some(arrived) if Rc::ptr_eq(arrived, active) => {}
            Some(arrived) => {
                // Others will hardly become suspects any more.
                let (is_first, suspects) = (self.noted <= 1, &self.suspects);
                let is_new = |id: &&K| !arrived.contains(id) && (is_first || suspects.contains_key(id));
                let new: Vec<K> = active.iter().filter(is_new).copied().collect();
                if !new.is_empty() {
                    Rc::make_mut(arrived).extend(new);
                }
            }
        }
    }
}

impl<K> Default for Circles<K> {
    fn default() -> Self {
        Self {
            running: BTreeMap::new(),
            ended: VecDeque::new(),
            active: None,
            rows: BTreeMap::new(),
            starts: BTreeSet::new(),
            resting: BTreeSet::new(),
            rested: VecDeque::new(),
            found: BTreeMap::new(),
            known: BTreeMap::new(),
            changes: VecDeque::new(),
            #[cfg(test)]
            visited: 0,
        }
    }
}

impl<K: Copy + Ord> Circles<K> {
    /// Notes an update that will run.
    pub fn updated(&mut self, watch: K, now: Time) {
        self.forget_ends(now);
        let Some(row) = self.rows.get_mut(&watch) else { return };
        if row.runs < FEW {
            row.arrived.get_or_insert(None);
            return;
        }
        let active = self.active.get_or_insert_with(|| {
            #[cfg(test)]
            (self.visited += self.running.len() + self.ended.len());
            let ended = self.ended.iter().map(|(_, watch)| watch);
            Rc::new(self.running.keys().chain(ended).copied().collect())
        });
        row.arrives(active);
        let Rest::Now { watches, since, quiet_since, is_disturbed, .. } = &mut row.rest else { return };
        // The last run before the rest may have caused the first updates.
        if now <= *since + MAX_LATENCY {
            return;
        }
        if now <= *quiet_since + MAX_LATENCY || watches.iter().any(|it| self.running.contains_key(it)) {
            *is_disturbed = true;
            return;
        }
        // None of them caused it.
        (row.quiet_rests, row.next_rest) = (0, row.runs.saturating_add(BUSY_RUNS));
        self.end_rest(watch, now);
    }

    /// Takes the wish of a watch to start its next run. Returns whether the wish is held back, until
    /// [`Self::next_rested`] returns the watch.
    pub fn holds_back(&mut self, watch: K, now: Time) -> bool {
        let Some(row) = self.rows.get_mut(&watch) else { return false };
        match std::mem::replace(&mut row.rest, Rest::No) {
            Rest::Wanted(watches) => {
                let until = now + MIN_REST.max(MAX_LATENCY + 2 * row.busy_time() / row.runs);
                row.rest = Rest::Now { watches, since: now, until, quiet_since: now, is_disturbed: false };
                self.resting.insert((until, watch));
                true
            }
            rest @ (Rest::No | Rest::Now { .. }) => {
                row.rest = rest;
                false
            }
        }
    }

    /// The next watch whose rest is over.
    pub fn next_rested(&mut self) -> Option<K> {
        self.rested.pop_front()
    }

    /// Notes a start. `is_throttled` says that the definition of the watch bounds how often it runs.
    pub fn started(&mut self, watch: K, is_throttled: bool, now: Time) {
        let runs = self.running.entry(watch).or_default();
        *runs += 1;
        if *runs == 1 {
            self.active = None;
        }
        self.rest(now);
        if is_throttled {
            self.end_row(watch, now);
            return;
        }
        if let Some(row) = self.rows.get_mut(&watch) {
            self.starts.remove(&(row.last_start, watch));
            if row.goes_on(now) {
                self.starts.insert((now, watch));
                return self.look_for_circle(watch);
            }
            self.end_row(watch, now);
        }
        self.rows.insert(watch, Row::new(now));
        self.starts.insert((now, watch));
    }

    /// Notes the end of a run.
    pub fn ended(&mut self, watch: K, now: Time) {
        self.forget_ends(now);
        if let Some(running) = self.running.get_mut(&watch) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&watch);
            }
            // It stays active for now.
            self.ended.push_back((now, watch));
        }
        for (_, resting) in &self.resting {
            if let Some(Row { rest: Rest::Now { watches, quiet_since, .. }, .. }) = self.rows.get_mut(resting)
                && watches.contains(&watch)
            {
                *quiet_since = now;
            }
        }
    }

    /// Notes that a watch is gone.
    pub fn forget(&mut self, watch: K, now: Time) {
        self.running.remove(&watch);
        self.active = None;
        self.end_row(watch, now);
    }

    /// When [`Self::rest`] is due.
    pub fn due(&self) -> Option<Time> {
        let oldest = self.starts.first().filter(|_| !self.found.is_empty()).map(|(at, _)| *at + REST);
        let rested = self.resting.first().map(|(until, _)| *until);
        oldest.into_iter().chain(rested).min()
    }

    /// Ends the rests that are over, and the rows of the watches that rest by themselves.
    pub fn rest(&mut self, now: Time) {
        while let Some((until, watch)) = self.resting.first()
            && *until <= now
        {
            self.end_rest(*watch, now);
        }
        while let Some((last_start, watch)) = self.starts.first()
            && *last_start + REST <= now
        {
            #[cfg(test)]
            (self.visited += 1);
            self.end_row(*watch, now);
        }
    }

    pub fn next_change(&mut self) -> Option<CircleChange<K>> {
        self.changes.pop_front()
    }

    fn forget_ends(&mut self, now: Time) {
        while self.ended.front().is_some_and(|(at, _)| *at + LATENCY < now) {
            self.ended.pop_front();
            self.active = None;
        }
    }

    /// Ends the rest of a watch, if it is given one.
    fn end_rest(&mut self, watch: K, now: Time) {
        let Some(row) = self.rows.get_mut(&watch) else { return };
        let Rest::Now { since, until, is_disturbed, .. } = std::mem::replace(&mut row.rest, Rest::No) else {
            return;
        };
        self.resting.remove(&(until, watch));
        self.rested.push_back(watch);
        row.rested += now.saturating_sub(since);
        row.quiet_rests += u32::from(now >= until && !is_disturbed);
    }

    fn end_row(&mut self, watch: K, now: Time) {
        self.end_rest(watch, now);
        if let Some(row) = self.rows.remove(&watch) {
            self.starts.remove(&(row.last_start, watch));
        }
        let Some(watches) = self.found.remove(&watch) else { return };
        self.changes.push_back(CircleChange::Over(watch));
        for watch in watches {
            if let Entry::Occupied(mut times) = self.known.entry(watch) {
                *times.get_mut() -= 1;
                if *times.get() == 0 {
                    times.remove();
                }
            }
        }
    }

    fn look_for_circle(&mut self, watch: K) {
        let is_time = |row: &&Row<K>| row.runs >= row.next_rest && row.runs.is_multiple_of(STEP);
        if self.rows.get(&watch).is_none_or(|row| !is_time(&row)) || self.known.contains_key(&watch) {
            return;
        }
        let Some(mut watches) = self.way_back(watch) else { return };
        if watches.len() == 1 {
            // Its own action may be the cause, or another one whose runs overlap with it.
            let starts = |suspect: &&K| self.suspects(**suspect).any(|cause| *cause == watch);
            watches.extend(self.suspects(watch).filter(|suspect| **suspect != watch).filter(starts));
        }
        let Some(row) = self.rows.get_mut(&watch) else { return };
        let busy_time = row.busy_time();
        if row.quiet_rests < RESTS {
            if busy_time / row.runs <= MAX_INTERVAL {
                row.rest = Rest::Wanted(watches.into_iter().collect());
            }
            return;
        }
        let runs_per_second = f64::from(row.runs) / busy_time.as_secs_f64().max(0.001);
        for watch in &watches {
            *self.known.entry(*watch).or_default() += 1;
        }
        self.found.insert(watch, watches.clone());
        self.changes.push_back(CircleChange::Found { watches, runs_per_second });
    }

    fn suspects(&self, watch: K) -> impl Iterator<Item = &K> {
        self.rows.get(&watch).into_iter().flat_map(|row| row.suspects.keys())
    }

    /// The shortest way from a watch to itself, from each watch to one that may have started it.
    fn way_back(&self, watch: K) -> Option<Vec<K>> {
        let mut ends = VecDeque::from([watch]);
        // From where each watch was reached first.
        let mut before = BTreeMap::new();
        while let Some(end) = ends.pop_front() {
            if self.suspects(end).any(|suspect| *suspect == watch) {
                let mut way = vec![end];
                while let Some(last) = way.last().filter(|last| **last != watch) {
                    way.push(before[last]);
                }
                way.reverse();
                return Some(way);
            }
            for suspect in self.suspects(end) {
                before.entry(*suspect).or_insert_with(|| {
                    ends.push_back(*suspect);
                    end
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
