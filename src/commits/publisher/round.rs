//! A round: the publisher compares all keys of the journal with the store, and repairs what differs.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::event::PublisherEvent;
use super::run::Run;
use super::status::Round;
use crate::commits::keeper::{Comparison, Keeper, PublishError, Settled};
use crate::store::{ClientError, Election};

impl Run {
    /// Goes over all keys, as the leader if there is an election. What is saved meanwhile is published in
    /// between.
    pub(super) async fn go_over_all(
        &mut self,
        keeper: &Keeper,
        election: Option<&Election>,
        overflow: Option<u64>,
    ) -> Result<(), ClientError> {
        match self.compare(keeper, election, true).await {
            Ok(Some(_)) => {
                if let Some(save) = overflow {
                    self.shared.waiting().all_settled(save);
                }
            }
            // Somebody else leads now, or nobody waits for it any more.
            Ok(None) => {}
            Err(error) => {
                // Otherwise it is tried again every second, and what fails was told.
                if election.is_some() {
                    self.tell(PublisherEvent::RoundFailed { why: error.to_string() });
                }
                self.failed(error)?;
            }
        }
        Ok(())
    }

    /// Compares journal and store. Returns `None` if the leadership or the publisher has ended before it was
    /// done.
    pub(super) async fn compare(
        &mut self,
        keeper: &Keeper,
        election: Option<&Election>,
        repairs: bool,
    ) -> Result<Option<Comparison>, PublishError> {
        let began = Instant::now();
        let journal = Arc::clone(&self.journal);
        let mut sweep = keeper.sweep(&*journal, repairs).await?;
        let mut missing = 0;
        loop {
            if self.shared.is_stopping() || election.is_some_and(|election| !election.leads()) {
                return Ok(None);
            }
            let mut changed = Vec::new();
            let troubles = &self.troubles;
            let mut note = |settled: &Settled| {
                // There is nothing to tell of most keys.
                if settled.has_changed() || troubles.has(&settled.key) {
                    changed.push(settled.clone());
                }
            };
            let stepped = sweep.step(keeper, &*journal, &mut note).await;
            missing += changed.iter().filter(|settled| settled.was_missing()).count();
            self.take_in(&changed);
            if !stepped? {
                break;
            }
            self.publish_waiting(keeper).await?;
        }
        let mut comparison = sweep.into_comparison();
        self.journal_is_back();
        self.troubles.explain(&mut comparison.differences);
        let before = std::mem::replace(&mut self.strangers, comparison.strangers);
        if let Some(one) = comparison.stranger.clone().filter(|_| comparison.strangers != before) {
            self.tell(PublisherEvent::Strangers { nodes: comparison.strangers, one });
        }
        if missing > 0 {
            self.tell(PublisherEvent::Repaired { keys: missing as u64 });
        }
        let Comparison { checked, differing, repaired, .. } = comparison;
        let differing = differing - repaired;
        let round = Round { at: SystemTime::now(), duration: began.elapsed(), checked, repaired, differing };
        self.shared.state().last_round = Some(round);
        Ok(Some(comparison))
    }
}
