//! Following subjects on one connection after another, each of them disposable.
//!
//! When a connection is lost, or anything unusual happens, it is dropped, a new one is made, and every
//! subject is read again; the daemon compares versions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prost::Message;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::{ATTEMPT_TIMEOUT, Cluster, ConnectError, Connection};
use super::ended::Ended;
use super::heartbeat::Heartbeat;
use super::keys::Keys;
use super::link::{CallError, Duplex, Link};
use super::reads::ReadFailure;
use super::root;
use super::settings::EtcdSettings;
use super::table::{MAX_PIECES, Table};
use super::url::EtcdUrl;
use super::wire::elements::{self, ReadError, Reply};
use super::wire::frame::Frame;
use super::wire::messages::{RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchResponse};
use super::wire::status::{Meaning, Status};
use crate::store::channel::{CommandsDone, StoreEnd};
use crate::store::login_source::LoginSource;
use crate::store::memory;
use crate::store::message::{Exposure, StoreCommand, StoreEvent};
use crate::store::outage::Outage;
use crate::store::pace::Pace;
use crate::store::root_check::RootCheck;
use crate::sys::Alarm;

/// A login that is refused sooner has not expired. It can have been taken away at once.
const MIN_LOGIN_AGE: Duration = Duration::from_secs(1);

/// The longest message on the stream of watches: one event with a node of the largest size.
const MAX_MESSAGE: u64 = 64 << 20;

/// The daemon receives no more events, or gives no more commands.
struct Closed;

/// Starts the task that serves `end`. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn start(settings: EtcdSettings, login: LoginSource, end: StoreEnd) {
    tokio::task::spawn_local(async move {
        let keys = Keys::new(settings.url.prefix.clone());
        let mut follower = Follower {
            url: settings.url.clone(),
            table: Table::new(keys, settings.session_timeout, Instant::now()),
            cluster: Cluster::new(settings, login),
            commands: end.commands,
            done: end.done,
            events: end.events,
            outage: Outage::default(),
            is_connected: false,
            plaintext_reported: false,
        };
        let Err(Closed) = follower.run().await;
    });
}

struct Follower {
    cluster: Cluster,
    url: EtcdUrl,
    commands: UnboundedReceiver<StoreCommand>,
    done: CommandsDone,
    events: Sender<StoreEvent>,
    table: Table,
    outage: Outage,
    is_connected: bool,
    /// Whether it was reported that the connection is not encrypted.
    plaintext_reported: bool,
}

/// The answer to one of our calls.
enum Answer {
    Read(u64, Result<Result<TxnResponse, ReadFailure>, Ended>),
    Root(Result<Option<bool>, Ended>),
    Heartbeat(Result<(), Ended>),
}

impl Follower {
    async fn run(&mut self) -> Result<Infallible, Closed> {
        let mut pace = Pace::new();
        loop {
            let connection = loop {
                self.until(pace.next()).await?;
                let started = Instant::now();
                match self.connect().await? {
                    Ok(connection) => break connection,
                    Err(failure) => {
                        let reason = format!("cannot connect to etcd: {}", failure.reason);
                        self.away(reason, failure.permanent).await?;
                    }
                }
                pace.failed(started);
            };
            let connected_at = Instant::now();
            let server = connection.server.clone();
            let ended = self.serve(connection).await?;
            let was_useful = self.table.has_read() && !matches!(ended, Ended::Unusual(_));
            pace.ended(connected_at, was_useful);
            let reason = match &ended {
                // A new login is no outage, unless it is of no use.
                Ended::Login if connected_at.elapsed() >= MIN_LOGIN_AGE => continue,
                Ended::Login => format!("etcd {server} does not accept the login that it gave"),
                Ended::Unusual(_) => format!("ended the connection to etcd {server}: {ended}"),
                Ended::Lost(_) | Ended::NoAnswer(_) => {
                    format!("the connection to etcd {server} was lost ({ended})")
                }
            };
            self.away(reason, false).await?;
        }
    }

    fn take(&mut self, command: Option<StoreCommand>) -> Result<(), Closed> {
        self.table.take(command.ok_or(Closed)?, Instant::now());
        self.done.count();
        Ok(())
    }

    /// Waits for `deadline` while taking commands.
    async fn until(&mut self, deadline: Instant) -> Result<(), Closed> {
        loop {
            tokio::select! {
                command = self.commands.recv() => self.take(command)?,
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    async fn connect(&mut self) -> Result<Result<Connection, ConnectError>, Closed> {
        let Self { cluster, commands, table, done, .. } = self;
        let attempt_timeout = cluster.session_timeout().min(ATTEMPT_TIMEOUT);
        let mut connecting = pin!(cluster.connect_next(attempt_timeout));
        loop {
            tokio::select! {
                command = commands.recv() => {
                    table.take(command.ok_or(Closed)?, Instant::now());
                    done.count();
                }
                connection = &mut connecting => return Ok(connection),
            }
        }
    }

    async fn send(&self, event: StoreEvent) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }

    /// Reports a connection that was lost, or not made, unless the daemon knows.
    async fn away(&mut self, reason: String, permanent: bool) -> Result<(), Closed> {
        match self.outage.note(reason, permanent) {
            Some(away) => self.send(away.into()).await,
            None => Ok(()),
        }
    }

    /// Follows every subject on this connection until it ends.
    async fn serve(&mut self, connection: Connection) -> Result<Ended, Closed> {
        let Connection { link, server, cluster, member, plaintext_peer, has_root } = connection;
        let is_known = self.is_connected && !self.outage.is_known();
        self.outage.ended();
        self.is_connected = true;
        let member = if member == 0 { String::new() } else { format!(", member {member:x}") };
        let what = format!("etcd {server}{}{member}", self.cluster.auth_summary());
        // After a new login, the connection is as good as before.
        if !is_known {
            self.send(StoreEvent::Connected { what, identity: self.url.identity() }).await?;
        }
        if plaintext_peer.is_some_and(|peer| !peer.is_loopback()) && !self.plaintext_reported {
            self.plaintext_reported = true;
            let with_credentials = self.cluster.has_credentials();
            self.send(StoreEvent::Exposed(Exposure::Plaintext { server, with_credentials })).await?;
        }
        self.table.restart(cluster, Instant::now());
        let (root, notices) = root::check(&self.url.prefix, has_root, Instant::now());
        match self.follow(&link, root, notices.into_iter().collect()).await {
            Ok(closed) => Err(closed),
            Err(ended) => Ok(ended),
        }
    }

    /// Follows subjects until the connection ends, which is an error, or the daemon wants no more.
    async fn follow(
        &mut self,
        link: &Link,
        mut root: RootCheck,
        mut notices: VecDeque<StoreEvent>,
    ) -> Result<Closed, Ended> {
        let session_timeout = self.cluster.session_timeout();
        let mut stream = link.stream("Watch/Watch", MAX_MESSAGE).map_err(ended)?;
        let mut answers = FuturesUnordered::<Pin<Box<dyn Future<Output = Answer>>>>::new();
        let mut heartbeat = Heartbeat::new(session_timeout, Instant::now());
        let mut alarm = Alarm::start();
        // Since when a message of the stream is arriving.
        let mut inside_since = None;
        loop {
            let now = Instant::now();
            self.table.tick(now)?;
            inside_since = stream.is_inside().then(|| inside_since.unwrap_or(now));
            if inside_since.is_some_and(|since| since + MAX_PIECES <= now) {
                return Err(Ended::NoAnswer(MAX_PIECES));
            }
            while !notices.is_empty() || self.table.has_report() {
                match self.events.try_reserve() {
                    Ok(slot) => match notices.pop_front().or_else(|| self.table.next_report(now)) {
                        Some(event) => slot.send(event),
                        None => break,
                    },
                    Err(TrySendError::Full(())) => break,
                    Err(TrySendError::Closed(())) => return Ok(Closed),
                }
            }
            let is_crowded = memory::is_crowded();
            while !is_crowded && let Some((number, request, limit)) = self.table.next_read(now) {
                answers.push(Box::pin(read(link, number, request, limit, session_timeout)));
            }
            while let Some(request) = self.table.next_watch_request() {
                stream.send(&request);
            }
            if root.begin(now) {
                let look = root::look(&Keys::new(self.url.prefix.clone()));
                answers.push(Box::pin(look_at_root(link, look, session_timeout)));
            }
            if let Some(question) = heartbeat.begin(now) {
                answers.push(Box::pin(ask_whether_there(link, question, heartbeat.patience)));
            }
            let wants_slot = !notices.is_empty() || self.table.has_report();
            let hears = !is_crowded && !self.table.is_full();
            let due = [self.table.due(), root.due(), heartbeat.due()].into_iter().flatten().min();
            tokio::select! {
                command = self.commands.recv() => match self.take(command) {
                    Ok(()) => {}
                    Err(closed) => return Ok(closed),
                },
                frame = stream.next(), if hears => {
                    heartbeat.heard(Instant::now());
                    inside_since = None;
                    hear(&mut self.table, frame.map_err(ended)?, Instant::now())?;
                    self.hear_buffered(&mut stream)?;
                }
                Some(answer) = answers.next(), if !answers.is_empty() => {
                    let now = Instant::now();
                    heartbeat.heard(now);
                    match answer {
                        Answer::Read(number, answer) => self.table.answered(number, answer?, now)?,
                        Answer::Root(exists) => notices.extend(root.done(exists?, now)),
                        Answer::Heartbeat(answer) => {
                            answer?;
                            heartbeat.answered(now);
                        }
                    }
                }
                () = alarm.until(due.unwrap_or(now)), if due.is_some() => {}
                () = sleep(memory::PAUSE), if is_crowded => {}
                room = has_room(&self.events), if wants_slot => if let Err(closed) = room {
                    return Ok(closed);
                },
            }
        }
    }

    /// Takes what the stream has already.
    fn hear_buffered(&mut self, stream: &mut Duplex) -> Result<(), Ended> {
        while let Some(frame) = stream.buffered().map_err(ended)? {
            hear(&mut self.table, frame, Instant::now())?;
        }
        Ok(())
    }
}

/// Takes a message of the stream of watches.
pub(super) fn hear(table: &mut Table, frame: Frame, now: Instant) -> Result<(), Ended> {
    let malformed = |error: ReadError| Ended::Unusual(error.to_string());
    let beginning = match frame {
        Frame::Whole(bytes) => match elements::read::<WatchResponse>(bytes.clone()) {
            Ok(response) => return table.heard(response, now),
            Err(error @ ReadError::Malformed) => return Err(malformed(error)),
            Err(ReadError::NoRoom(_)) => bytes.to_vec(),
        },
        Frame::TooLong { beginning, .. } => beginning,
    };
    let watch = WatchResponse::watch_in(&beginning).ok_or_else(|| malformed(ReadError::Malformed))?;
    table.overheard(watch, now)
}

/// Waits until there is room for an event.
async fn has_room(events: &Sender<StoreEvent>) -> Result<(), Closed> {
    events.reserve().await.map(drop).map_err(|_| Closed)
}

/// The longest reply to a question whose answer has no data.
const SHORT_REPLY: u64 = 64 << 10;

async fn read(link: &Link, number: u64, request: TxnRequest, limit: u64, wait: Duration) -> Answer {
    Answer::Read(number, call(link, "KV/Txn", &request, limit, wait).await)
}

async fn look_at_root(link: &Link, look: TxnRequest, wait: Duration) -> Answer {
    let answer = call::<TxnResponse>(link, "KV/Txn", &look, SHORT_REPLY, wait).await;
    Answer::Root(answer.map(|answer| answer.ok().map(|found| root::is_there(&found.responses))))
}

async fn ask_whether_there(link: &Link, question: RangeRequest, wait: Duration) -> Answer {
    let answer = call::<RangeResponse>(link, "KV/Range", &question, SHORT_REPLY, wait).await;
    Answer::Heartbeat(answer.map(drop))
}

/// Fails if the connection ends or is no good. Whatever else the reply says, the member is there.
async fn call<R: Reply>(
    link: &Link,
    method: &str,
    request: &impl Message,
    limit: u64,
    wait: Duration,
) -> Result<Result<R, ReadFailure>, Ended> {
    match timeout(wait, link.call(method, request, limit)).await {
        Ok(Ok(response)) => Ok(Ok(response)),
        Ok(Err(error)) => read_failure(error).map(Err),
        Err(_) => Err(Ended::NoAnswer(wait)),
    }
}

/// Returns what a failed call says of what was to be read, or why the connection ends.
pub(super) fn read_failure(error: CallError) -> Result<ReadFailure, Ended> {
    match error {
        CallError::TooLong(bytes) => Ok(ReadFailure::TooLong(bytes)),
        CallError::Status(status) => match status.meaning() {
            Meaning::Forbidden => Ok(ReadFailure::Forbidden(format!(
                "no permission to read it ({}); a role of the user must give read permission for \
                 its key, and for those below it where children or a tree are watched",
                status.text
            ))),
            Meaning::Revision => Ok(ReadFailure::Compacted),
            Meaning::Token
            | Meaning::Login
            | Meaning::NoAuth
            | Meaning::TooLarge
            | Meaning::NoSpace
            | Meaning::Unavailable
            | Meaning::Other => Err(of_status(&status)),
        },
        CallError::Lost(reason) => Err(Ended::Lost(reason)),
    }
}

fn ended(error: CallError) -> Ended {
    match error {
        CallError::Status(status) => of_status(&status),
        CallError::TooLong(_) => Ended::Unusual(error.to_string()),
        CallError::Lost(reason) => Ended::Lost(reason),
    }
}

fn of_status(status: &Status) -> Ended {
    match status.meaning() {
        Meaning::Token | Meaning::Login => Ended::Login,
        Meaning::NoAuth
        | Meaning::Forbidden
        | Meaning::Revision
        | Meaning::TooLarge
        | Meaning::NoSpace
        | Meaning::Unavailable
        | Meaning::Other => Ended::Lost(status.to_string()),
    }
}
