//! Keeping members, whose keys have a lease of their own.
//!
//! The lease outlives connections: one that is lost is made again, and nothing is written if the lease is
//! still there. Otherwise a new one takes over the keys that the old one has left.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};

use super::connect::{ATTEMPT_TIMEOUT, Cluster, Connection};
use super::keep_over::Over;
use super::keys::Keys;
use super::lease::{Kept, Lease};
use super::link::Link;
use super::member_watches::MemberWatches;
use super::member_writes::{self, Answer, MemberKeys};
use super::settings::EtcdSettings;
use super::wire::elements;
use super::wire::frame::Frame;
use super::wire::messages::WatchResponse;
use crate::model::NodePath;
use crate::store::login_source::LoginSource;
use crate::store::member::{Closed, Desk, Effect, KeeperEnd, KeeperEvent};
use crate::store::pace::Pace;
use crate::sys::Alarm;

/// A connection or a lease that is lost sooner was of no use.
const MIN_USE: Duration = Duration::from_millis(100);

/// How many requests may be without a reply.
const MAX_REQUESTS: usize = 128;

/// How long a server may take to revoke a lease.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest message of a watch: the data of one node.
const MAX_MESSAGE: u64 = 4 << 20;

/// Starts the task that keeps members. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn keep(settings: EtcdSettings, login: LoginSource, end: KeeperEnd) {
    tokio::task::spawn_local(async move {
        let mut keeping = Keeping {
            keys: Keys::new(settings.url.prefix.clone()),
            cluster: Cluster::new(settings, login),
            lease: None,
            desk: Desk::new(end),
            is_new_login: false,
        };
        let Err(Closed) = keeping.run().await;
    });
}

struct Keeping {
    cluster: Cluster,
    keys: Keys,
    /// The present lease, which may be gone.
    lease: Option<Lease>,
    desk: Desk,
    /// Whether the next connection only renews the login.
    is_new_login: bool,
}

impl Keeping {
    async fn run(&mut self) -> Result<Infallible, Closed> {
        let mut pace = Pace::new();
        let attempt_timeout = self.cluster.session_timeout().min(ATTEMPT_TIMEOUT);
        loop {
            let connection = loop {
                self.desk.until(pace.next()).await?;
                let started = Instant::now();
                match self.desk.during(self.cluster.connect_next(attempt_timeout)).await? {
                    Ok(connection) => break connection,
                    Err(failure) => {
                        self.desk
                            .away(format!("cannot connect to etcd: {}", failure.reason), failure.permanent);
                        pace.failed(started);
                    }
                }
            };
            let connected_at = Instant::now();
            let server = connection.server.clone();
            let over = self.serve(connection).await;
            self.desk.presence.lost();
            let is_old = connected_at.elapsed() >= MIN_USE;
            self.is_new_login = matches!(over, Over::Login) && is_old;
            match over {
                Over::Closed => return Err(Closed),
                Over::Login if is_old => {}
                Over::Login => {
                    self.desk.away(format!("etcd {server} does not accept the login that it gave"), true);
                }
                Over::Refused(reason) => {
                    self.desk.away(format!("etcd {server} gives no lease: {reason}"), true)
                }
                Over::Lost(reason) => {
                    self.desk.away(format!("the connection to etcd {server} was lost ({reason})"), false);
                }
                Over::Lease => {
                    self.desk.away(format!("etcd {server} loses each lease that it gives"), false);
                }
            }
            pace.ended(connected_at, connected_at.elapsed() >= MIN_USE);
        }
    }

    /// Keeps the members until the connection ends, with one lease after the other.
    async fn serve(&mut self, connection: Connection) -> Over {
        let Connection { link, server, member, .. } = connection;
        let member = if member == 0 { String::new() } else { format!(", member {member:x}") };
        let what = format!("etcd {server}{}{member}", self.cluster.auth_summary());
        loop {
            let (lease, kept) = match self.open_lease(&link).await {
                Ok(opened) => opened,
                Err(over) => return over,
            };
            let opened_at = Instant::now();
            self.desk.is_back();
            if !std::mem::take(&mut self.is_new_login) {
                self.desk.tell(KeeperEvent::Connected { what: format!("{what}, lease {}", lease.name()) });
            }
            self.desk.presence.opened(lease.name(), opened_at);
            let over = self.exchange(&link, kept).await;
            match over {
                Over::Lease => {
                    (self.lease, self.is_new_login) = (None, true);
                    self.desk.presence.lost();
                    if opened_at.elapsed() < MIN_USE {
                        return Over::Lease;
                    }
                }
                Over::Closed => {
                    let revoked = lease.revoke(&link);
                    // Otherwise the lease expires.
                    let _ = timeout(CLOSE_TIMEOUT, revoked).await;
                    return Over::Closed;
                }
                over => return over,
            }
        }
    }

    /// Returns the lease of before, if it is still there, or a new one.
    async fn open_lease(&mut self, link: &Link) -> Result<(Lease, Kept), Over> {
        let wait = self.cluster.session_timeout();
        let opening = async {
            if let Some(lease) = self.lease
                && let Some(kept) = Kept::begin(link, lease, wait).await?
            {
                return Ok((lease, kept));
            }
            let lease = Lease::grant(link, wait).await?;
            self.lease = Some(lease);
            let kept = Kept::begin(link, lease, wait).await?;
            kept.map(|kept| (lease, kept)).ok_or(Over::Lease)
        };
        match timeout(wait, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Over::Lost(format!("no answer within {} s", wait.as_secs_f64()))),
        }
    }

    /// Performs what is to be done until the connection or the lease ends, or there are no more orders.
    async fn exchange(&mut self, link: &Link, mut kept: Kept) -> Over {
        let wait = self.cluster.session_timeout();
        let lease = kept.lease();
        let mut watches = match link.stream("Watch/Watch", MAX_MESSAGE) {
            Ok(stream) => MemberWatches::new(stream),
            Err(error) => return Over::of(error),
        };
        let mut answers = FuturesUnordered::<Pin<Box<dyn Future<Output = Answer>>>>::new();
        let mut alarm = Alarm::start();
        loop {
            let now = Instant::now();
            self.desk.presence.tick(now);
            if let Err(over) = kept.tick(now) {
                return over;
            }
            while answers.len() < MAX_REQUESTS
                && let Some(effect) = self.desk.presence.next_effect()
            {
                match effect {
                    Effect::Read { path, is_fresh: _ } => {
                        let key = self.keys.key(&path);
                        answers.push(Box::pin(member_writes::read(link, key, path, wait)));
                    }
                    Effect::Write { path, write } => {
                        let keys = self.member_keys(&path);
                        answers.push(Box::pin(member_writes::write(link, lease, keys, path, write, wait)));
                    }
                }
            }
            self.desk.tell_all();
            let due = self.desk.presence.due().into_iter().chain([kept.due()]).min();
            tokio::select! {
                order = self.desk.order() => {
                    if self.desk.take(order).is_err() {
                        return Over::Closed;
                    }
                }
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    if let Err(over) = self.answered(answer, &mut watches) {
                        return over;
                    }
                }
                frame = watches.next() => match frame {
                    Ok(frame) => {
                        if let Err(reason) = self.heard(frame, &watches) {
                            return Over::Lost(reason);
                        }
                    }
                    Err(error) => return Over::of(error),
                },
                heard = kept.next() => {
                    if let Err(over) = heard {
                        return over;
                    }
                }
                () = alarm.until(due.unwrap_or(now)), if due.is_some() => {}
            }
        }
    }

    fn member_keys(&self, member: &NodePath) -> MemberKeys {
        let service = member.parent().map(NodePath::unchecked).filter(|service| !Keys::is_row(service));
        let service = service.and_then(|service| self.keys.key(&service));
        MemberKeys { own: self.keys.key(member), service }
    }

    fn answered(&mut self, answer: Answer, watches: &mut MemberWatches) -> Result<(), Over> {
        let now = Instant::now();
        match answer {
            Answer::Read(path, found) => {
                let found = found?;
                if let Ok((_, key, revision)) = &found {
                    watches.watch(&path, key, *revision);
                }
                self.desk.presence.read(&path, found.map(|(found, _, _)| found), now);
            }
            Answer::Wrote { path, is_deletion, wrote } => {
                let wrote = wrote?;
                if is_deletion {
                    watches.cancel(&path);
                }
                self.desk.presence.wrote(&path, wrote, now);
            }
        }
        Ok(())
    }

    fn heard(&mut self, frame: Frame, watches: &MemberWatches) -> Result<(), String> {
        let Frame::Whole(bytes) = frame else {
            return Err("a change of a member is too large".to_owned());
        };
        let response: WatchResponse = elements::read(bytes).map_err(|error| error.to_string())?;
        if response.canceled && watches.path(response.watch).is_some() {
            return Err(format!("a watch was ended ({})", response.cancel_reason));
        }
        if response.canceled && response.watch < 0 {
            return Err(format!("a watch was refused ({})", response.cancel_reason));
        }
        if !response.events.is_empty()
            && let Some(path) = watches.path(response.watch)
        {
            self.desk.presence.changed(path);
        }
        Ok(())
    }
}
