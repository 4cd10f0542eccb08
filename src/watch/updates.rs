//! What becomes of what the store says: whether it is an update, and where it waits.

use super::{Effect, Event, Generator, Life, Load, MAX_WAITING, Run, Seen, Time, Update, Waiting, Watch};
use crate::model::{RunMode, State, Version};

impl Watch {
    /// Turns a state into the update it is, if it is one.
    pub(super) fn observe(&mut self, state: State) -> Option<Update> {
        match self.life {
            Life::Active => {}
            Life::Retired | Life::Stopping => return None,
        }
        self.observed = true;
        let State::Present { version, content } = state else {
            self.seen = Some(Seen::Absent);
            self.load = Load::No;
            self.interrupted = None;
            (self.held, self.forced) = (None, None);
            return None;
        };
        let before = self.seen.replace(Seen::Present(version));
        let load = std::mem::replace(&mut self.load, Load::No);
        let pending = self.interrupted.take();
        let event = match load {
            Load::Due => Event::Load,
            Load::DueIfNew if pending.is_none() && self.is_done_with(version) => return None,
            Load::DueIfNew => Event::Load,
            Load::No => match (self.change(before, version), pending) {
                (_, Some(asked @ (Event::Load | Event::Trigger))) => asked,
                (Some(event), _) | (None, Some(event)) => event,
                (None, None) => return None,
            },
        };
        Some(Update { event, version, content })
    }

    /// Whether nothing is left to do about this version, as far as is known of it.
    pub(super) fn is_done_with(&self, version: Version) -> bool {
        [self.applied, self.discarded].into_iter().flatten().any(|done| done.is_same_state(version))
    }

    /// What kind of change leads to `version`, if any does.
    pub(super) fn change(&self, before: Option<Seen>, version: Version) -> Option<Event> {
        // Loaded without `run_on_load`: what was there before is no update.
        before?.change(version, self.policy.on_children)
    }

    /// Decides whether an update is to be run.
    pub(super) fn admit(&mut self, update: Update, effects: &mut Vec<Effect>) -> Option<Update> {
        let asked = matches!(update.event, Event::Load | Event::Trigger);
        if self.policy.run_mode == RunMode::Discard && self.is_busy() && !self.paused && !asked {
            self.discarded = Some(update.version);
            // What is held is not there any more.
            (self.held, self.forced) = (None, None);
            effects.push(Effect::Discarded { version: update.version });
            return None;
        }
        self.check_guard(update, effects)
    }

    /// Decides where an update that is to be run waits; whether it starts at once is [`Self::start_waiting`]'s business.
    pub(super) fn accept(
        &mut self,
        update: Update,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        self.accepted += 1;
        self.accepted_at = now;
        // What failed and waits to be tried again is out of date now.
        self.waiting.retain(|waiting| waiting.failures == 0);
        let not_before = match update.event {
            // Somebody waits for it, on this host alone.
            Event::Trigger => now,
            Event::Load | Event::Created | Event::Changed | Event::Children => {
                now + generator.jitter(self.policy.throttle.splay)
            }
        };
        let number = self.accepted;
        let mut waiting = Waiting { update, number, failures: 0, starved: 0, not_before, since: not_before };
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

    /// Whether the action runs, as DISCARD means it: what waits to start is no reason to ignore anything, it takes
    /// the newer content. Nor is a run of another definition, or of a former daemon, which something must follow.
    pub(super) fn is_busy(&self) -> bool {
        let ours = |run: &Run| run.definition == self.definition && run.update.is_some();
        self.runs.iter().any(ours) && self.waiting.is_empty()
    }

    pub(super) fn replace_waiting(&mut self, mut newer: Waiting) {
        if let Some(older) = self.waiting.pop_back() {
            // It waits no longer than the one it replaces, or a busy node would put it off for ever.
            if newer.update.event != Event::Trigger {
                newer.not_before = older.not_before;
                newer.since = older.since.max(self.accepted_at);
            }
            newer.update.event = newer.update.event.replacing(older.update.event);
        }
        self.waiting.clear();
        self.waiting.push_back(newer);
    }
}
