//! A lease, and what keeps it alive.

use std::time::Duration;

use tokio::time::Instant;

use super::keep_over::Over;
use super::link::{Duplex, Link};
use super::wire::elements;
use super::wire::frame::Frame;
use super::wire::messages::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
    LeaseRevokeResponse,
};

/// The longest reply about a lease.
const MAX_REPLY: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: i64,
    /// How long it lives without being kept alive.
    ttl: Duration,
}

impl Lease {
    /// Asks for a lease that lives so long. It lives for whole seconds, and perhaps longer.
    pub(super) async fn grant(link: &Link, ttl: Duration) -> Result<Self, Over> {
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        let LeaseGrantResponse { id, ttl, error } =
            link.call("Lease/LeaseGrant", &request, MAX_REPLY).await.map_err(Over::of)?;
        match u64::try_from(ttl) {
            Ok(ttl @ 1..) if error.is_empty() && id != 0 => Ok(Self { id, ttl: Duration::from_secs(ttl) }),
            Ok(_) | Err(_) => Err(Over::Refused(error)),
        }
    }

    /// Ends the lease, with all that hangs on it.
    pub(super) async fn revoke(self, link: &Link) -> Result<LeaseRevokeResponse, Over> {
        let request = LeaseRevokeRequest { id: self.id };
        link.call("Lease/LeaseRevoke", &request, MAX_REPLY).await.map_err(Over::of)
    }

    /// Returns how long it lives without being kept alive.
    pub(super) fn ttl(self) -> Duration {
        self.ttl
    }

    /// Returns the lease as `etcdctl` shows it.
    pub(super) fn name(self) -> String {
        name(self.id)
    }
}

/// Returns a lease as `etcdctl` shows it.
pub(super) fn name(lease: i64) -> String {
    format!("{lease:x}")
}

/// A lease that is kept alive on one connection. A server that does not answer in time is lost, so that
/// another one can be asked before the lease ends.
pub(super) struct Kept {
    lease: Lease,
    stream: Duplex,
    /// How long an answer may take.
    patience: Duration,
    asked: Option<Instant>,
    next: Instant,
    /// When the last answered request was sent.
    confirmed: Instant,
}

impl Kept {
    /// Keeps a lease alive from now on. `None` if it is gone.
    pub(super) async fn begin(link: &Link, lease: Lease, session: Duration) -> Result<Option<Self>, Over> {
        let stream = link.stream("Lease/LeaseKeepAlive", MAX_REPLY).map_err(Over::of)?;
        let now = Instant::now();
        let mut kept = Self { lease, stream, patience: session / 2, asked: None, next: now, confirmed: now };
        kept.tick(now)?;
        match kept.next().await {
            Ok(()) => Ok(Some(kept)),
            Err(Over::Lease) => Ok(None),
            Err(over) => Err(over),
        }
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease
    }

    /// When the request was sent to which the server has answered last. It keeps the lease at least for its
    /// TTL from then on.
    pub(super) fn confirmed(&self) -> Instant {
        self.confirmed
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn due(&self) -> Instant {
        self.asked.map_or(self.next, |asked| asked + self.patience)
    }

    /// Keeps the lease alive if it is time. Fails if the last answer takes too long.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Over> {
        match self.asked {
            Some(asked) if asked + self.patience <= now => {
                Err(Over::Lost(format!("no answer within {} s", self.patience.as_secs_f64())))
            }
            Some(_) => Ok(()),
            None if self.next <= now => {
                self.stream.send(&LeaseKeepAliveRequest { id: self.lease.id });
                self.asked = Some(now);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Waits for the next answer. Fails if the lease is gone. Can be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<(), Over> {
        let Frame::Whole(bytes) = self.stream.next().await.map_err(Over::of)? else {
            return Err(Over::Lost("the answer about a lease is too long".to_owned()));
        };
        let LeaseKeepAliveResponse { ttl, .. } =
            elements::read(bytes).map_err(|error| Over::Lost(error.to_string()))?;
        if ttl <= 0 {
            return Err(Over::Lease);
        }
        let interval = self.lease.ttl / 3;
        self.confirmed = self.asked.unwrap_or(self.confirmed);
        (self.asked, self.next) = (None, Instant::now() + interval);
        Ok(())
    }
}
