//! Following one znode on one session.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error, OneshotWatcher, Stat};

use super::audit::Audit;
use crate::model::{NodeContent, NodeFacet, NodePath, NodeSubject, Version, children};
use crate::store::StoreEvent;
use crate::store::backoff::{Backoff, jittered};
use crate::store::observation::Observation;
use crate::store::tree::router::EventSender;

/// How often a node is compared with what was last sent, at the latest. Watches that a living session loses
/// are rare, but there are some: a server tells nobody of a change to a node that its watcher may not read at
/// that moment, and forgets the watch all the same (ZooKeeper 3.8.4, and Debian's 3.8.0 since it was patched
/// alike).
const RESYNC: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(300);

/// How many nodes a second are compared, as far as [`RESYNC`] leaves the choice: nothing to a server, even
/// where a hundred hosts do it.
const RESYNC_RATE: u32 = 10;

/// The pauses before a node that could not be read is tried again: short at first, because most failures
/// pass, and at most what the contract promises.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

/// What the tasks of one session share.
pub(super) struct Session {
    /// Weak, so that a task that only waits for its watch does not keep the session open.
    pub(super) client: Weak<Client>,
    pub(super) events: EventSender,
    pub(super) audit: Rc<Audit>,
    /// How long a request may take: after that the session would have expired.
    request_timeout: Duration,
    /// Whether a node has been read.
    pub(super) has_read_node: Cell<bool>,
    /// How many nodes are followed.
    pub(super) nodes: Cell<u32>,
}

impl Session {
    pub(super) fn new(client: &Rc<Client>, events: EventSender, audit: Rc<Audit>) -> Self {
        let request_timeout = client.session_timeout();
        Self {
            client: Rc::downgrade(client),
            events,
            audit,
            request_timeout,
            has_read_node: Cell::new(false),
            nodes: Cell::new(0),
        }
    }

    fn resync(&self) -> Duration {
        (Duration::from_secs(1) * self.nodes.get() / RESYNC_RATE).clamp(*RESYNC.start(), *RESYNC.end())
    }

    pub(super) async fn with_timeout<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ReadError> {
        match timeout(self.request_timeout, request).await {
            Ok(answer) => answer.map_err(ReadError::from),
            Err(_) => Err(ReadError::Transient(format!(
                "no answer within {:.1} s",
                self.request_timeout.as_secs_f64()
            ))),
        }
    }
}

/// Why a znode could not be read.
pub(super) enum ReadError {
    NoNode,
    /// Not this node's trouble: the whole session is replaced.
    SessionOver,
    /// May be gone at the next try, so it is worth mentioning only when it is not.
    Transient(String),
    /// Somebody has to do something about it.
    Refused(String),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoNode => Self::NoNode,
            Error::SessionExpired | Error::SessionMoved | Error::ClientClosed | Error::AuthFailed => {
                Self::SessionOver
            }
            Error::NoAuth => Self::Refused("no permission to read it; check its ACL and `auth`".to_owned()),
            Error::BadArguments(_) => Self::Refused(format!("the server takes no such path ({error})")),
            // Requests of a cut connection end in `Custom`, codes the crate does not know in
            // `UnexpectedErrorCode`; the enum is open, so what comes later is tried again as well.
            error => Self::Transient(error.to_string()),
        }
    }
}

/// A state, and the watch that tells of the next one.
struct WatchedState {
    observation: Observation,
    /// What a stat of this state gives; `None` where the znode is absent.
    version: Option<Version>,
    watch: OneshotWatcher,
}

/// The session is over, or nobody listens any more: nothing is left to do.
struct SessionOver;

enum Wake {
    /// The znode changed, or a fresh read was asked for.
    Read,
    /// The znode changed, and the watch did not say so.
    MissedChange,
}

/// A subject on its way through one session.
pub(super) struct NodeTask {
    pub(super) session: Rc<Session>,
    pub(super) subject: NodeSubject,
    /// The subject's path below the chroot.
    pub(super) path: NodePath,
    /// Asks for a fresh read.
    pub(super) refresh: Rc<Notify>,
}

impl NodeTask {
    /// Sends the state now and after each change, until the session is over.
    #[allow(
        clippy::manual_async_fn,
        reason = "an `async fn` would hold the node twice, and there may be ten thousand"
    )]
    pub(super) fn follow(self) -> impl Future<Output = ()> {
        async move {
            let Err(SessionOver) = self.follow_while_possible().await;
        }
    }

    async fn follow_while_possible(&self) -> Result<Infallible, SessionOver> {
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        let mut failures = 0;
        let mut said = false;
        // A watch is dropped only after the next one is set: taking the last watch of a path back from the
        // server could cross with setting it again.
        let mut watch: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
        loop {
            // First room for the state, then the read: what waits for a slow listener is not read yet.
            let slot = self.session.events.reserve().await.map_err(|_| SessionOver)?;
            // Boxed, because the wait below it lasts for days and should not hold the space of a read.
            let failure = match Box::pin(self.read_and_watch()).await {
                Ok(WatchedState { observation, version, watch: set }) => {
                    (failures, said) = (0, false);
                    backoff.reset();
                    self.session.has_read_node.set(true);
                    // What the nodes below are called is data, and none of it goes into a log.
                    if version.is_some() && self.session.events.is_wanted(&self.subject) {
                        self.session.audit.note(&self.subject);
                    }
                    slot.report(self.subject.clone(), observation);
                    let changed = watch.insert(Box::pin(set.changed().map(|_| ())));
                    let wake = self.wait(version, changed.as_mut()).await?;
                    self.session.events.outdated(&self.subject);
                    match wake {
                        Wake::Read => {}
                        Wake::MissedChange => {
                            let event = StoreEvent::MissedChange { subject: self.subject.clone().into() };
                            self.session.events.send(event).await.map_err(|_| SessionOver)?;
                        }
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            failures += 1;
            let reason = match failure {
                ReadError::SessionOver => return Err(SessionOver),
                ReadError::NoNode => None,
                ReadError::Transient(reason) => Some(reason).filter(|_| failures > 1),
                ReadError::Refused(reason) => Some(reason),
            };
            match reason {
                Some(reason) if !said => {
                    said = true;
                    slot.report(self.subject.clone(), Observation::Unreadable(reason));
                }
                Some(_) | None => drop(slot),
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                // Whoever asks is told, also what was said before.
                () = self.refresh.notified() => said = false,
            }
        }
    }

    async fn read_and_watch(&self) -> Result<WatchedState, ReadError> {
        let Self { session, path, subject, .. } = self;
        let (path, facet) = (path.as_str(), subject.facet);
        let client = session.client.upgrade().ok_or(ReadError::SessionOver)?;
        let mut _crossed;
        loop {
            let read = match facet {
                NodeFacet::Data => session
                    .with_timeout(client.get_and_watch_data(path))
                    .await
                    .map(|(data, stat, watch)| (NodeContent::Data(data.into()), stat, watch)),
                NodeFacet::Children => session
                    .with_timeout(client.get_and_watch_children(path))
                    .await
                    .map(|(names, stat, watch)| (NodeContent::Children(children(names).into()), stat, watch)),
            };
            match read {
                Ok((content, stat, watch)) => {
                    let version = version(&stat, facet);
                    let observation = Observation::Present { version, content };
                    return Ok(WatchedState { observation, version: Some(version), watch });
                }
                Err(ReadError::NoNode) => {}
                Err(failure) => return Err(failure),
            }
            match session.with_timeout(client.check_and_watch_stat(path)).await? {
                (None, watch) => {
                    return Ok(WatchedState { observation: Observation::Absent, version: None, watch });
                }
                // Created in between. Its watch is kept until the next one is set.
                (Some(_), watch) => _crossed = watch,
            }
        }
    }

    async fn wait(
        &self,
        version: Option<Version>,
        mut changed: Pin<&mut (dyn Future<Output = ()> + 'static)>,
    ) -> Result<Wake, SessionOver> {
        loop {
            tokio::select! {
                () = &mut changed => return Ok(Wake::Read),
                () = self.refresh.notified() => return Ok(Wake::Read),
                () = sleep(jittered(self.session.resync())) => {}
            }
            match Box::pin(self.stat()).await {
                Ok(now) if now == version => {}
                // The server notifies before it answers, so a watch that works has spoken by now.
                Ok(_) => {
                    return Ok(if changed.now_or_never().is_some() {
                        Wake::Read
                    } else {
                        Wake::MissedChange
                    });
                }
                Err(ReadError::SessionOver) => return Err(SessionOver),
                // The watch still stands, and the next look is not far.
                Err(ReadError::NoNode | ReadError::Transient(_) | ReadError::Refused(_)) => {}
            }
        }
    }

    async fn stat(&self) -> Result<Option<Version>, ReadError> {
        let client = self.session.client.upgrade().ok_or(ReadError::SessionOver)?;
        let stat = self.session.with_timeout(client.check_stat(self.path.as_str())).await?;
        Ok(stat.map(|stat| version(&stat, self.subject.facet)))
    }
}

fn version(stat: &Stat, facet: NodeFacet) -> Version {
    let incarnation = transaction_id(stat.czxid, stat.ctime);
    match facet {
        NodeFacet::Data => Version {
            incarnation,
            revision: transaction_id(stat.mzxid, stat.mtime),
            number: stat.version.into(),
        },
        NodeFacet::Children => Version { incarnation, revision: stat.pzxid, number: stat.cversion.into() },
    }
}

/// A transaction by its id and its time in milliseconds. The id alone tells transactions of one history
/// apart, but not those of a server that was wiped and filled again in the same order.
fn transaction_id(zxid: i64, at: i64) -> i64 {
    // Both count from below, so the time goes where the id has its epoch, which is small.
    zxid ^ at.rotate_left(22)
}
