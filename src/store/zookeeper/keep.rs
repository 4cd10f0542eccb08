//! Keeping members on a session of their own.
//!
//! A connection that is lost is made again with the same session as long as the server has it, so that a
//! server's restart moves no member. A new session replaces what an expired one has left.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use super::connect::{ATTEMPT_TIMEOUT, ConnectError, Connection, Ensemble};
use super::link::Link;
use super::protocol::{Ended, Incoming};
use super::requests::Requests;
use super::settings::ZooKeeperSettings;
use crate::model::NodePath;
use crate::store::backoff::Backoff;
use crate::store::login_source::LoginSource;
use crate::store::member::{KeeperEnd, KeeperEvent, KeeperOrder, Outage, Presence};
use crate::sys::Alarm;

/// The first and the longest time between the starts of two connection attempts.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The longest wait before the first attempt after a loss, so that not every host of the cluster meets a
/// restarted ensemble in the same millisecond.
const MAX_RECONNECT_JITTER: Duration = Duration::from_millis(500);

/// How late the session's timers may be while the server sends without a pause.
const MAX_TIMER_DELAY: Duration = Duration::from_secs(1);

/// There are no more orders.
struct Closed;

/// Starts the task that keeps members. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn keep(settings: ZooKeeperSettings, login: LoginSource, end: KeeperEnd) {
    tokio::task::spawn_local(async move {
        let mut keeping = Keeping {
            chroot: settings.url.chroot.clone(),
            ensemble: Ensemble::new(settings, login),
            presence: Presence::default(),
            orders: end.orders,
            events: end.events,
            outage: Outage::default(),
        };
        let Err(Closed) = keeping.run().await;
    });
}

struct Keeping {
    ensemble: Ensemble,
    chroot: NodePath,
    presence: Presence,
    orders: UnboundedReceiver<KeeperOrder>,
    events: UnboundedSender<KeeperEvent>,
    outage: Outage,
}

impl Keeping {
    async fn run(&mut self) -> Result<Infallible, Closed> {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        let mut attempt_at = Instant::now();
        loop {
            let connection = loop {
                self.until(attempt_at).await?;
                let started = Instant::now();
                match self.connect().await? {
                    Ok(connection) => break connection,
                    // A new session is asked for at once.
                    Err(failure) if failure.is_expired => attempt_at = started,
                    Err(failure) => {
                        let reason = format!("cannot connect to ZooKeeper: {}", failure.reason);
                        self.away(&reason, failure.permanent);
                        attempt_at = started + backoff.next();
                    }
                }
            };
            let connected_at = Instant::now();
            let (reason, was_useful) = self.serve(connection).await?;
            attempt_at = if was_useful || connected_at.elapsed() >= MAX_BACKOFF {
                backoff.reset();
                Instant::now() + MAX_RECONNECT_JITTER.mul_f64(fastrand::f64())
            } else {
                Instant::now() + backoff.next()
            };
            self.away(&reason, false);
        }
    }

    fn tell(&self, event: KeeperEvent) {
        // Nobody listens to a keeper that is being closed.
        let _ = self.events.send(event);
    }

    fn away(&mut self, reason: &str, permanent: bool) {
        if let Some(event) = self.outage.note(reason, permanent) {
            self.tell(event);
        }
    }

    fn take(&mut self, order: Option<KeeperOrder>) -> Result<(), Closed> {
        self.presence.take(order.ok_or(Closed)?, Instant::now());
        self.tell_all();
        Ok(())
    }

    fn tell_all(&mut self) {
        while let Some(event) = self.presence.next_event() {
            self.tell(event);
        }
    }

    /// Waits for `deadline` while taking orders.
    async fn until(&mut self, deadline: Instant) -> Result<(), Closed> {
        loop {
            tokio::select! {
                order = self.orders.recv() => self.take(order)?,
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    async fn connect(&mut self) -> Result<Result<Connection, ConnectError>, Closed> {
        let Self { ensemble, orders, presence, .. } = self;
        let attempt_timeout = ensemble.session_timeout().min(ATTEMPT_TIMEOUT);
        let mut connecting = pin!(ensemble.connect_next(attempt_timeout));
        loop {
            tokio::select! {
                order = orders.recv() => presence.take(order.ok_or(Closed)?, Instant::now()),
                connection = &mut connecting => return Ok(connection),
            }
        }
    }

    /// Keeps the members until the connection ends. Returns the reason, and whether the connection was of
    /// use.
    async fn serve(&mut self, connection: Connection) -> Result<(String, bool), Closed> {
        let Connection { mut link, protocol, greeting, server, .. } = connection;
        self.ensemble.resume(&greeting);
        self.outage.ended();
        let what = format!(
            "ZooKeeper {server}{}, session {:#x}, timeout {:.1} s",
            self.ensemble.auth_summary(),
            greeting.session,
            greeting.timeout.as_secs_f64(),
        );
        self.tell(KeeperEvent::Connected { what });
        self.presence.opened(super::requests::owner(greeting.session), Instant::now());
        let mut requests = Requests::new(protocol, self.chroot.clone());
        let ended = self.exchange(&mut link, &mut requests).await;
        let was_answered = requests.was_answered();
        let Err(ended) = ended else {
            link.close(requests.into_protocol()).await;
            return Err(Closed);
        };
        self.presence.lost();
        let was_useful = was_answered && !ended.is_violation();
        Ok((format!("the connection to ZooKeeper {server} was lost ({ended})"), was_useful))
    }

    /// Performs what is to be done until the session ends, which is an error, or there are no more orders.
    async fn exchange(&mut self, link: &mut Link, requests: &mut Requests) -> Result<(), Ended> {
        // Since when something is due, while the server sends without a pause.
        let mut overdue: Option<Instant> = None;
        let mut alarm = Alarm::start();
        loop {
            let now = Instant::now();
            self.presence.tick(now);
            while requests.has_room()
                && let Some(effect) = self.presence.next_effect()
            {
                requests.perform(effect, now);
            }
            self.tell_all();
            let session_due = requests.protocol().due(now);
            overdue = session_due.filter(|due| *due <= now).map(|_| overdue.unwrap_or(now));
            if overdue.is_some_and(|since| since + MAX_TIMER_DELAY <= now) {
                overdue = None;
                requests.protocol().tick(now)?;
            }
            let due = session_due.into_iter().chain(self.presence.due()).min();
            tokio::select! {
                biased;
                order = self.orders.recv() => {
                    if self.take(order).is_err() {
                        return Ok(());
                    }
                }
                incoming = link.next(requests.protocol()) => {
                    let mut incoming = Some(incoming?);
                    let now = Instant::now();
                    while let Some(one) = incoming {
                        self.hear(one, requests, now)?;
                        incoming = requests.protocol().next(now)?;
                    }
                }
                () = alarm.until(due.unwrap_or(now)), if due.is_some() => {
                    requests.protocol().tick(Instant::now())?;
                }
            }
        }
    }

    fn hear(&mut self, incoming: Incoming, requests: &mut Requests, now: Instant) -> Result<(), Ended> {
        match incoming {
            Incoming::Event(event) => {
                if let Some(path) = event.path.above(&self.chroot) {
                    self.presence.changed(&path);
                }
                Ok(())
            }
            Incoming::Auth(result) => result.map_err(Ended::Server),
            Incoming::Reply { result, .. } => requests.take_reply(result, &mut self.presence, now),
        }
    }
}
