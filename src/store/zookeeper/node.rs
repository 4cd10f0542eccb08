//! Following one node on one session.

use std::convert::Infallible;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::sleep;
use zookeeper_client::{OneshotWatcher, Stat};

use super::session::{ReadError, Session, SessionOver};
use crate::model::{NodeContent, NodeFacet, NodePath, NodeSubject, Version, children};
use crate::store::StoreEvent;
use crate::store::backend::Observation;
use crate::store::backoff::{Backoff, jittered};
use crate::store::tree::router::Slot;

/// The shortest and the longest time between two comparisons of a node with what was last reported of it. A
/// living session rarely loses a watch, but there are cases: if a node changes while its watcher may not read
/// it, the server announces nothing and forgets the watch all the same (ZooKeeper 3.8.4, and Debian's 3.8.0
/// since it has the same patch).
const RESYNC: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(300);

/// How many nodes are compared in a second, within the limits of [`RESYNC`]. This is no load for a server,
/// even where a hundred hosts do it.
const RESYNC_RATE: u32 = 10;

/// The pauses before a node that could not be read is tried again: short at first, because most failures
/// pass, and at most what the contract promises.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

/// What was read, and the watch that announces the next change.
struct WatchedState {
    observation: Observation,
    /// What a stat of this state gives; `None` where the node is absent.
    stamp: Option<Stamp>,
    watch: OneshotWatcher,
}

/// What a stat tells of a state of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    version: Version,
    /// How often the node's ACL was changed.
    acl_changes: i32,
}

/// Resolves when a watch fires.
type Changed = Pin<Box<dyn Future<Output = ()>>>;

/// The present series of failures to read a node.
struct Failures {
    count: u32,
    reported: bool,
    backoff: Backoff,
}

enum Wake {
    /// The node changed, or a fresh read was asked for.
    Read,
    /// The node changed, and the watch did not announce it, although it should have, if we may read the node.
    MissedChange,
}

/// Follows a subject on one session.
pub(super) struct NodeTask {
    pub(super) session: Rc<Session>,
    pub(super) subject: NodeSubject,
    /// The path that the server knows the node by.
    pub(super) path: NodePath,
    /// Asks for a fresh read.
    pub(super) refresh: Rc<Notify>,
}

impl NodeTask {
    /// Reports the state now and after each change, until the session is over.
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
        let mut failures =
            Failures { count: 0, reported: false, backoff: Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY) };
        // A watch is dropped only after the next one is set. Otherwise the request that takes the last watch
        // of a path back from the server could cross with the one that sets it again.
        let mut watch: Option<Changed> = None;
        let mut is_missed = false;
        loop {
            // There must be room for the report before the read, so that a slow daemon gets the latest state.
            let slot = self.session.events.reserve().await.map_err(|_| SessionOver)?;
            // Boxed and taken apart elsewhere, because the wait below lasts for days and should not hold the
            // space of a read.
            let read = Box::pin(self.read_and_watch()).await;
            let report = self.report(slot, read, &mut failures)?;
            let Some((stamp, changed)) = report else {
                // What the server does not tell for want of rights is no missed change.
                is_missed = false;
                tokio::select! {
                    () = sleep(failures.backoff.next()) => {}
                    // A refresh asks for a report even if the failure is known.
                    () = self.refresh.notified() => failures.reported = false,
                }
                continue;
            };
            if std::mem::take(&mut is_missed) {
                let event = StoreEvent::MissedChange { subject: self.subject.clone().into() };
                Box::pin(self.session.events.send(event)).await.map_err(|_| SessionOver)?;
            }
            let wake = self.wait(stamp, watch.insert(changed).as_mut()).await?;
            self.session.events.outdated(&self.subject);
            is_missed = match wake {
                Wake::Read => false,
                Wake::MissedChange => true,
            };
        }
    }

    /// Reports what was read. Returns its stamp and the wait for the next change, or `None` if the read
    /// failed.
    fn report(
        &self,
        slot: Slot<'_>,
        read: Result<WatchedState, ReadError>,
        failures: &mut Failures,
    ) -> Result<Option<(Option<Stamp>, Changed)>, SessionOver> {
        let failure = match read {
            Ok(WatchedState { observation, stamp, watch }) => {
                (failures.count, failures.reported) = (0, false);
                failures.backoff.reset();
                self.session.has_read_node.set(true);
                // The names of nodes that are only part of a tree are data, which goes into no log.
                if stamp.is_some() && self.session.events.is_wanted(&self.subject) {
                    self.session.audit.note(&self.subject);
                }
                slot.report(self.subject.clone(), observation);
                return Ok(Some((stamp, Box::pin(watch.changed().map(|_| ())))));
            }
            Err(failure) => failure,
        };
        failures.count += 1;
        let reason = match failure {
            ReadError::SessionOver => return Err(SessionOver),
            ReadError::NoNode => None,
            ReadError::Transient(reason) => Some(reason).filter(|_| failures.count > 1),
            ReadError::Refused(reason) => Some(reason),
        };
        if let Some(reason) = reason
            && !failures.reported
        {
            failures.reported = true;
            slot.report(self.subject.clone(), Observation::Unreadable(reason));
        }
        Ok(None)
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
                    let stamp = Stamp::of(&stat, facet);
                    let observation = Observation::Present { version: stamp.version, content };
                    return Ok(WatchedState { observation, stamp: Some(stamp), watch });
                }
                Err(ReadError::NoNode) => {}
                Err(failure) => return Err(failure),
            }
            match session.with_timeout(client.check_and_watch_stat(path)).await? {
                (None, watch) => {
                    return Ok(WatchedState { observation: Observation::Absent, stamp: None, watch });
                }
                // It was created in between. Its watch is kept until the next one is set.
                (Some(_), watch) => _crossed = watch,
            }
        }
    }

    async fn wait(
        &self,
        before: Option<Stamp>,
        mut changed: Pin<&mut (dyn Future<Output = ()> + 'static)>,
    ) -> Result<Wake, SessionOver> {
        loop {
            tokio::select! {
                () = &mut changed => return Ok(Wake::Read),
                () = self.refresh.notified() => return Ok(Wake::Read),
                () = sleep(jittered(self.resync())) => {}
            }
            match Box::pin(self.stat()).await {
                Ok(now) if now == before => {}
                Ok(now) => {
                    // The server announces a change before it answers, so a watch that works has fired
                    // by now.
                    let is_announced = changed.now_or_never().is_some();
                    let is_excused = is_announced || may_be_untold_for_want_of_rights(before, now);
                    return Ok(if is_excused { Wake::Read } else { Wake::MissedChange });
                }
                Err(ReadError::SessionOver) => return Err(SessionOver),
                // A server that refuses this may have forgotten the watch.
                Err(ReadError::Refused(_)) => return Ok(Wake::Read),
                // The watch is still set, and the next comparison is not far.
                Err(ReadError::NoNode | ReadError::Transient(_)) => {}
            }
        }
    }

    fn resync(&self) -> Duration {
        let all = Duration::from_secs(1) * self.session.nodes.get() / RESYNC_RATE;
        all.clamp(*RESYNC.start(), *RESYNC.end())
    }

    async fn stat(&self) -> Result<Option<Stamp>, ReadError> {
        let client = self.session.client.upgrade().ok_or(ReadError::SessionOver)?;
        let stat = self.session.with_timeout(client.check_stat(self.path.as_str())).await?;
        Ok(stat.map(|stat| Stamp::of(&stat, self.subject.facet)))
    }
}

impl Stamp {
    fn of(stat: &Stat, facet: NodeFacet) -> Self {
        Self { version: version(stat, facet), acl_changes: stat.aversion }
    }
}

/// Whether a change from `before` to `now` may have come at a time at which we could not read the node. Then
/// the server announces nothing, and forgets the watch (see [`RESYNC`]).
fn may_be_untold_for_want_of_rights(before: Option<Stamp>, now: Option<Stamp>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) if before.version.incarnation == now.version.incarnation => {
            before.acl_changes != now.acl_changes
        }
        // It may have been created without rights for us, and got them later.
        (_, Some(now)) => now.acl_changes > 0,
        // A node that is gone does not tell what its ACL was.
        (_, None) => true,
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

/// Makes one number of a transaction's id and its time in milliseconds. The id alone tells transactions of
/// one history apart, but not those of a server that was wiped and filled again in the same order.
fn transaction_id(zxid: i64, at: i64) -> i64 {
    // Both numbers vary in their low bits, so the time moves up to the bits of the id's epoch, which is
    // small.
    zxid ^ at.rotate_left(22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_excused_if_the_rights_may_have_been_missing() {
        let stamp = |incarnation, revision, acl_changes| {
            let version = Version { incarnation, revision, number: 0 };
            Some(Stamp { version, acl_changes })
        };
        for (what, before, now, is_excused) in [
            ("changed", stamp(1, 1, 0), stamp(1, 2, 0), false),
            ("created", None, stamp(1, 1, 0), false),
            ("created anew", stamp(1, 1, 3), stamp(2, 1, 0), false),
            ("changed, with its ACL", stamp(1, 1, 0), stamp(1, 2, 1), true),
            ("the ACL alone", stamp(1, 1, 0), stamp(1, 1, 1), true),
            ("created, and opened later", None, stamp(1, 1, 1), true),
            ("created anew, and opened later", stamp(1, 1, 1), stamp(2, 1, 1), true),
            ("deleted", stamp(1, 1, 0), None, true),
        ] {
            assert_eq!(may_be_untold_for_want_of_rights(before, now), is_excused, "{what}");
        }
    }
}
