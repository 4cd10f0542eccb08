//! Following nodes on one session after another, each of them disposable.
//!
//! A session lives only as long as its connection. When that is lost, the session and its watches are
//! dropped, a new session is made, and every node is read again; the daemon compares versions. So nothing
//! depends on watches that are sent again, on what a client had already seen when the connection broke, or on
//! telling a change from its absence: a fresh read is the truth.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::mem;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::audit::Audit;
use super::chroot;
use super::connect::{ATTEMPT_TIMEOUT, ConnectError, Connection, Ensemble};
use super::link::Link;
use super::protocol::Ended;
use super::session::{Output, Session};
use super::settings::ZooKeeperSettings;
use super::table::Table;
use super::url::ZooKeeperUrl;
use super::window::Window;
use super::wire::ErrorCode;
use crate::store::backend::{Backend, NodeCommand, Observation};
use crate::store::channel::StoreEnd;
use crate::store::login_source::LoginSource;
use crate::store::memory;
use crate::store::outage::Outage;
use crate::store::pace::Pace;
use crate::store::root_check::RootCheck;
use crate::store::tree::router::{self, EventSender, NodeCommands, ReceiverDropped, Slot};
use crate::store::{Exposure, StoreEvent};
use crate::sys::Alarm;

/// How late the session's timers may be while the server sends without a pause.
const MAX_TIMER_DELAY: Duration = Duration::from_secs(1);

/// Starts the tasks that serve `end`. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn start(settings: ZooKeeperSettings, login: LoginSource, end: StoreEnd) {
    router::start(settings.capabilities(), end, |commands, events| run(settings, login, commands, events));
}

/// Follows nodes until there are no more commands, or nobody receives the events.
async fn run(settings: ZooKeeperSettings, login: LoginSource, commands: NodeCommands, events: EventSender) {
    let mut manager = SessionManager {
        chroot: chroot::check(&settings.url.chroot, Instant::now()),
        url: settings.url.clone(),
        ensemble: Ensemble::new(settings, login),
        audit: Audit::new(Instant::now()),
        window: Window::new(),
        commands,
        events,
        table: Table::new(Instant::now()),
        outage: Outage::default(),
        plaintext_reported: false,
    };
    let Err(ReceiverDropped) = manager.run_sessions().await;
}

struct SessionManager {
    ensemble: Ensemble,
    url: ZooKeeperUrl,
    commands: NodeCommands,
    events: EventSender,
    /// The nodes that are followed, while there is no session.
    table: Table,
    outage: Outage,
    audit: Audit,
    chroot: RootCheck,
    window: Window,
    /// Whether it was reported that the connection is not encrypted.
    plaintext_reported: bool,
}

impl SessionManager {
    async fn run_sessions(&mut self) -> Result<Infallible, ReceiverDropped> {
        let mut pace = Pace::new();
        loop {
            let connection = loop {
                self.until(pace.next()).await?;
                let started = Instant::now();
                match self.connect().await? {
                    Ok(connection) => break connection,
                    Err(failure) => {
                        let reason = format!("cannot connect to ZooKeeper: {}", failure.reason);
                        self.away(reason, failure.permanent).await?;
                    }
                }
                pace.failed(started);
            };
            let connected_at = Instant::now();
            let ended = self.serve(connection).await?;
            pace.ended(connected_at, ended.was_useful);
            self.away(ended.reason, false).await?;
        }
    }

    /// Waits for `deadline` while taking commands.
    async fn until(&mut self, deadline: Instant) -> Result<(), ReceiverDropped> {
        loop {
            tokio::select! {
                command = self.commands.recv() => drop(self.table.take(command.ok_or(ReceiverDropped)?)),
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    async fn connect(&mut self) -> Result<Result<Connection, ConnectError>, ReceiverDropped> {
        let Self { ensemble, commands, table, .. } = self;
        let attempt_timeout = ensemble.session_timeout().min(ATTEMPT_TIMEOUT);
        let mut connecting = pin!(ensemble.connect_next(attempt_timeout));
        loop {
            tokio::select! {
                command = commands.recv() => drop(table.take(command.ok_or(ReceiverDropped)?)),
                connection = &mut connecting => return Ok(connection),
            }
        }
    }

    /// Reports a connection that was lost, or not made, unless the daemon knows.
    async fn away(&mut self, reason: String, permanent: bool) -> Result<(), ReceiverDropped> {
        match self.outage.note(reason, permanent) {
            Some(away) => self.events.send(away.into()).await,
            None => Ok(()),
        }
    }

    /// Follows every subject on this session until it ends.
    async fn serve(&mut self, connection: Connection) -> Result<SessionEnd, ReceiverDropped> {
        let Connection { mut link, protocol, greeting, timeout, server, plaintext_peer } = connection;
        self.outage.ended();
        let what = format!(
            "ZooKeeper {server}{}, session {:#x}, timeout {:.1} s",
            self.ensemble.auth_summary(),
            greeting.session,
            greeting.timeout.as_secs_f64(),
        );
        self.events.send(StoreEvent::Connected { what, identity: self.url.identity() }).await?;
        if plaintext_peer.is_some_and(|peer| !peer.is_loopback()) && !self.plaintext_reported {
            self.plaintext_reported = true;
            let with_credentials = self.ensemble.has_credentials();
            let exposure = Exposure::Plaintext { server: server.clone(), with_credentials };
            self.events.send(StoreEvent::Exposed(exposure)).await?;
        }
        let now = Instant::now();
        let table = mem::replace(&mut self.table, Table::new(now));
        let mut session = Session::new(protocol, timeout, self.window, self.url.chroot.clone(), table, now);
        self.audit.resume(now);
        self.chroot = chroot::check(&self.url.chroot, now);
        let ended = self.follow(&mut link, &mut session).await;
        self.window = session.window();
        let Err(ended) = ended else {
            link.close(session.protocol).await;
            return Err(ReceiverDropped);
        };
        let was_useful = session.has_read_node() && !ended.is_violation();
        self.table = session.into_table();
        Ok(SessionEnd { was_useful, reason: self.explain(&server, &ended) })
    }

    /// Follows nodes until the session ends, which is an error, or the daemon wants no more.
    async fn follow(&mut self, link: &mut Link, session: &mut Session<Slot>) -> Result<(), Ended> {
        // What is to be sent besides reports.
        let mut notices: VecDeque<StoreEvent> = VecDeque::new();
        // Since when something is due, while the server sends without a pause.
        let mut overdue: Option<Instant> = None;
        let mut alarm = Alarm::start();
        loop {
            let now = Instant::now();
            // There must be room for the report before the read, so that a slow daemon gets the latest state.
            let is_crowded = session.wants_slot() && memory::is_crowded();
            let wants_slot = |notices: &VecDeque<_>, session: &Session<Slot>| {
                !notices.is_empty() || (session.wants_slot() && !is_crowded)
            };
            while wants_slot(&notices, session) {
                let Ok(slot) = self.events.try_reserve() else { return Ok(()) };
                let Some(slot) = slot else { break };
                match notices.pop_front() {
                    Some(notice) => slot.send(notice),
                    None => session.read(slot, now),
                }
            }
            let wants_slot = wants_slot(&notices, session);
            session.remove_watches(now);
            if let Some(subject) = self.audit.next(now) {
                session.ask_for_acl(subject, now);
            }
            if self.chroot.begin(now) {
                session.ask_for_chroot(now);
            }
            let due = [session.due(now), self.audit.due(), self.chroot.due()].into_iter().flatten().min();
            overdue = due.filter(|due| *due <= now).map(|_| overdue.unwrap_or(now));
            if overdue.is_some_and(|since| since + MAX_TIMER_DELAY <= now) {
                overdue = None;
                session.tick(now)?;
            }
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if let NodeCommand::Leave(subject) = &command {
                            self.audit.forget(subject);
                        }
                        if let Some(output) = session.take_command(command) {
                            self.put_out(output, &mut notices);
                        }
                    }
                    None => return Ok(()),
                },
                incoming = link.next(&mut session.protocol) => {
                    let mut incoming = Some(incoming?);
                    let now = Instant::now();
                    while let Some(one) = incoming {
                        for output in session.take(one, now)? {
                            self.put_out(output, &mut notices);
                        }
                        incoming = session.protocol.next(now)?;
                    }
                }
                () = alarm.until(due.unwrap_or(now)), if due.is_some() => session.tick(Instant::now())?,
                () = sleep(memory::PAUSE), if is_crowded => {}
                slot = self.events.reserve(), if wants_slot => match slot {
                    Ok(slot) => match notices.pop_front() {
                        Some(notice) => slot.send(notice),
                        None => session.read(slot, Instant::now()),
                    },
                    Err(ReceiverDropped) => return Ok(()),
                },
            }
        }
    }

    fn put_out(&mut self, output: Output<Slot>, notices: &mut VecDeque<StoreEvent>) {
        match output {
            Output::Report { subject, observation, slot, is_missed } => {
                let is_present = matches!(observation, Observation::Present { .. });
                // The names of nodes that are only part of a tree are data, which goes into no log.
                if is_present && self.events.is_wanted(&subject) {
                    self.audit.note(&subject);
                }
                if is_missed {
                    notices.push_back(StoreEvent::MissedChange { subject: subject.clone().into() });
                }
                slot.report(subject, observation);
            }
            Output::Outdated(subject) => self.events.outdated(&subject),
            Output::Chroot(exists) => notices.extend(self.chroot.done(exists, Instant::now())),
            Output::Exposure(subject, is_open) => {
                let exposure = self.audit.done(subject, is_open, Instant::now());
                notices.extend(exposure.map(StoreEvent::Exposed));
            }
        }
    }

    fn explain(&self, server: &str, ended: &Ended) -> String {
        match ended {
            Ended::Server(ErrorCode::SessionExpired) => format!("ZooKeeper {server}: the session expired"),
            Ended::Server(ErrorCode::AuthFailed | ErrorCode::SaslRequired) => {
                format!("ZooKeeper {server}: {}", self.ensemble.refused())
            }
            ended if ended.is_violation() => format!("ended the session with ZooKeeper {server}: {ended}"),
            ended => format!("the connection to ZooKeeper {server} was lost ({ended})"),
        }
    }
}

struct SessionEnd {
    /// Whether any node was read, and the server did nothing that no server does. One that lets us in only to
    /// end the session never allows this.
    was_useful: bool,
    reason: String,
}
