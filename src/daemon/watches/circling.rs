//! Watches that run themselves in circles: what the core is told of them, and what operators are told.

use std::collections::BTreeMap;

use super::{Entry, WatchId};
use crate::report::NodeRef;
use crate::watch::{CircleChange, Circles, Effect, Time, Watch};

#[derive(Default)]
pub struct Circling {
    circles: Circles<WatchId>,
    /// The names under which operators were told of circles.
    told: BTreeMap<WatchId, String>,
}

/// What operators are told. `watch` is the name of the watch.
pub enum CircleNews {
    Found { watch: String, what: String },
    Over { watch: String },
}

impl Circling {
    /// Notes what a step of a watch did, which had accepted `updates` updates before.
    pub fn note(&mut self, id: WatchId, watch: &Watch, updates: u64, effects: &[Effect], now: Time) {
        if watch.accepted_updates() > updates {
            self.circles.updated(id, now);
        }
        let throttle = watch.policy().throttle;
        let is_throttled = !throttle.debounce.is_zero() || !throttle.min_interval.is_zero();
        for _ in effects.iter().filter(|effect| matches!(effect, Effect::Spawn { .. })) {
            self.circles.started(id, is_throttled, now);
        }
    }

    /// Takes the wish of a watch to start its next run. Returns whether it is held back for a moment, until
    /// [`Self::next_rested`] returns the watch.
    pub fn holds_back(&mut self, id: WatchId, now: Time) -> bool {
        self.circles.holds_back(id, now)
    }

    pub fn next_rested(&mut self) -> Option<WatchId> {
        self.circles.next_rested()
    }

    /// Notes the end of a run.
    pub fn ended(&mut self, id: WatchId, now: Time) {
        self.circles.ended(id, now);
    }

    pub fn forget(&mut self, id: WatchId, now: Time) {
        self.circles.forget(id, now);
    }

    /// When [`Self::rest`] is due.
    pub fn due(&self) -> Option<Time> {
        self.circles.due()
    }

    pub fn rest(&mut self, now: Time) {
        if self.due().is_some_and(|due| due <= now) {
            self.circles.rest(now);
        }
    }

    /// The next news. `find` returns the watch with an id.
    pub fn next<'a>(&mut self, find: impl Fn(WatchId) -> Option<&'a Entry>) -> Option<CircleNews> {
        loop {
            match self.circles.next_change()? {
                CircleChange::Found { watches, runs_per_second } => {
                    let entries: Vec<_> = watches.iter().filter_map(|id| find(*id)).collect();
                    let (Some(id), Some(first)) = (watches.first(), entries.first()) else { continue };
                    let watch = first.key().to_string();
                    self.told.insert(*id, watch.clone());
                    return Some(CircleNews::Found { watch, what: describe(&entries, runs_per_second) });
                }
                CircleChange::Over(id) => {
                    let Some(watch) = self.told.remove(&id) else { continue };
                    return Some(CircleNews::Over { watch });
                }
            }
        }
    }
}

fn describe(watches: &[&Entry], runs_per_second: f64) -> String {
    let others: Vec<_> = watches.iter().skip(1).map(|entry| entry.key().to_string()).collect();
    let nodes: Vec<_> =
        watches.iter().filter_map(|entry| Some(NodeRef::of(entry.spec()?).to_string())).collect();
    let (with, whose) = match others.is_empty() {
        true => (String::new(), "it"),
        false => (format!(" with {}", others.join(", ")), "one of them"),
    };
    format!(
        "runs in circles{with}, {runs_per_second:.1} times a second: each update arrived while {whose} ran, \
         and none while it was held back; have its action not write to {}, or give it a min_interval or a \
         debounce",
        nodes.join(", ")
    )
}
