//! The step of a watch from an input to the effects.

use super::state::{Life, Load};
use super::{Effect, Event, Generator, Input, Reason, Seen, Time, Watch};
use crate::model::{Policy, RunMode, State, WatchCommand};

impl Watch {
    /// Tells the watch what happened, and returns what to do about it. The effects must be performed in the
    /// order of the list.
    ///
    /// `now` must not go backwards. The caller must answer every [`Effect::WantsStart`] with exactly one
    /// [`Input::MayStart`], and every [`Effect::Spawn`] with exactly one [`Input::Ended`].
    pub fn step(&mut self, now: Time, input: Input, generator: &mut Generator) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Observed(state) => self.observed(state, now, generator, &mut effects),
            Input::MayStart => {
                self.asked_at = None;
                self.start_one(now, generator, &mut effects);
            }
            Input::Started { run, executed } => self.started(run, executed),
            Input::MustShed => self.shed(&mut effects),
            Input::Ended { run, end } => self.ended(run, end, now, generator, &mut effects),
            Input::Loaded { policy, snapshot, same_definition } => {
                self.load(policy, snapshot, same_definition);
            }
            Input::Redefined { policy, same_subject } => self.redefine(policy, same_subject),
            Input::Retired => {
                self.life = Life::Retired;
                self.waiting.clear();
                self.held = None;
            }
            Input::Triggered { force } => self.obey(WatchCommand::Trigger { force }, now, &mut effects),
            Input::Paused => self.obey(WatchCommand::Pause, now, &mut effects),
            Input::Resumed => self.obey(WatchCommand::Resume, now, &mut effects),
            Input::Killed => self.obey(WatchCommand::Kill, now, &mut effects),
            Input::Stopping { grace } => {
                // Waiting updates are left to the next daemon.
                self.life = Life::Stopping;
                self.end_all_by(now + grace, Reason::Stop);
            }
            Input::Tick => {}
        }
        self.expire(now, &mut effects);
        self.ask_for_start(now, &mut effects);
        if self.life == Life::Retired && self.runs.is_empty() {
            effects.push(Effect::Forget);
        }
        effects
    }

    /// Returns when [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Time> {
        self.runs.iter().filter_map(|run| run.phase.deadline()).chain(self.next_start()).min()
    }

    fn observed(&mut self, state: State, now: Time, generator: &mut Generator, effects: &mut Vec<Effect>) {
        let (before, asked) = (self.seen, matches!(self.due_event, Some(Event::Load | Event::Trigger)));
        let Some(update) = self.observe(state, effects) else { return };
        let Some(update) = self.admit(update, asked, effects) else { return };
        // The running action is not notified of content that it may have got from a former daemon.
        let is_news = match update.event {
            Event::Trigger => true,
            Event::Deleted => matches!(before, Some(Seen::Present(_))),
            Event::Load | Event::Created | Event::Changed | Event::Children => {
                before.and_then(|before| before.change(update.version, update.content.facet())).is_some()
            }
        };
        if is_news && !self.paused {
            self.notify(effects);
        }
        self.accept(update, now, generator, effects);
    }

    fn redefine(&mut self, policy: Policy, same_subject: bool) {
        if !same_subject {
            self.subject += 1;
            self.seen = None;
            self.due_event = None;
            self.waiting.clear();
            (self.held, self.applied_size) = (None, None);
        }
        if !policy.run_on_delete {
            self.waiting.retain(|waiting| waiting.update.event != Event::Deleted);
        }
        if policy.run_mode != RunMode::Parallel {
            self.keep_newest();
        }
        // The new definition has neither failed nor succeeded yet.
        self.waiting.iter_mut().for_each(|waiting| waiting.failures = 0);
        self.definition += 1;
        (self.applied, self.discarded) = (None, None);
        (self.failures, self.stopped) = (0, false);
        self.load = Load::of(&policy);
        self.policy = policy;
        // This also clears `forced` and `admitted`.
        self.recheck_guard();
    }

    pub(super) fn notify(&self, effects: &mut Vec<Effect>) {
        if self.policy.run_mode != RunMode::Queue {
            return;
        }
        let Some(signal) = self.policy.notify_signal else { return };
        let running = self.runs.iter().filter(|run| run.definition == self.definition);
        effects.extend(running.map(|run| Effect::Notify { run: run.id, signal }));
    }
}
