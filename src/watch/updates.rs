//! Decides whether a report of the store is an update, and where an update waits.

use super::state::{Life, Load, Run};
use super::waiting::Waiting;
use super::{Effect, Event, Generator, MAX_WAITING, Seen, Time, Update, Watch};
use crate::model::{RunMode, State, Version};

impl Watch {
    /// Takes a report of the store. Returns an update if the state is new or must run again.
    pub(super) fn observe(&mut self, state: State, effects: &mut Vec<Effect>) -> Option<Update> {
        match self.life {
            Life::Active => {}
            Life::Retired | Life::Stopping => return None,
        }
        self.observed = true;
        let State::Present { version, origin, content } = state else {
            return self.observe_absence(effects);
        };
        let before = self.seen.replace(Seen::Present(version));
        // The next deletion is another one, which the guard has not judged.
        self.past.admitted = self.past.admitted.filter(|admitted| !admitted.is_deletion());
        let load = std::mem::replace(&mut self.load, Load::No);
        let pending = self.due_event.take();
        let event = match load {
            Load::Due => Event::Load,
            Load::DueIfNew if pending.is_none() && self.is_done_with(version) => return None,
            Load::DueIfNew => Event::Load,
            // Without `before`, the watch was loaded without `run_on_load`, so the content that the node has
            // is not an update.
            Load::No => match (before.and_then(|before| before.change(version, content.facet())), pending) {
                (_, Some(asked @ (Event::Load | Event::Trigger))) => asked,
                // The node was deleted, and is there again.
                (None, Some(Event::Deleted)) => Event::Created,
                (Some(event), _) | (None, Some(event)) => event,
                (None, None) => return None,
            },
        };
        Some(Update { event, version, origin, content, decoded: None })
    }

    /// Takes the report that the node does not exist. Returns an update if this is a deletion to run for.
    fn observe_absence(&mut self, effects: &mut Vec<Effect>) -> Option<Update> {
        let before = self.seen.replace(Seen::Absent);
        let load = std::mem::replace(&mut self.load, Load::No);
        let pending = self.due_event.take();
        if !self.keeps_every_update() {
            // The node no longer has what is being decoded.
            self.undecoded.clear();
        }
        if !self.policy.run_on_delete {
            (self.held, self.forced) = (None, None);
            if before != Some(Seen::Absent) && self.is_given_content() {
                effects.push(Effect::Deleted);
            }
            return None;
        }
        let is_due = match (before, load) {
            // The action was interrupted, or an operator triggered it.
            _ if pending.is_some() => true,
            (Some(Seen::Present(_)), _) => true,
            // A missing node is not loaded, but its deletion is if it was never applied.
            (Some(Seen::Absent) | None, Load::Due) => self.is_given_content(),
            (Some(Seen::Absent) | None, Load::DueIfNew) => {
                self.is_given_content() && !self.is_done_with(Version::DELETION)
            }
            (Some(Seen::Absent) | None, Load::No) => false,
        };
        is_due.then(Update::deletion)
    }

    /// Whether the action has applied content of this subject, or is given some.
    fn is_given_content(&self) -> bool {
        let is_ours = |run: &Run| run.subject == self.subject;
        self.has_applied_content() || self.runs.iter().any(is_ours) || !self.waiting.is_empty()
    }

    /// Whether the action last succeeded with content of this subject, and not with its deletion.
    pub(super) fn has_applied_content(&self) -> bool {
        self.past.applied_size.is_some() || self.past.applied.is_some_and(|applied| !applied.is_deletion())
    }

    /// Whether this version is known to be applied or ignored.
    fn is_done_with(&self, version: Version) -> bool {
        let discarded = self.discarded.as_deref();
        self.past.applied.iter().chain(discarded).any(|done| done.is_same_state(version))
    }

    /// Returns the update unless DISCARD ignores it or a guard holds it.
    /// `asked` is true if the update runs because of a load or a trigger.
    pub(super) fn admit(&mut self, update: Update, asked: bool, effects: &mut Vec<Effect>) -> Option<Update> {
        let asked = asked || matches!(update.event, Event::Load | Event::Trigger);
        if self.policy.run_mode == RunMode::Discard && self.is_busy() && !self.is_paused() && !asked {
            self.discarded = Some(Box::new(update.version));
            // The node no longer has the held content.
            (self.held, self.forced) = (None, None);
            effects.push(Effect::Discarded { version: update.version });
            return None;
        }
        self.check_guard(update, effects)
    }

    /// Puts an update among the waiting ones. [`Self::start_one`] starts it when it is due and
    /// the daemon has a place.
    pub(super) fn accept(
        &mut self,
        update: Update,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        self.past.accepted += 1;
        self.past.accepted_at = now;
        // An update that failed and waits for its retry is out of date now.
        self.waiting.retain(|waiting| waiting.failures == 0);
        let not_before = match update.event {
            // An operator waits for this run, on this host only.
            Event::Trigger => now,
            Event::Load | Event::Created | Event::Changed | Event::Children | Event::Deleted => {
                now + generator.jitter(self.policy.throttle.splay)
            }
        };
        let number = self.past.accepted;
        let mut waiting = Waiting {
            update,
            number,
            failures: 0,
            starved: 0,
            accepted_at: now,
            not_before,
            since: not_before,
        };
        match self.policy.run_mode {
            RunMode::Parallel if !self.stopped => {
                if self.waiting.len() >= MAX_WAITING
                    && let Some(newest) = self.waiting.back_mut()
                {
                    std::mem::swap(newest, &mut waiting);
                    self.supersede(effects);
                } else {
                    self.waiting.push_back(waiting);
                }
            }
            RunMode::Queue | RunMode::Discard | RunMode::Parallel => self.replace_waiting(waiting),
        }
    }

    /// Whether each update runs, as far as there is room for those that wait. Otherwise a newer one replaces
    /// the one before it.
    pub(super) fn keeps_every_update(&self) -> bool {
        self.policy.run_mode == RunMode::Parallel && !self.stopped
    }

    /// Whether DISCARD ignores an update now: the action runs and no update waits. An update that waits is
    /// replaced by the newer one. A run of another definition or of a former daemon does not count, because
    /// another run must follow it.
    fn is_busy(&self) -> bool {
        let ours = |run: &Run| run.definition == self.definition && run.update.is_some();
        self.runs.iter().any(ours) && self.waiting.is_empty() && self.undecoded.is_empty()
    }

    fn replace_waiting(&mut self, mut newer: Waiting) {
        if let Some(older) = self.waiting.pop_back() {
            // The newer update waits no longer than the older one, or a busy node would delay it for ever.
            if newer.update.event != Event::Trigger {
                newer.not_before = older.not_before;
                newer.since = older.since.max(self.past.accepted_at);
            }
            newer.accepted_at = older.accepted_at;
            newer.update.event = newer.update.event.replacing(older.update.event);
        }
        self.waiting.clear();
        self.waiting.push_back(newer);
    }

    pub(super) fn supersede(&mut self, effects: &mut Vec<Effect>) {
        self.past.superseded += 1;
        effects.push(Effect::Superseded { total: self.past.superseded });
    }

    /// Lets the newest waiting update replace the one before it.
    pub(super) fn shed(&mut self, effects: &mut Vec<Effect>) {
        let Some(last_but_one) = (self.waiting.len() + self.undecoded.len()).checked_sub(2) else { return };
        match last_but_one.checked_sub(self.waiting.len()) {
            Some(undecoded) => drop(self.undecoded.remove(undecoded)),
            None => drop(self.waiting.remove(last_but_one)),
        }
        self.supersede(effects);
    }

    pub(super) fn keep_newest(&mut self) {
        let excess = self.waiting.len().saturating_sub(1);
        self.waiting.drain(..excess);
    }
}
