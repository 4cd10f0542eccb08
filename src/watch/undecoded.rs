//! The updates whose content is decoded before they may run (`decode`).
//!
//! A child of the daemon decodes, so the verdict on a content comes later, and the node may have changed
//! since. The rules:
//!
//! - An update is decoded after the guard let it pass. Until then it starts nothing, notifies no action, and
//!   replaces no update that waits to run.
//! - One content of a watch is decoded at a time. Meanwhile, a newer update replaces the one that waits to be
//!   decoded, if there is one. In PARALLEL, all are decoded in order.
//! - A verdict counts only for the content that the node has now: an older content neither runs nor is held.
//!   In PARALLEL, it runs all the same. A node that changes faster than its content can be decoded would
//!   never run, so in the other modes it also runs if the watch has waited for [`MAX_OUTDATED`].
//! - Faulty content is held. The node's next content is judged by itself, and no force helps.
//! - A deletion has nothing to decode. It takes its place behind what was there before.

use std::time::Duration;

use super::state::Life;
use super::waiting::{Undecoded, Waiting};
use super::{
    DecodingId, Effect, Event, Generator, HoldReason, MAX_WAITING, Seen, Time, Update, Verdict, Watch,
};

/// How long a watch waits for the verdict on content that the node still has, before outdated content counts.
/// A decoding takes a few milliseconds, and 10 s at most.
const MAX_OUTDATED: Duration = Duration::from_secs(20);

impl Watch {
    pub(super) fn needs_decoding(&self, update: &Update) -> bool {
        self.policy.decode.is_some() && update.event != Event::Deleted
    }

    /// Puts an update behind those that are not decoded yet.
    pub(super) fn await_decoding(&mut self, mut newer: Undecoded, effects: &mut Vec<Effect>) {
        let is_full = self.waiting.len() + self.undecoded.len() >= MAX_WAITING;
        let keeps_every = self.keeps_every_update();
        let Some(last) = self.undecoded.back_mut() else { return self.undecoded.push_back(newer) };
        if keeps_every {
            if is_full && last.decoding.is_none() {
                std::mem::swap(last, &mut newer);
                self.supersede(effects);
            } else {
                self.undecoded.push_back(newer);
            }
            return;
        }
        newer.replace(last);
        if last.update.version.is_same_state(newer.update.version) {
            newer.decoding = last.decoding;
            *last = newer;
        } else if last.decoding.is_some() {
            self.undecoded.push_back(newer);
        } else {
            *last = newer;
        }
    }

    /// Asks for the next decoding. One is open at a time.
    pub(super) fn ask_for_decoding(
        &mut self,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        let is_next = |next: &Undecoded| next.decoding.is_none();
        if self.life != Life::Active || !self.undecoded.front().is_some_and(is_next) {
            return;
        }
        self.pass_deletions(now, generator, effects);
        self.past.decodings += 1;
        let decoding = DecodingId(self.past.decodings);
        if let Some(next) = self.undecoded.front_mut() {
            next.decoding = Some(decoding);
            effects.push(Effect::Decode { decoding, content: next.update.content.clone() });
        }
    }

    /// Takes a verdict. It means nothing if its update is gone by now.
    pub(super) fn decoded(
        &mut self,
        decoding: DecodingId,
        verdict: Verdict,
        now: Time,
        generator: &mut Generator,
        effects: &mut Vec<Effect>,
    ) {
        let is_it = |first: &Undecoded| first.decoding == Some(decoding);
        // When the daemon stops, the next one decodes the content again.
        if self.life != Life::Active || !self.undecoded.front().is_some_and(is_it) {
            return;
        }
        let Some(mut first) = self.undecoded.pop_front() else { return };
        let is_present = matches!(self.seen, Some(Seen::Present(seen)) if {
            seen.is_same_state(first.update.version)
        });
        let is_overdue = now >= first.since + MAX_OUTDATED;
        // The same content may be asked for again.
        let is_last = is_present && self.undecoded.is_empty();
        match verdict {
            Verdict::Conforms(decoded) if is_present || is_overdue || self.keeps_every_update() => {
                first.update.decoded = Some(decoded);
                if let (false, Some(next)) = (is_present, self.undecoded.front_mut()) {
                    next.since = now;
                }
                self.pass(first.update, first.is_news, now, generator, effects);
            }
            Verdict::Faulty(why) if is_last => {
                self.hold(&first.update, HoldReason::Faulty(why), effects);
            }
            Verdict::Undecided(why) if is_last => {
                self.hold(&first.update, HoldReason::Undecided(why), effects);
            }
            Verdict::Conforms(_) | Verdict::Faulty(_) | Verdict::Undecided(_) => {
                if let Some(next) = self.undecoded.front_mut() {
                    next.replace(&first);
                }
            }
        }
    }

    fn pass_deletions(&mut self, now: Time, generator: &mut Generator, effects: &mut Vec<Effect>) {
        let is_deletion = |next: &Undecoded| next.update.event == Event::Deleted;
        while self.undecoded.front().is_some_and(is_deletion)
            && let Some(Undecoded { update, is_news, .. }) = self.undecoded.pop_front()
        {
            self.pass(update, is_news, now, generator, effects);
        }
    }

    /// Puts the updates that were not decoded under the former definition behind those that wait to run. The
    /// new definition treats all of them alike.
    pub(super) fn unite_undecoded(&mut self, now: Time) {
        if self.undecoded.is_empty() {
            return;
        }
        for Undecoded { update, since, .. } in self.undecoded.drain(..).collect::<Vec<_>>() {
            self.past.accepted += 1;
            let number = self.past.accepted;
            let (accepted_at, not_before) = (since, now);
            let (failures, starved) = (0, 0);
            self.waiting.push_back(Waiting {
                update,
                number,
                failures,
                starved,
                accepted_at,
                not_before,
                since: now,
            });
        }
    }

    /// Has all updates that wait decoded by the new definition, if it has `decode`.
    pub(super) fn decode_again(&mut self, now: Time) {
        if self.waiting.is_empty() {
            return;
        }
        self.waiting.iter_mut().for_each(|waiting| waiting.update.decoded = None);
        if self.policy.decode.is_some() {
            self.undecoded.extend(self.waiting.drain(..).map(|it| Undecoded::new(it.update, false, now)));
        }
    }
}
