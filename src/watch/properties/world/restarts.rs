//! What happens to the watch when its daemon ends and the next one starts.

use super::*;

impl World {
    pub(super) fn crash(&mut self, survivors: u8) {
        // Updates of older daemons have run again, or are about to.
        if self.live.values().any(|live| !live.orphan) {
            // The updates of these runs must run again.
            (self.last_run, self.discarded) = (None, None);
        }
        let live = std::mem::take(&mut self.live).into_values().enumerate();
        let survive = live.filter(|(n, _)| survivors >> (n % 8) & 1 == 1);
        let survive: Vec<_> = survive.map(|(_, live)| live).collect();
        // The next daemon has its own ids.
        self.live = survive
            .into_iter()
            .zip(u64::MAX / 2..)
            .map(|(live, id)| (RunId(id), Live { orphan: true, terminated: None, killed: false, ..live }))
            .collect();
        self.start_again();
        // What the ledger did not know may run once more.
        self.retrying = true;
    }

    /// Starts another daemon from what the ledger knows.
    pub(super) fn start_again(&mut self) {
        self.watch = Watch::unloaded();
        (self.decoding, self.decoded) = (VecDeque::new(), None);
        (self.asks, self.paused) = (false, false);
        let orphans = std::mem::take(&mut self.live);
        let same_definition = orphans.values().all(|live| live.definition == self.definition);
        for (_, orphan) in orphans {
            let (spawned, executed, timeout) = (self.now, Some(self.now), self.policy.timeout);
            let id = self.watch.adopt(timeout.map(|timeout| self.now + timeout), &mut self.generator);
            self.ever.insert(id);
            self.live.insert(id, Live { spawned, executed, timeout, ..orphan });
        }
        self.last_start = None;
        if self.retired {
            return;
        }
        let snapshot = self.recalled();
        self.paused = snapshot.pause.is_some();
        self.pause_ends = snapshot.pause.as_ref().and_then(|pause| pause.ends);
        // A success that the ledger does not know of is lost.
        self.applied = snapshot.applied.map(|version| (RunId(0), version));
        self.applied_size = snapshot.applied_size.map(|bytes| (RunId(0), Some(bytes)));
        (self.asked, self.deletion_told) = (true, false);
        self.deleted_unrun &= self.policy.run_on_load == RunOnLoad::Never || !self.is_given_content();
        let revisions =
            |version: Option<Version>| version.map(|version| version.revision).into_iter().collect();
        self.passed = revisions(snapshot.admitted);
        self.held = revisions(snapshot.held.filter(|held| snapshot.admitted != Some(*held)));
        let is_same = (self.noted.definition, self.noted.subject) == (self.definition, self.subject);
        self.cleared = if is_same { self.noted.cleared.clone() } else { BTreeSet::new() };
        self.said = BTreeSet::new();
        self.first_state |= snapshot.seen.is_none();
        self.retrying |= snapshot.pending.is_some();
        self.stopped = snapshot.stopped;
        self.feed(Input::Loaded { policy: self.policy.clone().into(), snapshot, same_definition });
    }

    fn recalled(&self) -> Snapshot {
        let Noted { definition, subject, snapshot, begun, .. } = &self.noted;
        let record = Record {
            snapshot: snapshot.clone(),
            same_subject: *subject == self.subject,
            same_definition: *definition == self.definition,
        };
        let interrupted = begun.filter(|subject| *subject == self.subject).map(|_| Event::Changed);
        let recovery = Recovery { record: Some(record), interrupted, record_lost: false };
        recovery.snapshot(self.now, calendar(self.now))
    }
}
