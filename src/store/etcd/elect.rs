//! Standing for a leadership with a key that has a lease.
//!
//! Who has created the oldest key below the node of the election leads, as in etcd's own recipe. The lease
//! outlives connections: one that is lost is made again, and the leadership rests meanwhile.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::{ATTEMPT_TIMEOUT, Cluster};
use super::keep_over::Over;
use super::keys::{KeyRange, Keys};
use super::lease::{Kept, Lease};
use super::link::{Duplex, Link};
use super::settings::EtcdSettings;
use super::wire::elements::{self, Reply};
use super::wire::frame::Frame;
use super::wire::messages::{
    AnyWatchRequest, Compare, Compared, PutRequest, RangeResponse, TxnRequest, TxnResponse, WatchCreate,
    WatchRequest, WatchResponse,
};
use crate::store::leadership::Candidacy;
use crate::store::login_source::LoginSource;
use crate::store::pace::Pace;

/// The longest reply or message: the keys of some hundred candidates with their names.
const MAX_REPLY: u64 = 1 << 20;

/// A connection or a lease that is lost sooner was of no use.
const MIN_USE: Duration = Duration::from_millis(100);

/// How long a server may take to revoke a lease.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the task of a candidate. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn elect(
    settings: EtcdSettings,
    candidacy: Candidacy,
    mut withdrawn: oneshot::Receiver<()>,
) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let keys = Keys::new(settings.url.prefix.clone());
        let mut cluster = Cluster::new(settings, LoginSource::Here);
        let session = cluster.session_timeout();
        let (mut pace, mut lease) = (Pace::new(), None);
        loop {
            let attempt = async {
                sleep_until(pace.next()).await;
                (Instant::now(), cluster.connect_next(session.min(ATTEMPT_TIMEOUT)).await)
            };
            let (began, connected) = tokio::select! {
                _ = &mut withdrawn => return,
                connected = attempt => connected,
            };
            let connection = match connected {
                Ok(connection) => connection,
                Err(failure) => {
                    candidacy.seat.trouble(format!("cannot connect to etcd: {}", failure.reason));
                    pace.failed(began);
                    continue;
                }
            };
            let (link, server, connected_at) = (connection.link, connection.server, Instant::now());
            let over = tokio::select! {
                _ = &mut withdrawn => {
                    if let Some(lease) = lease {
                        // Otherwise the lease expires.
                        let _ = timeout(CLOSE_TIMEOUT, Lease::revoke(lease, &link)).await;
                    }
                    return;
                }
                over = stand(&link, &keys, &candidacy, &mut lease, session) => over,
            };
            match over {
                Over::Lease | Over::Closed => {
                    lease = None;
                    candidacy.seat.leave();
                }
                // The next connection logs in again.
                Over::Login => candidacy.seat.leave(),
                Over::Refused(why) => candidacy.seat.trouble(format!(
                    "etcd {server} refuses to take part in the election at {}: {why}",
                    candidacy.path
                )),
                Over::Lost(why) => {
                    candidacy.seat.trouble(format!("the connection to etcd {server} was lost ({why})"));
                }
            }
            pace.ended(connected_at, connected_at.elapsed() >= MIN_USE);
        }
    })
}

/// Stands for the leadership until the connection or the lease ends.
async fn stand(
    link: &Link,
    keys: &Keys,
    candidacy: &Candidacy,
    lease: &mut Option<Lease>,
    session: Duration,
) -> Over {
    let stood = async {
        let opened = timeout(session, open_lease(link, lease, session)).await;
        let (lease, mut kept) = opened.map_err(|_| no_answer(session))??;
        let own = keys.key(&candidacy.path.child(&lease.name()));
        let (Some(own), Some(all)) = (own, keys.below(&candidacy.path)) else {
            return Err(Over::Refused("no key has this name".to_owned()));
        };
        let candidate = Candidate { link, lease, own, all, session };
        candidate.run(candidacy, &mut kept).await
    };
    match stood.await {
        Ok(()) => Over::Lease,
        Err(over) => over,
    }
}

/// Returns the lease of before, if it is still there, or a new one.
async fn open_lease(
    link: &Link,
    lease: &mut Option<Lease>,
    session: Duration,
) -> Result<(Lease, Kept), Over> {
    if let Some(lease) = *lease
        && let Some(kept) = Kept::begin(link, lease, session).await?
    {
        return Ok((lease, kept));
    }
    let granted = Lease::grant(link, session).await?;
    *lease = Some(granted);
    let kept = Kept::begin(link, granted, session).await?;
    kept.map(|kept| (granted, kept)).ok_or(Over::Lease)
}

struct Candidate<'a> {
    link: &'a Link,
    lease: Lease,
    own: Bytes,
    /// The keys of all candidates.
    all: KeyRange,
    session: Duration,
}

impl Candidate<'_> {
    async fn run(&self, candidacy: &Candidacy, kept: &mut Kept) -> Result<(), Over> {
        loop {
            self.put_own(&candidacy.name).await?;
            let found: RangeResponse = self.call("KV/Range", &self.all.clone().request()).await?;
            let revision = found.header.as_ref().map_or(0, |header| header.revision);
            let first = found.kvs.iter().min_by_key(|kv| kv.create_revision);
            let leads = first.is_some_and(|first| first.key == self.own);
            if !leads {
                candidacy.seat.follow();
            }
            let mut watch = self.link.stream("Watch/Watch", MAX_REPLY).map_err(Over::of)?;
            watch.send(&WatchRequest {
                request: Some(AnyWatchRequest::Create(WatchCreate {
                    key: self.all.first.clone(),
                    range_end: self.all.end.clone(),
                    start_revision: revision + 1,
                    watch: 1,
                    fragment: true,
                })),
            });
            loop {
                if leads {
                    candidacy.seat.lead(kept.confirmed(), self.lease.ttl());
                }
                let due = kept.due();
                tokio::select! {
                    changed = has_changed(&mut watch) => {
                        if changed? {
                            break;
                        }
                    }
                    answered = kept.next() => answered?,
                    () = sleep_until(due) => kept.tick(Instant::now())?,
                }
            }
        }
    }

    /// Creates our key, unless it is there.
    async fn put_own(&self, name: &str) -> Result<(), Over> {
        let value = Bytes::copy_from_slice(name.as_bytes());
        let put = PutRequest { key: self.own.clone(), value, lease: self.lease.id, ..Default::default() };
        let request = TxnRequest {
            compare: vec![Compare::equal(self.own.clone(), Compared::Version(0))],
            success: vec![put.into()],
            ..Default::default()
        };
        self.call::<TxnResponse>("KV/Txn", &request).await.map(drop)
    }

    async fn call<R: Reply>(&self, method: &str, request: &impl prost::Message) -> Result<R, Over> {
        let reply = timeout(self.session, self.link.call(method, request, MAX_REPLY)).await;
        reply.map_err(|_| no_answer(self.session))?.map_err(Over::of)
    }
}

fn no_answer(session: Duration) -> Over {
    Over::Lost(format!("no answer within {} s", session.as_secs_f64()))
}

/// Waits for the next message of a watch. Returns whether something has changed.
async fn has_changed(watch: &mut Duplex) -> Result<bool, Over> {
    let Frame::Whole(bytes) = watch.next().await.map_err(Over::of)? else { return Ok(true) };
    let response: WatchResponse = elements::read(bytes).map_err(|error| Over::Lost(error.to_string()))?;
    match response.canceled {
        // What was to be watched is compacted, or there is no right to it.
        true => Err(Over::Lost(format!("a watch was ended ({})", response.cancel_reason))),
        false => Ok(!response.events.is_empty()),
    }
}
