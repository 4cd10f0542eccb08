//! Following nodes on one session after another, each of them disposable.
//!
//! A session lives only as long as its connection. When that is lost, the session, its watches and all tasks
//! on it are dropped, a new session is made, and every node is read again; the daemon compares versions. So
//! nothing depends on watches that are sent again, on what a client had already seen when the connection
//! broke, or on telling a change from its absence: a fresh read is the truth.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use zookeeper_client::SessionState;

use super::acl;
use super::audit::Audit;
use super::chroot;
use super::connect::{ATTEMPT_TIMEOUT, ConnectError, Connection, Ensemble, close};
use super::login::LoginSource;
use super::node::NodeTask;
use super::session::Session;
use super::settings::ZooKeeperSettings;
use super::url::ZooKeeperUrl;
use crate::model::NodeSubject;
use crate::store::backend::{Backend, NodeCommand};
use crate::store::backoff::Backoff;
use crate::store::channel::StoreEnd;
use crate::store::tree::router::{self, EventSender, NodeCommands, ReceiverDropped};
use crate::store::{Exposure, StoreEvent};

/// The first pause between two connection attempts.
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// The longest time between the starts of two connection attempts, which the contract promises.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The longest wait before the first attempt after a loss, so that not every host of the cluster meets a
/// restarted ensemble in the same millisecond.
const MAX_RECONNECT_JITTER: Duration = Duration::from_millis(500);

/// How many reasons are reported in one outage. Each server may have its own, and a server may vary what it
/// says.
const MAX_REPORTED_REASONS: usize = 10;

/// Starts the tasks that serve `end`. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn start(settings: ZooKeeperSettings, login: LoginSource, end: StoreEnd) {
    router::start(settings.capabilities(), end, |commands, events| run(settings, login, commands, events));
}

/// Follows nodes until there are no more commands, or nobody receives the events.
async fn run(settings: ZooKeeperSettings, login: LoginSource, commands: NodeCommands, events: EventSender) {
    let mut manager = SessionManager {
        url: settings.url.clone(),
        ensemble: Ensemble::new(settings, login),
        audit: Rc::new(Audit::new()),
        commands,
        events,
        subjects: HashSet::new(),
        outage: None,
        plaintext_reported: false,
    };
    let Err(ReceiverDropped) = manager.run_sessions().await;
}

struct SessionManager {
    ensemble: Ensemble,
    url: ZooKeeperUrl,
    commands: NodeCommands,
    events: EventSender,
    subjects: HashSet<NodeSubject>,
    /// The reasons reported in the present outage; `None` if there is none, or it was not reported yet.
    outage: Option<HashSet<String>>,
    audit: Rc<Audit>,
    /// Whether it was reported that the connection is not encrypted.
    plaintext_reported: bool,
}

impl SessionManager {
    async fn run_sessions(&mut self) -> Result<Infallible, ReceiverDropped> {
        let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
        let mut attempt_at = Instant::now();
        loop {
            let connection = loop {
                self.until(attempt_at).await?;
                let started = Instant::now();
                match self.connect().await? {
                    Ok(connection) => break connection,
                    Err(failure) => self.failed(failure).await?,
                }
                attempt_at = started + backoff.next();
            };
            let connected_at = Instant::now();
            let ended = self.serve(connection).await?;
            attempt_at = if ended.has_read_node || connected_at.elapsed() >= MAX_BACKOFF {
                backoff.reset();
                Instant::now() + MAX_RECONNECT_JITTER.mul_f64(fastrand::f64())
            } else {
                Instant::now() + backoff.next()
            };
            self.disconnected(ended.reason).await?;
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
        let attempt_timeout = ensemble.session_timeout().min(ATTEMPT_TIMEOUT);
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
                self.events.send(StoreEvent::Disconnected { reason }).await
            }
        }
    }

    /// Reports a failed attempt. A server that is restarted with another certificate, say, is first away and
    /// then refuses us, and people must know the latter.
    async fn failed(&mut self, failure: ConnectError) -> Result<(), ReceiverDropped> {
        let reason = format!("cannot connect to ZooKeeper: {}", failure.reason);
        let is_known = self.outage.is_some();
        self.disconnected(reason.clone()).await?;
        let reported = self.outage.get_or_insert_default();
        if !failure.permanent
            || reported.len() >= MAX_REPORTED_REASONS
            || !reported.insert(reason.clone())
            || !is_known
        {
            return Ok(());
        }
        self.events.send(StoreEvent::Refused { reason }).await
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
        self.events.send(StoreEvent::Connected { what, identity: self.url.identity() }).await?;
        if plaintext_peer.is_some_and(|peer| !peer.is_loopback()) && !self.plaintext_reported {
            self.plaintext_reported = true;
            let with_credentials = self.ensemble.has_credentials();
            let exposure = Exposure::Plaintext { server: server.clone(), with_credentials };
            self.events.send(StoreEvent::Exposed(exposure)).await?;
        }

        let mut state = client.state_watcher();
        let (events, audit) = (self.events.clone(), Rc::clone(&self.audit));
        let session = Rc::new(Session::new(&client, events, audit, self.url.chroot.clone()));
        let mut nodes = NodeTasks::new(Rc::clone(&session));
        for subject in &self.subjects {
            nodes.follow(subject);
        }
        // The state may have changed before it was watched, and a change is announced only once.
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
                // A task that ended by itself saw the end of the session before its state did.
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
        // A session that is made later reads every subject anyway, and on a present one its task was told.
        NodeCommand::Refresh(_) => {}
    }
}

struct SessionEnd {
    /// Whether any node was read. A server that lets us in only to end the session never allows this.
    has_read_node: bool,
    reason: String,
}

/// The tasks of one session, one for each subject.
struct NodeTasks {
    session: Rc<Session>,
    tasks: JoinSet<()>,
    handles: HashMap<NodeSubject, (AbortHandle, Rc<Notify>)>,
}

impl NodeTasks {
    fn new(session: Rc<Session>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn_local(acl::run(Rc::clone(&session)));
        tasks.spawn_local(chroot::run(Rc::clone(&session)));
        Self { session, tasks, handles: HashMap::new() }
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
            path: self.session.path(subject),
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
