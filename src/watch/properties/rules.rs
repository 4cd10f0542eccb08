//! The rules that each effect of a watch must keep.

use super::world::{Live, World};
use crate::model::{RunMode, Version};
use crate::watch::{Effect, Event, KILL_AFTER, Reason};

impl World {
    pub(super) fn check(&mut self, effect: Effect) {
        match effect {
            Effect::WantsStart => {
                assert!(!self.retired && !self.paused && !self.stopped, "asked for a place for nothing");
                assert!(!std::mem::replace(&mut self.asks, true), "asked twice for one place");
            }
            Effect::Decode { decoding, content } => {
                assert!(!self.retired && self.policy.decode.is_some(), "decoded for nothing");
                self.decoding.push_back((decoding, content.size()));
            }
            Effect::Spawn { run, update, since } => {
                assert!(!self.retired, "spawned after retirement");
                let is_decoded = self.policy.decode.is_some() && update.event != Event::Deleted;
                assert_eq!(update.decoded.is_some(), is_decoded, "not decoded as its definition says");
                assert!(!is_decoded || !self.is_faulty(update.version.revision), "ran with faulty content");
                assert!(!self.paused, "spawned while paused");
                assert!(since <= self.now, "late since the future");
                assert!(self.ever.insert(run), "a run id twice");
                let cap = match self.policy.run_mode {
                    RunMode::Queue | RunMode::Discard => 1,
                    RunMode::Parallel => self.policy.max_parallel as usize,
                };
                assert!(self.live.len() < cap, "too many at once");
                assert!(
                    self.live.values().all(|live| live.definition == self.definition),
                    "did not wait for the action of an older definition"
                );
                assert!(!self.stopped, "spawned after a failure that stops");
                assert!(self.passed.contains(&update.version.revision), "ran what was never let through");
                self.cleared.insert(update.version.revision);
                let interval = self.policy.throttle.min_interval;
                let rested = self.last_start.replace(self.now).is_none_or(|last| self.now >= last + interval);
                assert!(rested, "started too soon after the last start");
                let asked = matches!(update.event, Event::Load | Event::Trigger)
                    || update.event == Event::Deleted && self.deletion_triggered;
                let again = std::mem::take(&mut self.retrying) || asked;
                if !again && self.policy.run_mode != RunMode::Parallel {
                    assert_ne!(self.last_run, Some(update.version), "ran twice for one change");
                }
                self.last_run = Some(update.version);
                let definition = self.definition;
                let version = update.version;
                let live = Live {
                    definition,
                    subject: self.subject,
                    version,
                    orphan: false,
                    spawned: self.now,
                    executed: None,
                    timeout: self.policy.timeout,
                    terminated: None,
                    killed: false,
                };
                self.live.insert(run, live);
            }
            Effect::Notify { run, .. } => assert!(self.live.contains_key(&run)),
            Effect::Terminate { run, reason } => {
                let live = self.live.get_mut(&run).expect("terminated a run that is not live");
                let is_over = live.timeout_at().is_some_and(|at| at <= self.now);
                assert!(reason != Reason::Timeout || is_over, "timed out before its program had its time");
                assert_eq!(live.terminated.replace(self.now), None, "terminated twice");
            }
            Effect::Kill { run } => {
                let live = self.live.get_mut(&run).expect("killed a run that is not live");
                let since = live.terminated.expect("killed before it was terminated");
                assert!(self.now >= since + KILL_AFTER, "killed before the grace was over");
                assert!(!std::mem::replace(&mut live.killed, true), "killed twice");
            }
            Effect::Deleted => {
                assert!(self.node.is_none() && !self.policy.run_on_delete);
                assert!(!std::mem::replace(&mut self.deletion_told, true), "said twice that it is deleted");
            }
            Effect::Discarded { version } => {
                assert_eq!(self.policy.run_mode, RunMode::Discard);
                assert!(
                    self.live.values().any(|live| !live.orphan),
                    "ignored in favour of a run whose end nobody will know"
                );
                self.discarded = Some(version);
            }
            Effect::Held { version, .. } => {
                let revision = version.revision;
                let cleared = version != Version::DELETION && self.cleared.contains(&revision);
                let cleared = cleared && !self.is_faulty(revision);
                assert!(!cleared, "held what had been let through");
                // A deletion that was let through may still wait when a later one is held.
                if version != Version::DELETION {
                    self.passed.remove(&revision);
                }
                assert!(self.said.insert(revision), "said twice that it is held");
                self.held.insert(revision);
            }
            // This can happen in other modes, for an update that was put off before the definition changed.
            Effect::Superseded { .. } => {}
            Effect::Retry { failures, after, .. } => {
                let retry = self.policy.retry.expect("tried again without retry");
                assert!(failures <= retry.attempts && after <= retry.max_delay.max(retry.delay));
                self.retrying = true;
            }
            Effect::Postponed { .. } => self.retrying = true,
            Effect::GaveUp { stopped, .. } => self.stopped |= stopped,
            Effect::PauseOver => {
                assert!(self.pause_ends.is_some_and(|ends| ends <= self.now), "resumed before the time");
                assert!(std::mem::take(&mut self.paused), "resumed what was not paused");
            }
            Effect::Forget => assert!(self.retired && self.live.is_empty()),
        }
    }
}
