//! The checks of a service, and what their results in a row say.

use std::sync::Arc;
use std::time::Duration;

use super::state::Checking;
use super::{CheckId, CheckResult, Effect, Service, Time, Turn};

/// How long the end of a killed check is waited for, so that its output can be reported. A process that got
/// SIGKILL ends at once, and its output is read for at most a second.
const KILL_GRACE: Duration = Duration::from_secs(2);

impl Service {
    /// Returns when the next check starts, or the present one is killed or counted.
    pub(super) fn check_deadline(&self) -> Option<Time> {
        let pace = self.definition.check?;
        match self.checking {
            Checking::Off | Checking::Starting(_) => None,
            Checking::Due { ended } => Some(ended.map_or(Time::ZERO, |ended| ended + pace.interval)),
            Checking::Running { executed, .. } => Some(executed + pace.timeout),
            Checking::Killed { fails_at, .. } => Some(fails_at),
        }
    }

    /// Starts a check if one is due.
    pub(super) fn start_check(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let is_due = self.check_deadline().is_some_and(|at| at <= now);
        if let (Checking::Due { .. }, true) = (self.checking, is_due) {
            self.checks += 1;
            let check = CheckId(self.checks);
            self.checking = Checking::Starting(check);
            effects.push(Effect::StartCheck { check });
        }
    }

    pub(super) fn check_started(&mut self, check: CheckId, executed: Time) {
        if self.checking == Checking::Starting(check) {
            self.checking = Checking::Running { check, executed };
        }
    }

    /// Takes the end of a check. One that was ended because nobody wants its result is not known any more.
    pub(super) fn check_ended(
        &mut self,
        check: CheckId,
        result: CheckResult,
        said: Arc<str>,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        let (ours, killed) = match self.checking {
            Checking::Starting(ours) | Checking::Running { check: ours, .. } => (ours, None),
            Checking::Killed { check: ours, has_failed, .. } => (ours, Some(has_failed)),
            Checking::Off | Checking::Due { .. } => return,
        };
        if ours != check {
            return;
        }
        self.checking = Checking::Due { ended: Some(now) };
        match (killed, result) {
            // That it hung has been counted.
            (Some(true), _) => {}
            (_, CheckResult::Failed) => self.count(CheckResult::Failed, said, effects),
            // It ended by itself while it was killed, and too late.
            (Some(false), CheckResult::Passed | CheckResult::NotStarted) => {
                self.count(CheckResult::Failed, "it took longer than its timeout".into(), effects);
            }
            (None, CheckResult::Passed | CheckResult::NotStarted) => self.count(result, said, effects),
        }
    }

    /// Kills a check that takes too long, and counts one that outlives that.
    pub(super) fn expire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(pace) = self.definition.check else { return };
        if self.check_deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.checking {
            Checking::Running { check, .. } => {
                effects.push(Effect::KillCheck { check });
                let fails_at = now + KILL_GRACE;
                self.checking = Checking::Killed { check, fails_at, has_failed: false };
            }
            Checking::Killed { check, .. } => {
                // Another check would hang as well by the end of this time.
                let fails_at = now + pace.interval + pace.timeout;
                self.checking = Checking::Killed { check, fails_at, has_failed: true };
                let said = "it was killed at its timeout, and does not end";
                self.count(CheckResult::Failed, said.into(), effects);
            }
            Checking::Off | Checking::Due { .. } | Checking::Starting(_) => {}
        }
    }

    /// Ends the check that runs, if one does. Nobody wants its result.
    pub(super) fn end_checks(&mut self, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.checking, Checking::Off) {
            Checking::Starting(check) | Checking::Running { check, .. } => {
                effects.push(Effect::KillCheck { check });
            }
            Checking::Off | Checking::Due { .. } | Checking::Killed { .. } => {}
        }
    }

    /// Counts a result, and reports what changes because of it.
    fn count(&mut self, result: CheckResult, said: Arc<str>, effects: &mut Vec<Effect>) {
        self.last_result = Some(result);
        match result {
            CheckResult::NotStarted if self.unstartable.replace(said.clone()).is_none() => {
                effects.push(Effect::Unstartable { why: said.clone() });
            }
            CheckResult::Passed | CheckResult::Failed if self.unstartable.take().is_some() => {
                effects.push(Effect::Startable);
            }
            CheckResult::NotStarted | CheckResult::Passed | CheckResult::Failed => {}
        }
        if result == CheckResult::Failed {
            self.last_failure = Some(said.clone());
        }
        match self.verdict.take(result) {
            Some(Turn::Up) => effects.push(Effect::Turned { is_well: true, why: None }),
            Some(Turn::Down) => effects.push(Effect::Turned { is_well: false, why: Some(said) }),
            None => {}
        }
    }
}
