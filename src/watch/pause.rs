//! The end of a pause.

use super::state::Life;
use super::{Effect, Time, Watch};
use crate::model::Pause;

impl Watch {
    /// Returns the operator's pause, if the watch is paused.
    pub fn pause(&self) -> Option<&Pause> {
        self.pause.as_deref()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Returns when the pause ends by itself. It waits for a watch to be registered, and while the daemon
    /// stops it is left to the next one.
    pub(super) fn pause_ends(&self) -> Option<Time> {
        self.pause.as_ref()?.ends.filter(|_| self.life == Life::Active)
    }

    /// Ends the pause if its time is over.
    pub(super) fn end_pause(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.pause_ends().is_some_and(|ends| ends <= now) {
            effects.push(Effect::PauseOver);
            self.resume(effects);
        }
    }

    pub(super) fn resume(&mut self, effects: &mut Vec<Effect>) {
        // The running action was not notified of updates that arrived during the pause.
        if self.pause.take().is_some() && !self.waiting.is_empty() {
            self.notify(effects);
        }
    }
}
