//! What operators order, and what becomes of contents that are decoded.

use super::*;

impl World {
    pub(super) fn decode_next(&mut self) {
        let Some((decoding, size)) = self.decoding.pop_front() else { return };
        let verdict = match faulty_size(self.policy.decode) == size % 3 {
            true => Verdict::Faulty("no good".into()),
            false => Verdict::Conforms(Decoded { blob: [7].into(), commit: None }),
        };
        self.decoded = Some(decoding);
        self.feed(Input::Decoded { decoding, verdict });
    }

    /// Whether the content of this revision does not decode under the present definition.
    pub(in super::super) fn is_faulty(&self, revision: i64) -> bool {
        revision != Version::DELETION.revision && faulty_size(self.policy.decode) == self.bytes[&revision] % 3
    }

    pub(super) fn place(&mut self) {
        if std::mem::take(&mut self.asks) {
            self.feed(Input::MayStart);
        }
    }

    /// Pauses or resumes. The ledger knows of it before the operator gets a reply.
    pub(super) fn order(&mut self, input: Input, paused: bool) {
        self.paused = paused;
        self.feed(input);
        self.note();
    }

    pub(super) fn trigger(&mut self, force: bool) {
        if self.watch.answer(WatchCommand::Trigger { force }, false).is_err() {
            let before = self.watch.snapshot();
            self.feed(Input::Triggered { force });
            assert_eq!(self.watch.snapshot(), before, "a refused command changed something");
            return;
        }
        let held = self.watch.held().map(|held| held.version.revision);
        self.stopped &= held.is_some() && !force;
        if force && let Some(held) = held {
            self.passed.insert(held);
            self.cleared.insert(held);
            self.held.remove(&held);
            self.said.remove(&held);
        }
        self.asked = true;
        self.deletion_triggered |= self.node.is_none();
        self.feed(Input::Triggered { force });
        // The ledger knows of it before the operator gets a reply.
        if force {
            self.note();
        }
    }

    /// Whether the guard holds this revision.
    pub(in super::super) fn is_suspicious(&self, revision: i64) -> bool {
        let bytes = self.bytes[&revision];
        let Guard { max_data, not_empty, max_shrink } = self.policy.guard;
        let applied_size = self.applied_size.and_then(|(_, size)| size);
        if revision == Version::DELETION.revision && applied_size == Some(0) {
            return false;
        }
        let shrinks = |limit: Share| {
            applied_size.is_some_and(|last| {
                bytes < last && (last - bytes) as f64 > limit.percent() / 100.0 * last as f64 + 1e-9
            })
        };
        max_data.is_some_and(|limit| bytes > limit)
            || not_empty && bytes == 0
            || max_shrink.is_some_and(shrinks)
    }
}
