//! The guard of a watch, which lets an update pass or holds it.
//!
//! Everybody who can write a node decides what an action gets, and when. A guard
//! ([`Guard`](crate::model::Guard)) stops the obvious accidents. Its rules:
//!
//! - Each update is judged once, when it is observed, whatever its event. After it passed, it runs, is
//!   retried and can be triggered without another judgement, also by the next daemon. The content that the
//!   action last succeeded with is not judged again either.
//! - Updates that DISCARD ignores are not judged, because they do not run anyway.
//! - A held update starts nothing, notifies no action, and replaces no other update. The updates that run or
//!   wait were good when they arrived.
//! - An update stays held, also over a restart, until it is forced, the node changes or is deleted, or the
//!   definition changes. Each new state of the node is judged by itself. A new definition judges again, also
//!   the updates that wait.
//! - A deletion that runs (`run_on_delete`) is judged as empty content is: the last member that goes, and the
//!   container node that goes after it, are one accident. It passes if the action last succeeded with empty
//!   content, because then nothing is lost.
//! - Force applies to the content that is held at that moment, and to no later content.
//! - `max_shrink` compares with the content that the action last succeeded with on this node, under any
//!   definition. If that is not known, everything passes.
//!
//! So at rest, the last content either ran or is held.

use super::{Effect, Held, HoldReason, Seen, Update, Watch};
use crate::model::{Guard, Version};

/// Returns what is suspicious about `update`, if anything.
fn judge(guard: Guard, update: &Update, applied_size: Option<u64>) -> Option<HoldReason> {
    let loses_nothing = update.version.is_deletion() && applied_size == Some(0);
    guard.hold_reason(&update.content, applied_size).filter(|_| !loses_nothing)
}

/// Returns why a guard held an update, if it was a guard. Other contents are decoded again.
fn by_guard(held: Held) -> Option<HoldReason> {
    match held.hold_reason {
        HoldReason::Faulty(_) | HoldReason::Undecided(_) => None,
        reason @ (HoldReason::TooMuch { .. }
        | HoldReason::Empty
        | HoldReason::Shrunk { .. }
        | HoldReason::HeldBefore) => Some(reason),
    }
}

impl Watch {
    /// Returns the update if it passes, or holds it.
    pub(super) fn check_guard(&mut self, mut update: Update, effects: &mut Vec<Effect>) -> Option<Update> {
        let before = self.held.take();
        let forced = self.forced.take().map(|forced| *forced);
        if let (Some(before), None) = (&before, forced) {
            update.event = update.event.replacing(before.event);
        }
        let is_this = |version: Version| version.is_same_state(update.version);
        let cleared = [forced, self.past.admitted, self.past.applied].into_iter().flatten().any(is_this);
        let still = || before.filter(|before| is_this(before.version)).and_then(|before| by_guard(*before));
        let hold_reason = judge(self.policy.guard, &update, self.past.applied_size).or_else(still);
        match hold_reason.filter(|_| !cleared) {
            None => {
                self.past.admitted = Some(update.version);
                Some(update)
            }
            Some(hold_reason) => {
                self.hold(&update, hold_reason, effects);
                None
            }
        }
    }

    pub(super) fn hold(
        &mut self,
        &Update { event, version, .. }: &Update,
        hold_reason: HoldReason,
        effects: &mut Vec<Effect>,
    ) {
        self.held = Some(Box::new(Held { event, version, hold_reason: hold_reason.clone() }));
        effects.push(Effect::Held { version, hold_reason });
    }

    /// Whether an update that passed under an older definition may run under this one. Holds an update that
    /// may not run if the node still has its content.
    pub(super) fn passes_guard(&mut self, update: &Update, effects: &mut Vec<Effect>) -> bool {
        let is_this = |version: Version| version.is_same_state(update.version);
        if self.held().is_some_and(|held| is_this(held.version)) {
            return false;
        }
        // The content was observed again, and this definition let it pass.
        if self.past.admitted.is_some_and(is_this) {
            return true;
        }
        let is_there = match self.seen {
            Some(Seen::Present(version)) => is_this(version),
            Some(Seen::Absent) => update.version.is_deletion(),
            None => false,
        };
        let hold_reason = judge(self.policy.guard, update, self.past.applied_size);
        let passes = hold_reason.is_none();
        match hold_reason {
            None if is_there => self.past.admitted = Some(update.version),
            Some(hold_reason) if is_there => self.hold(update, hold_reason, effects),
            None | Some(_) => {}
        }
        passes
    }

    /// Judges again the waiting updates of a former definition. If the newest one does not pass, or if an
    /// update was held, the content must be observed again.
    pub(super) fn recheck_guard(&mut self) {
        (self.forced, self.past.admitted) = (None, None);
        let held = self.held.take().map(|held| held.event);
        let newest = self.waiting.back().map(|waiting| (waiting.number, waiting.update.event));
        let (guard, applied_size) = (self.policy.guard, self.past.applied_size);
        self.waiting.retain(|waiting| judge(guard, &waiting.update, applied_size).is_none());
        let last = self.waiting.back();
        self.past.admitted = last.map(|waiting| waiting.update.version);
        let lost = newest.filter(|(number, _)| last.is_none_or(|last| last.number != *number));
        self.due_event = self.due_event.or(held).or(lost.map(|(_, event)| event));
    }
}
