//! What is held instead of run: updates that a guard finds suspicious.
//!
//! Whoever can write a node chooses what an action gets, and when. A guard ([`Guard`]) keeps the obvious accidents from
//! it. The rules:
//!
//! - Each update is judged once, when it is observed, whatever its event. What was let through runs, is tried again and
//!   can be triggered again without being judged again, also by the next daemon; so is what the action succeeded with
//!   last.
//! - What run mode DISCARD ignores is not judged: it does not run anyway.
//! - A held update starts nothing, notifies nobody and takes no other's place: what runs or waits was good when it came.
//! - It stays held, over restarts too, until it is forced, the node changes or goes, or the definition changes. Another
//!   state of the node is judged by itself. Another definition judges anew, also what waits.
//! - Force is for what is held when it is asked for, and for nothing that comes later.
//! - `max_shrink` compares with what the action succeeded with last on this node, in whichever definition. If that is
//!   not known, it lets everything pass.
//!
//! So at rest the last content is the last that ran, or it is held.

use super::{Effect, Event, Seen, Update, Watch};
use crate::model::{Content, Guard, Share, Version};

/// Why an update is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// More than `max_data`.
    TooMuch { bytes: u64, limit: u64 },
    /// Which `not_empty` forbids.
    Empty,
    /// More than `max_shrink` below `applied_size`. Both as [`Content::amount`] has them.
    Shrunk { amount: u64, applied_size: u64, limit: Share },
    /// A former daemon held it, and knew more than this one.
    HeldBefore,
}

/// An update that is not run unless an operator wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub event: Event,
    pub version: Version,
    pub hold_reason: HoldReason,
}

impl Guard {
    /// What is suspicious about `content`, if anything, where the action succeeded with `applied_size` last.
    pub(super) fn hold_reason(&self, content: &Content, applied_size: Option<u64>) -> Option<HoldReason> {
        let Self { max_data, not_empty, max_shrink } = *self;
        if let Some(limit) = max_data
            && let bytes = content.bytes()
            && bytes > limit
        {
            return Some(HoldReason::TooMuch { bytes, limit });
        }
        let amount = content.amount();
        if not_empty && amount == 0 {
            return Some(HoldReason::Empty);
        }
        let (applied_size, limit) = applied_size.zip(max_shrink)?;
        let lost = applied_size.saturating_sub(amount);
        limit.is_exceeded_by(lost, applied_size).then_some(HoldReason::Shrunk { amount, applied_size, limit })
    }
}

impl Watch {
    /// What is held, if anything is.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_deref()
    }

    /// Lets an update through, or holds it.
    pub(super) fn check_guard(&mut self, mut update: Update, effects: &mut Vec<Effect>) -> Option<Update> {
        let before = self.held.take();
        let forced = self.forced.take();
        if let (Some(before), None) = (&before, forced) {
            update.event = update.event.replacing(before.event);
        }
        let is_this = |version: Version| version.is_same_state(update.version);
        let cleared = [forced, self.admitted, self.applied].into_iter().flatten().any(is_this);
        let still = || before.filter(|before| is_this(before.version)).map(|before| before.hold_reason);
        let hold_reason = self.policy.guard.hold_reason(&update.content, self.applied_size).or_else(still);
        match hold_reason.filter(|_| !cleared) {
            None => {
                self.admitted = Some(update.version);
                Some(update)
            }
            Some(hold_reason) => {
                self.hold(&update, hold_reason, effects);
                None
            }
        }
    }

    fn hold(
        &mut self,
        &Update { event, version, .. }: &Update,
        hold_reason: HoldReason,
        effects: &mut Vec<Effect>,
    ) {
        self.held = Some(Box::new(Held { event, version, hold_reason }));
        effects.push(Effect::Held { version, hold_reason });
    }

    /// Whether what an older definition let through may run in this one. If not, and it is what the node has, it is held.
    pub(super) fn passes_guard(&mut self, update: &Update, effects: &mut Vec<Effect>) -> bool {
        let is_this = |version: Version| version.is_same_state(update.version);
        if self.held().is_some_and(|held| is_this(held.version)) {
            return false;
        }
        // By this definition, where another run of it made it come in again.
        if self.admitted.is_some_and(is_this) {
            return true;
        }
        let is_there = matches!(self.seen, Some(Seen::Present(version)) if is_this(version));
        let hold_reason = self.policy.guard.hold_reason(&update.content, self.applied_size);
        match hold_reason {
            None if is_there => self.admitted = Some(update.version),
            Some(hold_reason) if is_there => self.hold(update, hold_reason, effects),
            None | Some(_) => {}
        }
        hold_reason.is_none()
    }

    /// Judges anew what a former definition let through or held, and has not run: what does not pass is owed.
    pub(super) fn recheck_guard(&mut self) {
        (self.forced, self.admitted) = (None, None);
        let held = self.held.take().map(|held| held.event);
        let newest = self.waiting.back().map(|waiting| (waiting.number, waiting.update.event));
        let (guard, applied_size) = (self.policy.guard, self.applied_size);
        self.waiting.retain(|waiting| guard.hold_reason(&waiting.update.content, applied_size).is_none());
        let last = self.waiting.back();
        self.admitted = last.map(|waiting| waiting.update.version);
        let lost = newest.filter(|(number, _)| last.is_none_or(|last| last.number != *number));
        self.interrupted = self.interrupted.or(held).or(lost.map(|(_, event)| event));
    }
}
