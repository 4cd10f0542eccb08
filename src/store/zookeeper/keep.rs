//! Keeping members on a session of their own.
//!
//! A connection that is lost is made again with the same session as long as the server has it, so that a
//! server's restart moves no member. A new session replaces what an expired one has left.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::connect::{ATTEMPT_TIMEOUT, Connection, Ensemble};
use super::link::Link;
use super::protocol::{Ended, Incoming};
use super::requests::Requests;
use super::settings::ZooKeeperSettings;
use crate::model::NodePath;
use crate::store::login_source::LoginSource;
use crate::store::member::{Closed, Desk, KeeperEnd, KeeperEvent};
use crate::store::pace::Pace;
use crate::sys::Alarm;

/// How late the session's timers may be while the server sends without a pause.
const MAX_TIMER_DELAY: Duration = Duration::from_secs(1);

/// Starts the task that keeps members. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn keep(settings: ZooKeeperSettings, login: LoginSource, end: KeeperEnd) {
    tokio::task::spawn_local(async move {
        let mut keeping = Keeping {
            chroot: settings.url.chroot.clone(),
            ensemble: Ensemble::new(settings, login),
            desk: Desk::new(end),
        };
        let Err(Closed) = keeping.run().await;
    });
}

struct Keeping {
    ensemble: Ensemble,
    chroot: NodePath,
    desk: Desk,
}

impl Keeping {
    async fn run(&mut self) -> Result<Infallible, Closed> {
        let mut pace = Pace::new();
        let attempt_timeout = self.ensemble.session_timeout().min(ATTEMPT_TIMEOUT);
        loop {
            let connection = loop {
                self.desk.until(pace.next()).await?;
                let started = Instant::now();
                match self.desk.during(self.ensemble.connect_next(attempt_timeout)).await? {
                    Ok(connection) => break connection,
                    // A new session is asked for at once.
                    Err(failure) if failure.is_expired => {}
                    Err(failure) => {
                        let reason = format!("cannot connect to ZooKeeper: {}", failure.reason);
                        self.desk.away(reason, failure.permanent);
                        pace.failed(started);
                    }
                }
            };
            let connected_at = Instant::now();
            let (reason, was_useful) = self.serve(connection).await?;
            pace.ended(connected_at, was_useful);
            self.desk.away(reason, false);
        }
    }

    /// Keeps the members until the connection ends. Returns the reason, and whether the connection was of
    /// use.
    async fn serve(&mut self, connection: Connection) -> Result<(String, bool), Closed> {
        let Connection { mut link, protocol, greeting, server, .. } = connection;
        self.ensemble.resume(&greeting);
        self.desk.is_back();
        let what = format!(
            "ZooKeeper {server}{}, session {:#x}, timeout {:.1} s",
            self.ensemble.auth_summary(),
            greeting.session,
            greeting.timeout.as_secs_f64(),
        );
        self.desk.tell(KeeperEvent::Connected { what });
        self.desk.presence.opened(super::requests::owner(greeting.session), Instant::now());
        let mut requests = Requests::new(protocol, self.chroot.clone());
        let ended = self.exchange(&mut link, &mut requests).await;
        let was_answered = requests.was_answered();
        let Err(ended) = ended else {
            link.close(requests.into_protocol()).await;
            return Err(Closed);
        };
        self.desk.presence.lost();
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
            self.desk.presence.tick(now);
            while requests.has_room()
                && let Some(effect) = self.desk.presence.next_effect()
            {
                requests.perform(effect, now);
            }
            self.desk.tell_all();
            let session_due = requests.protocol().due(now);
            overdue = session_due.filter(|due| *due <= now).map(|_| overdue.unwrap_or(now));
            if overdue.is_some_and(|since| since + MAX_TIMER_DELAY <= now) {
                overdue = None;
                requests.protocol().tick(now)?;
            }
            let due = session_due.into_iter().chain(self.desk.presence.due()).min();
            tokio::select! {
                biased;
                order = self.desk.order() => {
                    if self.desk.take(order).is_err() {
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
                    self.desk.presence.changed(&path);
                }
                Ok(())
            }
            Incoming::Auth(result) => result.map_err(Ended::Server),
            Incoming::Reply { result, .. } => requests.take_reply(result, &mut self.desk.presence, now),
        }
    }
}
