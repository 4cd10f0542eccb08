//! Where a keeper takes its orders and tells its events, whatever the kind of store.

use std::future::Future;
use std::pin::pin;

use tokio::time::{Instant, sleep_until};

use super::end::KeeperEnd;
use super::message::{KeeperEvent, KeeperOrder};
use super::presence::Presence;
use crate::store::outage::Outage;

/// There are no more orders.
pub(in crate::store) struct Closed;

/// What is to be there, and what is told of it.
pub(in crate::store) struct Desk {
    end: KeeperEnd,
    pub(in crate::store) presence: Presence,
    outage: Outage,
}

impl Desk {
    pub(in crate::store) fn new(end: KeeperEnd) -> Self {
        Self { end, presence: Presence::default(), outage: Outage::default() }
    }

    /// Waits for an order. Nothing is lost if the caller stops waiting.
    pub(in crate::store) async fn order(&mut self) -> Option<KeeperOrder> {
        self.end.orders.recv().await
    }

    pub(in crate::store) fn take(&mut self, order: Option<KeeperOrder>) -> Result<(), Closed> {
        self.presence.take(order.ok_or(Closed)?, Instant::now());
        self.tell_all();
        Ok(())
    }

    /// Takes orders until the deadline.
    pub(in crate::store) async fn until(&mut self, deadline: Instant) -> Result<(), Closed> {
        self.during(sleep_until(deadline)).await
    }

    /// Takes orders until `work` is done.
    pub(in crate::store) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Closed> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                order = self.order() => self.take(order)?,
                done = &mut work => return Ok(done),
            }
        }
    }

    pub(in crate::store) fn tell(&self, event: KeeperEvent) {
        // Nobody listens to a keeper that is being closed.
        let _ = self.end.events.send(event);
    }

    /// Tells what the presence has to tell.
    pub(in crate::store) fn tell_all(&mut self) {
        while let Some(event) = self.presence.next_event() {
            self.tell(event);
        }
    }

    /// Tells of a connection that was lost, or not made, unless that is known.
    pub(in crate::store) fn away(&mut self, reason: String, permanent: bool) {
        if let Some(away) = self.outage.note(reason, permanent) {
            self.tell(away.into());
        }
    }

    /// Notes that there is a connection.
    pub(in crate::store) fn is_back(&mut self) {
        self.outage.ended();
    }
}
