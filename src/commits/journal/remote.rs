//! A journal on a database server: a few connections, on a thread of their own, that answer what is asked.
//!
//! A connection is made when it is needed, and dropped after any doubt about it. Each write is one statement,
//! which the server does whole or not at all, so a connection has nothing that could be half done. Nobody
//! waits long: connecting and each call have a timeout, and after a failed attempt to connect, nobody waits
//! for another one for a while.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::address::ServerAddress;
use super::ask::{QUEUE, Reply, ask};
use super::counted::Counted;
use super::error::{JournalError, unavailable};
use super::interface::{Answer, Conflict, Heads, Journal, Page, Size};
use super::target::Table;
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;
use crate::model::Commit;

/// How many connections a journal has at most. The server syncs the saves of all of them at once, and a long
/// list on one does not hold up the others.
const CONNECTIONS: usize = 4;

/// How long a connection may take to be made. Who waits for one may have waited for a call before.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a call may take. A server gives up waiting for the locks of others sooner, and says so.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nobody tries to connect after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// After so long without a call, connections end: publishing goes over all keys every 90 seconds, and needs
/// no more than one.
const IDLE: Duration = Duration::from_secs(60);

/// How long a server may take to hear that a connection ends.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);

/// How often a save is tried that others keep from being decided.
pub(super) const MAX_TRIES: usize = 8;

/// A connection to a database, and what a journal does with it. After [`JournalError::Unavailable`] it is
/// not used again.
pub(super) trait Session: Sized + 'static {
    /// Connects, and checks that the table is one that this program knows. Makes it if there is none, but
    /// only if `creates`: a database that has lost its table while it was in use needs a backup.
    async fn connect(address: &ServerAddress, table: &Table, creates: bool) -> Result<Self, JournalError>;

    /// Whether the server has not closed the connection, as far as is known here.
    fn is_open(&mut self) -> bool;

    /// Ends a connection that is not needed, as the server expects it.
    async fn end(self);

    async fn heads(&mut self, page: &Page) -> Result<Heads, JournalError>;
    async fn commit(&mut self, key: &Key, version: Option<i64>) -> Result<Option<FullCommit>, JournalError>;
    async fn log(
        &mut self,
        key: &Key,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Commit>, JournalError>;
    async fn save(&mut self, commit: &FullCommit) -> Result<Result<(), Conflict>, JournalError>;
    async fn size(&mut self) -> Result<Size, JournalError>;
}

/// What a journal is asked, and who waits for the answer.
enum Call {
    Heads(Page, Reply<Heads>),
    Commit(Key, Option<i64>, Reply<Option<FullCommit>>),
    Log(Key, Option<i64>, usize, Reply<Vec<Commit>>),
    Save(FullCommit, Reply<Result<(), Conflict>>),
    Size(Reply<Size>),
}

/// A table on a server. The thread with its connections ends with it.
pub(super) struct RemoteJournal {
    calls: mpsc::Sender<Call>,
}

impl RemoteJournal {
    /// Connects, and makes the table if there is none.
    pub(super) async fn open<S: Session>(
        address: &ServerAddress,
        table: &Table,
    ) -> Result<Self, JournalError> {
        let (calls, taken) = mpsc::channel(QUEUE);
        let (opened, is_open) = oneshot::channel();
        let target = Target { address: address.clone(), table: table.clone() };
        let work = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(serve::<S>(target, taken, opened)),
            Err(error) => {
                let _ = opened.send(Err(unavailable(error)));
            }
        };
        thread::Builder::new().name("journal".to_owned()).spawn(work).map_err(unavailable)?;
        is_open.await.map_err(unavailable)??;
        Ok(Self { calls })
    }

    fn ask<T: Send + 'static>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Answer<'_, T> {
        ask(|reply| self.calls.try_send(call(reply)).is_ok())
    }
}

impl Journal for RemoteJournal {
    fn heads<'a>(&'a self, page: &'a Page) -> Answer<'a, Heads> {
        self.ask(|reply| Call::Heads(page.clone(), reply))
    }

    fn commit<'a>(&'a self, key: &'a Key, version: Option<i64>) -> Answer<'a, Option<FullCommit>> {
        self.ask(|reply| Call::Commit(key.clone(), version, reply))
    }

    fn log<'a>(&'a self, key: &'a Key, before: Option<i64>, limit: usize) -> Answer<'a, Vec<Commit>> {
        self.ask(|reply| Call::Log(key.clone(), before, limit, reply))
    }

    fn save(&self, commit: FullCommit) -> Answer<'_, Result<(), Conflict>> {
        self.ask(|reply| Call::Save(commit, reply))
    }

    fn size(&self) -> Answer<'_, Size> {
        self.ask(Call::Size)
    }
}

struct Target {
    address: ServerAddress,
    table: Table,
}

impl Target {
    async fn connect<S: Session>(&self, creates: bool) -> Result<S, JournalError> {
        let connecting = S::connect(&self.address, &self.table, creates);
        timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| {
            let text = format!("{} has not answered within {CONNECT_TIMEOUT:?}", self.address);
            Err(JournalError::Unavailable(text))
        })
    }
}

/// Connects for the first time, and serves calls until the journal is dropped.
async fn serve<S: Session>(
    target: Target,
    calls: mpsc::Receiver<Call>,
    opened: oneshot::Sender<Result<(), JournalError>>,
) {
    let session = match target.connect::<S>(true).await {
        Ok(session) => session,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    let (target, calls) = (Arc::new(target), Rc::new(Mutex::new(calls)));
    let (outage, counted) = (Rc::default(), Rc::default());
    let mut first = Some(session);
    let links = (0..CONNECTIONS).map(|_| {
        let (target, session) = (Arc::clone(&target), first.take());
        let link = Link { target, session, outage: Rc::clone(&outage), counted: Rc::clone(&counted) };
        link.serve(Rc::clone(&calls))
    });
    join_all(links).await;
}

/// The last failure to connect, which all links share.
type Outage = Rc<RefCell<Option<(Instant, JournalError)>>>;

/// A connection while there is one. It answers one call at a time.
struct Link<S> {
    target: Arc<Target>,
    session: Option<S>,
    outage: Outage,
    /// What all links have counted.
    counted: Rc<RefCell<Counted>>,
}

impl<S: Session> Link<S> {
    async fn serve(mut self, calls: Rc<Mutex<mpsc::Receiver<Call>>>) {
        loop {
            let next = async { calls.lock().await.recv().await };
            match timeout(IDLE, next).await {
                Ok(Some(call)) => self.answer(call).await,
                Ok(None) => return self.leave().await,
                Err(_) => self.leave().await,
            }
        }
    }

    async fn leave(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = timeout(LEAVE_TIMEOUT, session.end()).await;
        }
    }

    /// Answers a call. Who asked may have left, and then nothing is read for them.
    async fn answer(&mut self, call: Call) {
        match call {
            Call::Heads(page, reply) => {
                self.read(reply, async |session| session.heads(&page).await).await;
            }
            Call::Commit(key, version, reply) => {
                self.read(reply, async |session| session.commit(&key, version).await).await;
            }
            Call::Log(key, before, limit, reply) => {
                self.read(reply, async |session| session.log(&key, before, limit).await).await;
            }
            Call::Size(reply) => {
                let _ = reply.send(self.size().await);
            }
            Call::Save(commit, reply) => {
                let saved = self.call(&async |session: &mut S| session.save(&commit).await).await;
                if let Ok(Ok(())) = saved {
                    self.counted.borrow_mut().saved(commit.header.version);
                }
                let _ = reply.send(saved);
            }
        }
    }

    /// Reads something for somebody.
    async fn read<T>(&mut self, reply: Reply<T>, question: impl AsyncFn(&mut S) -> Result<T, JournalError>) {
        if !reply.is_closed() {
            let _ = reply.send(self.read_again(question).await);
        }
    }

    /// Returns how much the table has. Whoever asked may have left: the next one asks for the same.
    async fn size(&mut self) -> Result<Size, JournalError> {
        let began = Instant::now();
        let known = self.counted.borrow_mut().begin(began);
        if let Some(known) = known {
            return known;
        }
        let counted = self.read_again(async |session| session.size().await).await;
        self.counted.borrow_mut().end(counted, began, Instant::now())
    }

    /// Reads something, once more if the connection turns out to have ended since the last call. A save is
    /// not repeated: it may have been kept.
    async fn read_again<T>(
        &mut self,
        question: impl AsyncFn(&mut S) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let (began, was_connected) = (Instant::now(), self.session.is_some());
        let mut answer = self.call(&question).await;
        let is_broken = matches!(answer, Err(JournalError::Unavailable(_)));
        if is_broken && was_connected && began.elapsed() < RETRY {
            answer = self.call(&question).await;
        }
        answer
    }

    async fn call<T>(
        &mut self,
        question: &impl AsyncFn(&mut S) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let session = self.session().await?;
        let answer = timeout(CALL_TIMEOUT, question(session)).await.unwrap_or_else(|_| {
            Err(JournalError::Unavailable(format!("there was no answer within {CALL_TIMEOUT:?}")))
        });
        if matches!(answer, Err(JournalError::Unavailable(_))) {
            self.session = None;
        }
        answer
    }

    /// Returns the connection; makes one if there is none.
    async fn session(&mut self) -> Result<&mut S, JournalError> {
        let session = match self.session.take().and_then(|mut session| session.is_open().then_some(session)) {
            Some(session) => session,
            None => self.connect().await?,
        };
        Ok(self.session.insert(session))
    }

    async fn connect(&self) -> Result<S, JournalError> {
        let outage = self.outage.borrow().clone();
        if let Some((_, error)) = outage.filter(|(began, _)| began.elapsed() < RETRY) {
            return Err(error);
        }
        let connected = self.target.connect::<S>(false).await;
        let failure = connected.as_ref().err().map(|error| (Instant::now(), error.clone()));
        *self.outage.borrow_mut() = failure;
        connected
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
