//! The step of a service from an input to the effects.

use std::sync::Arc;

use super::state::{Checking, Keeping, Life};
use super::{Definition, Effect, Input, Service, Snapshot, Time, Verdict};
use crate::model::Member;

impl Service {
    /// Tells the service what happened, and returns what to do about it. The effects must be performed in the
    /// order of the list. `now` must not go backwards.
    pub fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Loaded { definition, snapshot } => self.load(definition, snapshot),
            Input::Redefined { definition, same_check } => {
                self.redefine(definition, same_check, &mut effects);
            }
            Input::Retired if self.is_active() => self.end(Life::Retired, &mut effects),
            Input::Stopping => self.end(Life::Stopping, &mut effects),
            Input::CheckStarted { check, executed } => self.check_started(check, executed),
            Input::CheckEnded { check, result, said } => {
                self.check_ended(check, result, said, now, &mut effects);
            }
            Input::Kept { member, report } => self.kept(&member, report, &mut effects),
            Input::Paused(pause) if self.is_active() => self.pause = Some(pause),
            Input::Resumed if self.is_active() => self.pause = None,
            // Nothing is left to end, or to pause.
            Input::Retired | Input::Paused(_) | Input::Resumed => {}
            Input::Tick => {}
        }
        self.end_pause(now, &mut effects);
        self.expire(now, &mut effects);
        self.tell_keeper(&mut effects);
        self.start_check(now, &mut effects);
        let condition = self.condition();
        if self.condition.is_none_or(|(known, _)| known != condition) {
            self.condition = Some((condition, now));
        }
        if self.life == Life::Retired && self.is_gone() {
            effects.push(Effect::Forget);
        }
        effects
    }

    /// Returns when [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Time> {
        self.check_deadline().into_iter().chain(self.pause_ends()).min()
    }

    fn load(&mut self, definition: Definition, snapshot: Snapshot) {
        // While the daemon stops, a load must not start anything.
        if self.life == Life::Retired {
            self.life = Life::Active;
        }
        let Snapshot { is_well, pause } = snapshot;
        self.verdict = match definition.check {
            Some(pace) if is_well => Verdict::inherited(pace.rise, pace.fall),
            Some(pace) => Verdict::new(pace.rise, pace.fall),
            None => Verdict::unchecked(),
        };
        // What this daemon was told is newer than the record.
        self.pause = self.pause.take().or(pause);
        self.definition = definition;
        self.begin_checks();
    }

    fn redefine(&mut self, definition: Definition, same_check: bool, effects: &mut Vec<Effect>) {
        let same_name = self.definition.member.name == definition.member.name;
        let old = std::mem::replace(&mut self.definition, definition);
        let same_check = same_check && old.check.is_some() == self.definition.check.is_some();
        match self.definition.check {
            Some(pace) if same_name || same_check => {
                // What is announced stays until a new check has its say.
                self.verdict.set_bounds(pace.rise, pace.fall);
                if !same_check {
                    self.verdict.begin_anew();
                }
            }
            // A member with another name and another check is another service: nothing is known of it yet.
            Some(pace) => self.verdict = Verdict::new(pace.rise, pace.fall),
            None => self.verdict = Verdict::unchecked(),
        }
        if !same_check {
            self.end_checks(effects);
            self.begin_checks();
        }
    }

    /// Starts with the checks of the present definition. Nothing is known of their results.
    fn begin_checks(&mut self) {
        (self.last_result, self.last_failure, self.unstartable) = (None, None, None);
        let is_checked = self.is_active() && self.definition.check.is_some();
        self.checking = if is_checked { Checking::Due { ended: None } } else { Checking::Off };
    }

    fn end(&mut self, life: Life, effects: &mut Vec<Effect>) {
        self.life = life;
        // Clients are to hear of it before anything else ends.
        self.tell_keeper(effects);
        self.end_checks(effects);
    }

    /// Withdraws what is not wanted any more, and announces what is wanted.
    fn tell_keeper(&mut self, effects: &mut Vec<Effect>) {
        let is_wanted = self.is_active() && self.pause.is_none() && self.is_well();
        let wanted = is_wanted.then(|| self.definition.member.clone());
        if let Some(told) = self.told.take_if(|told| !is_same(told, wanted.as_ref())) {
            self.keeping = Keeping::No;
            self.leaving.push(told.name.clone());
            effects.push(Effect::Withdraw(told.name.clone()));
        }
        let Some(wanted) = wanted.filter(|wanted| self.told.as_ref() != Some(wanted)) else { return };
        if self.told.is_none() {
            self.keeping = Keeping::Asked;
        }
        self.told = Some(wanted.clone());
        effects.push(Effect::Announce(wanted));
    }

    /// Returns when the pause ends by itself. While the daemon stops it is left to the next one.
    fn pause_ends(&self) -> Option<Time> {
        self.pause.as_ref()?.ends.filter(|_| self.is_active())
    }

    fn end_pause(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.pause_ends().is_some_and(|ends| ends <= now) {
            self.pause = None;
            effects.push(Effect::PauseOver);
        }
    }
}

fn is_same(told: &Arc<Member>, wanted: Option<&Arc<Member>>) -> bool {
    wanted.is_some_and(|wanted| wanted.name == told.name)
}
