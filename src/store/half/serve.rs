//! The half itself: one store in a process of its own, which serves the daemon over a socket.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::frame;
use super::leaving::Leaving;
use super::message::{FromHalf, Id, ToHalf, bounded};
use super::outbox::{Blocked, Outbox};
use super::sandbox;
use super::socket::{ReceiveError, Received, Socket, receive_now};
use super::task::Task;
use crate::content;
use crate::model::{Blob, Index, NodePath, Shrink, Subject};
use crate::store::channel::StoreChannel;
use crate::store::directory;
use crate::store::memory;
use crate::store::message::{Exposure, StoreEvent};
use crate::store::question::{Apart, LoginReply, Question};
use crate::store::settings::StoreSettings;
use crate::sys::{FreeMemory, name_unix_sockets, receive_blob};

/// How long the process may wait before it sends again, when the kernel takes no more descriptors for now.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(5);

/// How many threads resolve names, and the stack of each, which counts as memory. One name is resolved at a
/// time, unless the one before hangs: then the next attempt needs another thread.
const MAX_THREADS: usize = 4;
const THREAD_STACK: usize = 1 << 20;

/// The longest body that the daemon sends: the settings, or a login with certificates.
const MAX_BODY: u64 = 16 << 20;

/// How often it is looked whether a subject that was left can be followed anew.
const LEAVING_PAUSE: Duration = Duration::from_millis(1);

/// Serves the store that the other end of `socket` names, until that is closed.
pub fn serve(socket: OwnedFd) -> Result<(), Box<dyn Error>> {
    let (settings, memory) = first_message(&socket)?;
    // It starts no thread, but it can make a pair of sockets, which is forbidden in the sandbox.
    let runtime = runtime()?;
    // It reads /proc, which is closed afterwards.
    memory::heed_limits();
    name_unix_sockets();
    let (directory, permitted) = settings.directory().map_or((None, None), directory::permit);
    // Before any other thread is started, which it would not confine.
    let confinement = sandbox::enter(&settings, directory.as_ref(), Task::Follow)?;
    // Its file system can be unmounted.
    drop(directory);
    let served = LocalSet::new().block_on(&runtime, async {
        let (questions, asked) = unbounded_channel();
        let (channel, end) = StoreChannel::new();
        settings.serve(Some(Apart { questions, memory, permitted }), end);
        let socket = Socket::new(socket)?;
        let mut half = Half::new(socket, channel);
        half.say(&FromHalf::Ready { confinement }, &Blob::default())?;
        half.run(asked).await?;
        half.channel.close().await;
        Ok(())
    });
    // A hanging resolver is not waited for.
    runtime.shutdown_background();
    served
}

/// Makes the runtime of a process of a store, which is not confined yet.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_THREADS)
        .thread_stack_size(THREAD_STACK)
        .build()
}

/// Waits for the settings.
pub(super) fn first_message(socket: &OwnedFd) -> Result<(StoreSettings, Option<String>), Box<dyn Error>> {
    let (message, body) = first(socket, |message| *message == ToHalf::More)?;
    match message {
        ToHalf::Start { memory } => Ok((serde_json::from_slice(&body)?, memory)),
        other => Err(format!("{other:?} came first").into()),
    }
}

/// Waits for the first message, whose body may come in parts.
pub(super) fn first<T: DeserializeOwned>(
    socket: &OwnedFd,
    is_part: impl Fn(&T) -> bool,
) -> Result<(T, Vec<u8>), Box<dyn Error>> {
    let mut parts = Vec::new();
    loop {
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        let received = receive_now(socket.as_fd()).map_err(|error| format!("{error:?}"))?;
        let (message, body) = open(received)?;
        extend(&mut parts, body)?;
        if !is_part(&message) {
            return Ok((message, parts));
        }
    }
}

/// Reads a message with what came of its body.
pub(super) fn open<T: DeserializeOwned>(
    Received { frame, file }: Received,
) -> Result<(T, Vec<u8>), Box<dyn Error>> {
    let (message, inline) = frame::decode(&frame).map_err(|error| format!("{error:?}"))?;
    match file {
        Some(file) => {
            let body = receive_blob(file).map_err(|(error, _)| error)?;
            is_acceptable(body.len())?;
            Ok((message, content::read(&body)?.into_owned()))
        }
        None => Ok((message, inline.to_vec())),
    }
}

pub(super) fn extend(parts: &mut Vec<u8>, body: Vec<u8>) -> Result<(), Box<dyn Error>> {
    is_acceptable((parts.len() + body.len()) as u64)?;
    parts.extend(body);
    Ok(())
}

fn is_acceptable(len: u64) -> Result<(), Box<dyn Error>> {
    if len > MAX_BODY { Err("the daemon sends more than the settings of a store".into()) } else { Ok(()) }
}

pub(super) struct Half {
    socket: Socket,
    channel: StoreChannel,
    /// What is followed, by its number and back.
    subjects: HashMap<Id, Subject>,
    ids: Index<Id>,
    leaving: Leaving,
    /// How many events of the store were taken.
    taken: u64,
    /// What is to be sent. No event is taken from the store before the last one is sent.
    unsent: Outbox,
    /// The body of the next message, as far as it came.
    parts: Vec<u8>,
    /// Who waits for the login.
    login: Vec<oneshot::Sender<LoginReply>>,
    memory: FreeMemory,
}

impl Half {
    pub(super) fn new(socket: Socket, channel: StoreChannel) -> Self {
        Self {
            socket,
            channel,
            subjects: HashMap::new(),
            ids: Index::default(),
            leaving: Leaving::default(),
            taken: 0,
            unsent: Outbox::default(),
            parts: Vec::new(),
            login: Vec::new(),
            memory: FreeMemory::since_start(),
        }
    }

    /// Passes messages on in both directions until the daemon has no more.
    pub(super) async fn run(&mut self, mut asked: UnboundedReceiver<Question>) -> Result<(), Box<dyn Error>> {
        let mut blocked = Blocked::No;
        loop {
            self.follow_anew();
            tokio::select! {
                received = self.socket.receive() => match received {
                    Ok(received) => {
                        let (message, body) = open(received)?;
                        self.take(message, body)?;
                        self.memory.note(self.subjects.len());
                    }
                    Err(ReceiveError::Ended) => return Ok(()),
                    Err(error) => return Err(format!("{error:?}").into()),
                },
                Some(question) = asked.recv() => self.ask(question)?,
                event = self.channel.next(), if self.unsent.is_empty() => match event {
                    Some(event) => {
                        // What was asked before the event was reported is said before it.
                        while let Ok(question) = asked.try_recv() {
                            self.ask(question)?;
                        }
                        self.taken += 1;
                        self.report(event)?;
                    }
                    None => return Err("the store has ended".into()),
                },
                () = self.memory.until_due() => self.memory.trim(),
                () = sleep(LEAVING_PAUSE), if self.leaving.is_holding() => {}
                () = sleep(DESCRIPTORS_PAUSE), if blocked == Blocked::Descriptors => blocked = self.send()?,
                () = self.socket.room(), if blocked != Blocked::Descriptors && !self.unsent.is_empty() => {
                    blocked = self.send()?;
                }
            }
        }
    }

    fn ask(&mut self, question: Question) -> Result<(), Box<dyn Error>> {
        match question {
            Question::Login(reply) => {
                self.login.push(reply);
                if self.login.len() > 1 {
                    return Ok(());
                }
                self.say(&FromHalf::NeedsLogin, &Blob::default())
            }
            Question::Remember(memory) => {
                self.say(&FromHalf::Remember { memory: bounded(memory) }, &Blob::default())
            }
            Question::Moved(gone) => {
                let ids: Vec<Id> = gone.iter().filter_map(|gone| self.id(gone)).collect();
                for id in ids {
                    self.say(&FromHalf::Gone { id }, &Blob::default())?;
                }
                self.say(&FromHalf::Moved, &Blob::default())
            }
        }
    }

    fn send(&mut self) -> io::Result<Blocked> {
        self.unsent.send(&self.socket, Instant::now())
    }

    fn say(&mut self, message: &FromHalf, body: &Blob) -> Result<(), Box<dyn Error>> {
        self.unsent.push(message, body).map_err(|error| format!("{error:?}").into())
    }

    /// Follows what was left and is to be followed once more.
    fn follow_anew(&mut self) {
        let (_, done) = self.channel.commands();
        for (id, subject) in self.leaving.settle(done, self.taken, self.channel.waiting()) {
            self.ids.insert(id, |id| &self.subjects[&id]);
            self.channel.follow(subject);
        }
    }

    fn id(&self, subject: &Subject) -> Option<Id> {
        self.ids.get(subject, |id| &self.subjects[&id])
    }

    fn take(&mut self, message: ToHalf, body: Vec<u8>) -> Result<(), Box<dyn Error>> {
        extend(&mut self.parts, body)?;
        if message == ToHalf::More {
            return Ok(());
        }
        let body = std::mem::take(&mut self.parts);
        match message {
            ToHalf::More => {}
            ToHalf::Start { .. } => return Err("it was started already".into()),
            ToHalf::Ping => self.say(&FromHalf::Pong, &Blob::default())?,
            ToHalf::Login { error } => {
                for reply in self.login.drain(..) {
                    let _ = reply.send(error.clone().map_or_else(|| Ok(body.clone()), Err));
                }
            }
            ToHalf::Follow { id, path, facet } => {
                let subject = Subject { path: NodePath::parse(&path)?, facet };
                self.subjects.insert(id, subject.clone());
                if !self.leaving.hold(&subject, id) {
                    self.ids.insert(id, |id| &self.subjects[&id]);
                    self.channel.follow(subject);
                }
            }
            ToHalf::Leave { id } => {
                let left = self.subjects.remove(&id);
                self.subjects.shrink_if_sparse();
                if let Some(subject) = left
                    && !self.leaving.give_up(&subject, id)
                {
                    self.ids.remove(id, &subject, |id| &self.subjects[&id]);
                    self.channel.leave(subject.clone());
                    self.leaving.leave(subject, self.channel.commands().0);
                }
            }
            ToHalf::Refresh { id } => {
                // What is to be followed anew will be reported anyway.
                if let Some(subject) = self.subjects.get(&id)
                    && self.id(subject).is_some()
                {
                    self.channel.refresh(subject.clone());
                }
            }
        }
        Ok(())
    }

    fn report(&mut self, event: StoreEvent) -> Result<(), Box<dyn Error>> {
        let id = |subject: &Subject| self.id(subject);
        let (event, body) = event.encode();
        let message = match event {
            // What is left meanwhile is of no interest.
            StoreEvent::Observed { subject, state } => {
                let Some(id) = id(&subject) else { return Ok(()) };
                return self.say(&FromHalf::Observed { id, state }, &body.unwrap_or_default());
            }
            StoreEvent::Unreadable { subject, reason } => match id(&subject) {
                Some(id) => FromHalf::Unreadable { id, reason: bounded(reason) },
                None => return Ok(()),
            },
            StoreEvent::MissedChange { subject } => match id(&subject) {
                Some(id) => FromHalf::MissedChange { id },
                None => return Ok(()),
            },
            StoreEvent::Connected { what, identity } => {
                FromHalf::Connected { what: bounded(what), identity: bounded(identity) }
            }
            StoreEvent::Disconnected { reason } => FromHalf::Disconnected { reason: bounded(reason) },
            StoreEvent::Refused { reason } => FromHalf::Refused { reason: bounded(reason) },
            StoreEvent::RootMissing { reason } => FromHalf::RootMissing { reason: bounded(reason) },
            StoreEvent::RootFound => FromHalf::RootFound,
            StoreEvent::Degraded { reason } => FromHalf::Degraded { reason: bounded(reason) },
            StoreEvent::Exposed(Exposure::Plaintext { server, with_credentials }) => {
                FromHalf::Plaintext { server: bounded(server), with_credentials }
            }
            StoreEvent::Exposed(Exposure::Writable(Subject { path, facet })) => {
                FromHalf::Writable { path: path.as_str().to_owned(), facet }
            }
            StoreEvent::Exposed(Exposure::MoreWritable) => FromHalf::MoreWritable,
            // Only the daemon's end says this.
            StoreEvent::HalfStarted(_) | StoreEvent::Remember { .. } | StoreEvent::HalfEnded => return Ok(()),
        };
        self.say(&message, &Blob::default())
    }
}
