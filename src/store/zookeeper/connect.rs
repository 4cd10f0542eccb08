//! One connection, one session: made, and let go or killed.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use async_task::Runnable;
use spawns_core::{Spawn, Task};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zookeeper_client::{Client, Connector, Error};

use crate::store::Auth;

/// How long one server may take to answer: below [`super::CEILING`], so that the next one is tried on time.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(4500);

/// How long a server gets to take our farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// The servers, in the order in which this process tries them.
pub(crate) struct Ensemble {
    servers: Vec<String>,
    next: usize,
    connector: Connector,
    pub(crate) session_timeout: Duration,
}

/// A ZooKeeper session and the task that serves it.
pub(crate) struct Connection {
    /// To drop it is to close the session.
    pub(crate) client: Rc<Client>,
    /// Ends when the session is over. Owned, because the crate would keep the task of a lost session alive,
    /// reconnecting, long after its client was dropped.
    pub(crate) service: JoinSet<()>,
    pub(crate) server: String,
}

impl Ensemble {
    pub(crate) fn new(servers: &[String], auth: &[Auth], session_timeout: Duration) -> Self {
        // Three fifths of the session timeout is the longest the crate takes for a connection timeout, and its
        // idle tick is an eighth of that: the fewest wakeups that still notice a dead server before the
        // session expires.
        let mut connector = Client::connector()
            .with_session_timeout(session_timeout)
            .with_connection_timeout(session_timeout * 3 / 5)
            .with_fail_eagerly();
        for Auth { scheme, credentials } in auth {
            connector = connector.with_auth(scheme, credentials.as_bytes());
        }
        let mut servers = servers.to_vec();
        fastrand::shuffle(&mut servers);
        Self { servers, next: 0, connector, session_timeout }
    }

    /// Tries the next server, and only that one, so that a server that swallows packets starves none of the
    /// others. The error is for people.
    pub(crate) async fn connect_next(&mut self, patience: Duration) -> Result<Connection, String> {
        let server = self.servers[self.next % self.servers.len()].clone();
        self.next += 1;
        match timeout(patience, self.connect(&server)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(reason)) => Err(format!("{server}: {reason}")),
            Err(_) => Err(format!("{server}: no answer within {:.1} s", patience.as_secs_f64())),
        }
    }

    async fn connect(&self, server: &str) -> Result<Connection, String> {
        // Resolved here and shuffled, so that a name with a dead address first does not hide the living ones.
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(server)
            .await
            .map_err(|error| format!("cannot resolve the name ({error})"))?
            .collect();
        fastrand::shuffle(&mut addresses);
        let addresses = addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");

        let service = Owner::default();
        let client = {
            let mut connecting = pin!(self.connector.clone().connect(&addresses));
            // The scope is thread-local, so it must be left before anything else runs: around each poll.
            std::future::poll_fn(|context| {
                let _scope = spawns_core::enter(&service);
                connecting.as_mut().poll(context)
            })
            .await
            .map_err(|error| explain_connect(&error))?
        };
        // A new session may begin at a server that lags behind what the last one showed us. What is read after
        // this is not older than now, so that no action runs with content that was replaced long ago.
        client.sync("/").await.map_err(|error| explain_connect(&error))?;
        Ok(Connection { client: Rc::new(client), service: service.0.into_inner(), server: server.to_owned() })
    }
}

/// Waits until the session whose client was dropped is closed, or its server has had long enough for that.
pub(crate) async fn close(mut service: JoinSet<()>) {
    let _ = timeout(FAREWELL, service.join_next()).await;
}

/// Takes the task that serves a session, so that we end it when we are done with it.
#[derive(Default)]
struct Owner(RefCell<JoinSet<()>>);

impl Spawn for Owner {
    /// The crate waits for its socket and its timers on a thread of async-io. What that thread wakes up runs right
    /// there, so that heartbeats wake up nobody else, and go out while the daemon is busy starting processes.
    /// What we wake up ourselves waits for its turn, so that many requests share one write.
    fn spawn(&self, task: Task) {
        let home = thread::current().id();
        let (queue, mut turns) = unbounded_channel::<Runnable>();
        let schedule = move |runnable: Runnable| {
            if thread::current().id() == home {
                // Nobody takes it where the session was let go: to drop it is to drop the session.
                let _ = queue.send(runnable);
            } else {
                runnable.run();
            }
        };
        let (runnable, mut service) = async_task::spawn(Box::into_pin(task.future), schedule);
        runnable.schedule();
        self.0.borrow_mut().spawn(async move {
            loop {
                tokio::select! {
                    () = &mut service => return,
                    Some(runnable) = turns.recv() => { runnable.run(); }
                }
            }
        });
    }
}

fn explain_connect(error: &Error) -> String {
    match error {
        Error::NoHosts => "connection refused or no ZooKeeper serving there".to_owned(),
        Error::AuthFailed => "the server refused our credentials; check `auth` in twitcher.toml".to_owned(),
        error => error.to_string(),
    }
}
