//! ZooKeeper: one session after another, each of them disposable.
//!
//! A session lives only as long as its connection. When that is lost, the session, its watches and all that
//! followed them are dropped, a new one is made, and every node is read again; whoever listens compares
//! versions. So nothing depends on watches being re-sent, on what a client had already seen when the
//! connection broke, or on a change being told from its absence: a fresh read is the truth.

mod audit;
mod connect;
mod diagnosis;
mod node;
pub(super) mod tls;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use zookeeper_client::SessionState;

use super::backoff::Backoff;
use super::message::NodeCommand;
use super::tree::router::{EventSender, NodeCommands};
use super::{Exposure, StoreEvent};
use crate::model::{NodePath, NodeSubject};
use audit::Audit;
use connect::ConnectError;
pub(super) use connect::{ATTEMPT_TIMEOUT, Connection, Ensemble, close};
use node::{NodeTask, Session};

/// The child of ZooKeeper's root in which it keeps its own.
pub(super) const RESERVED: &str = "zookeeper";

/// The first pause between two connection attempts.
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// Connection attempts start at most this far apart: what the contract promises.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// After a loss the first attempt waits up to this long, so that a restarted ensemble is not met by every
/// host of the cluster in the same millisecond.
const MAX_RECONNECT_JITTER: Duration = Duration::from_millis(500);

/// How many reasons of one outage are said: each server may have its own, and what a server says may vary.
const MAX_REPORTED_REASONS: usize = 10;

/// Nobody listens any more.
struct ReceiverDropped;

/// Runs until nobody listens any more.
pub(super) async fn run(ensemble: Ensemble, chroot: NodePath, commands: NodeCommands, events: EventSender) {
    let mut manager = SessionManager {
        ensemble,
        audit: Rc::new(Audit::new(chroot.clone())),
        chroot,
        commands,
        events,
        subjects: HashSet::new(),
        outage: None,
        plaintext_reported: false,
    };
    let ReceiverDropped = manager.run_sessions().await;
}

struct SessionManager {
    ensemble: Ensemble,
    chroot: NodePath,
    commands: NodeCommands,
    events: EventSender,
    subjects: HashSet<NodeSubject>,
    /// Of the present outage, if there is one that has been reported: what there is to do about it.
    outage: Option<HashSet<String>>,
    audit: Rc<Audit>,
    /// Whether it has been said that all passes in the clear.
    plaintext_reported: bool,
}

impl SessionManager {
    async fn run_sessions(&mut self) -> ReceiverDropped {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        let mut attempt_at = Instant::now();
        loop {
            let connection = loop {
                let started = match self.until(attempt_at).await {
                    Ok(()) => Instant::now(),
                    Err(closed) => return closed,
                };
                let failure = match self.connect().await {
                    Ok(Ok(connection)) => break connection,
                    Ok(Err(failure)) => failure,
                    Err(closed) => return closed,
                };
                if let Err(closed) = self.failed(failure).await {
                    return closed;
                }
                attempt_at = started + backoff.next();
            };
            let connected_at = Instant::now();
            let ended = match self.serve(connection).await {
                Ok(ended) => ended,
                Err(closed) => return closed,
            };
            attempt_at = if ended.has_read_node || connected_at.elapsed() >= MAX_BACKOFF {
                backoff.reset();
                Instant::now() + MAX_RECONNECT_JITTER.mul_f64(fastrand::f64())
            } else {
                Instant::now() + backoff.next()
            };
            if let Err(closed) = self.disconnected(ended.reason).await {
                return closed;
            }
        }
    }

    /// Waits for `deadline` while taking commands.
    async fn until(&mut self, deadline: Instant) -> Result<(), ReceiverDropped> {
        loop {
            tokio::select! {
                command = self.commands.recv() => note(&mut self.subjects, command.ok_or(ReceiverDropped)?),
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    async fn connect(&mut self) -> Result<Result<Connection, ConnectError>, ReceiverDropped> {
        let Self { ensemble, commands, subjects, .. } = self;
        let attempt_timeout = ensemble.session_timeout.min(ATTEMPT_TIMEOUT);
        let mut connecting = std::pin::pin!(ensemble.connect_next(attempt_timeout));
        loop {
            tokio::select! {
                command = commands.recv() => note(subjects, command.ok_or(ReceiverDropped)?),
                connection = &mut connecting => return Ok(connection),
            }
        }
    }

    async fn disconnected(&mut self, reason: String) -> Result<(), ReceiverDropped> {
        match self.outage {
            Some(_) => Ok(()),
            None => {
                self.outage = Some(HashSet::new());
                self.events.send(StoreEvent::Disconnected { reason }).await.map_err(|_| ReceiverDropped)
            }
        }
    }

    /// A server that is restarted with another certificate, say, is first away and then refused, and the
    /// latter is what people must know.
    async fn failed(&mut self, failure: ConnectError) -> Result<(), ReceiverDropped> {
        let reason = format!("cannot connect to ZooKeeper: {}", failure.reason);
        let is_known = self.outage.is_some();
        self.disconnected(reason.clone()).await?;
        let said = self.outage.get_or_insert_default();
        if !failure.permanent
            || said.len() >= MAX_REPORTED_REASONS
            || !said.insert(reason.clone())
            || !is_known
        {
            return Ok(());
        }
        self.events.send(StoreEvent::Refused { reason }).await.map_err(|_| ReceiverDropped)
    }

    /// Follows every subject on this session until it ends.
    async fn serve(&mut self, connection: Connection) -> Result<SessionEnd, ReceiverDropped> {
        let Connection { client, mut service, server, plaintext_peer } = connection;
        self.outage = None;
        let what = format!(
            "ZooKeeper {server}{}, session {}, timeout {:.1} s",
            self.ensemble.auth_summary(),
            client.session_id(),
            client.session_timeout().as_secs_f64(),
        );
        self.events.send(StoreEvent::Connected { what }).await.map_err(|_| ReceiverDropped)?;
        if plaintext_peer.is_some_and(|peer| !peer.is_loopback()) && !self.plaintext_reported {
            self.plaintext_reported = true;
            let with_credentials = self.ensemble.has_credentials();
            let exposure = Exposure::Plaintext { server: server.clone(), with_credentials };
            self.events.send(StoreEvent::Exposed(exposure)).await.map_err(|_| ReceiverDropped)?;
        }

        let mut state = client.state_watcher();
        let session = Rc::new(Session::new(&client, self.events.clone(), Rc::clone(&self.audit)));
        let mut nodes = NodeTasks::new(Rc::clone(&session), self.chroot.clone());
        for subject in &self.subjects {
            nodes.follow(subject);
        }
        // The state may have changed before it was watched, and then says so only once.
        let mut now = state.peek_state();
        while now == SessionState::SyncConnected {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => {
                        nodes.take(&command);
                        note(&mut self.subjects, command);
                    }
                    None => {
                        drop(client);
                        nodes.stop().await;
                        close(service).await;
                        return Err(ReceiverDropped);
                    }
                },
                changed = state.changed() => now = changed,
                _ = service.join_next() => now = SessionState::Closed,
                // A task that was not told to end saw the session's end before its state did.
                Some(ended) = nodes.tasks.join_next(), if !nodes.tasks.is_empty() => if ended.is_ok() {
                    now = SessionState::Closed;
                },
            }
        }
        // The client goes first, or each node would now take its watch back from the server.
        drop(client);
        nodes.stop().await;
        let reason = match now {
            SessionState::Expired => format!("ZooKeeper {server}: the session expired"),
            SessionState::AuthFailed => format!("ZooKeeper {server}: {}", self.ensemble.refused()),
            SessionState::Disconnected
            | SessionState::SyncConnected
            | SessionState::ConnectedReadOnly
            | SessionState::Closed => format!("the connection to ZooKeeper {server} was lost"),
        };
        Ok(SessionEnd { has_read_node: session.has_read_node.get(), reason })
    }
}

fn note(subjects: &mut HashSet<NodeSubject>, command: NodeCommand) {
    match command {
        NodeCommand::Follow(subject) => {
            subjects.insert(subject);
        }
        NodeCommand::Leave(subject) => {
            subjects.remove(&subject);
        }
        // Every subject is read anyway as soon as there is a session, and otherwise its task was told.
        NodeCommand::Refresh(_) => {}
    }
}

struct SessionEnd {
    /// Whether any node was read, which a server that only lets us in and out again never allows.
    has_read_node: bool,
    reason: String,
}

/// The tasks of one session, one for each subject.
struct NodeTasks {
    session: Rc<Session>,
    chroot: NodePath,
    tasks: JoinSet<()>,
    handles: HashMap<NodeSubject, (AbortHandle, Rc<Notify>)>,
}

impl NodeTasks {
    fn new(session: Rc<Session>, chroot: NodePath) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn_local(audit::run(Rc::clone(&session)));
        Self { session, chroot, tasks, handles: HashMap::new() }
    }

    fn take(&mut self, command: &NodeCommand) {
        match command {
            NodeCommand::Follow(subject) => self.follow(subject),
            NodeCommand::Leave(subject) => {
                self.session.audit.forget(subject);
                if let Some((task, _)) = self.handles.remove(subject) {
                    task.abort();
                    self.count();
                }
            }
            NodeCommand::Refresh(subject) => {
                if let Some((_, refresh)) = self.handles.get(subject) {
                    refresh.notify_one();
                }
            }
        }
    }

    fn follow(&mut self, subject: &NodeSubject) {
        if self.handles.contains_key(subject) {
            return;
        }
        let refresh = Rc::new(Notify::new());
        let node = NodeTask {
            session: Rc::clone(&self.session),
            subject: subject.clone(),
            path: subject.path.below(&self.chroot),
            refresh: Rc::clone(&refresh),
        };
        let task = self.tasks.spawn_local(node.follow());
        self.handles.insert(subject.clone(), (task, refresh));
        self.count();
    }

    fn count(&self) {
        self.session.nodes.set(u32::try_from(self.handles.len()).unwrap_or(u32::MAX));
    }

    /// Returns when no task of this session can send anything any more.
    async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
