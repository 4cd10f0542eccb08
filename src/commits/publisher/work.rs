//! What a publisher does while it is connected: it publishes the keys that wait, and goes over all of them
//! when it is time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::event::PublisherEvent;
use super::pause::{gauss, pause};
use super::run::Run;
use crate::commits::journal::JournalError;
use crate::commits::keeper::{BATCH_BYTES, Head, Keeper, newest};
use crate::store::{ClientError, Election};

/// How many waiting keys are published together.
const BATCH: usize = 256;

/// How long a key rests that cannot be published. The contract has an unreadable node tried again this often.
const KEY_RETRY: Duration = Duration::from_secs(30);

impl Run {
    /// Does all that is to be done now.
    pub(super) async fn work(
        &mut self,
        keeper: &Keeper,
        election: &Election,
        was_useful: &mut bool,
    ) -> Result<(), ClientError> {
        let is_connected = self.shared.state().connected;
        if !is_connected {
            keeper.probe().await?;
            {
                let mut state = self.shared.state();
                (state.connected, state.away) = (true, None);
            }
            self.tell(PublisherEvent::Connected { store: self.settings.store.to_string() });
        }
        loop {
            self.note_leadership(election);
            let did_publish = self.publish_waiting(keeper).await?;
            *was_useful = true;
            let now = Instant::now();
            if !self.journal_is_resting(now) {
                let overflow = self.shared.waiting().overflow();
                if overflow.is_some() {
                    self.go_over_all(keeper, None, overflow).await?;
                } else if self.was_leader && election.leads() && self.next_round <= now {
                    let random = gauss(fastrand::f64(), fastrand::f64());
                    self.next_round = now + pause(self.settings.period, random);
                    self.go_over_all(keeper, Some(election), None).await?;
                }
            }
            if !did_publish || self.shared.is_stopping() {
                return Ok(());
            }
        }
    }

    /// Publishes keys that wait. Returns whether there may be more.
    pub(super) async fn publish_waiting(&mut self, keeper: &Keeper) -> Result<bool, ClientError> {
        let now = Instant::now();
        if self.journal_is_resting(now) {
            return Ok(false);
        }
        let due = self.shared.waiting().due(now, BATCH);
        if due.is_empty() {
            return Ok(false);
        }
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let (mut waiters, mut heads, mut bytes) = (Vec::new(), Vec::<Head>::new(), 0);
            while bytes < BATCH_BYTES
                && let Some(waiter) = due.next()
            {
                match newest(&*self.journal, &waiter.key).await {
                    Ok(found) => {
                        bytes += found.as_ref().map_or(0, |head| head.commit.payload.len());
                        heads.extend(found);
                    }
                    Err(JournalError::Corrupt(corrupt)) => {
                        self.trouble(&corrupt.key, &corrupt.to_string());
                        self.shared.waiting().failed(&waiter, Instant::now() + KEY_RETRY);
                        continue;
                    }
                    Err(error) => {
                        self.journal_failed(&error);
                        return Ok(false);
                    }
                }
                waiters.push(waiter);
            }
            let mut all = Vec::with_capacity(heads.len());
            let journal = Arc::clone(&self.journal);
            let settled = keeper.settle(&*journal, heads, true, &mut |settled| all.push(settled)).await;
            let failed = self.take_in(&all);
            match settled {
                Ok(()) => {
                    self.journal_is_back();
                    let retry = Instant::now() + KEY_RETRY;
                    let mut waiting = self.shared.waiting();
                    for waiter in &waiters {
                        match failed.contains(waiter.key.as_str()) {
                            true => waiting.failed(waiter, retry),
                            false => waiting.settled(waiter),
                        }
                    }
                }
                Err(error) => {
                    self.failed(error)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
