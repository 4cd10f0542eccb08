//! The half itself: one store in a process of its own, which serves the daemon over a socket.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::frame;
use super::message::{FromHalf, Id, ToHalf, bounded};
use super::sandbox;
use super::socket::{Packet, ReceiveError, Received, Socket, packets, receive_now};
use crate::content;
use crate::model::{Blob, NodePath, Subject};
use crate::store::channel::StoreChannel;
use crate::store::message::{Exposure, StoreEvent};
use crate::store::question::{Apart, LoginReply, Question};
use crate::store::settings::StoreSettings;
use crate::sys::receive_blob;

/// How long the process may wait before it sends again, when the kernel takes no more descriptors for now.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(5);

/// Serves the store that the other end of `socket` names, until that is closed.
pub fn serve(socket: OwnedFd) -> Result<(), Box<dyn Error>> {
    let (settings, memory) = first_message(&socket)?;
    // Before any other thread is started, which it would not confine.
    let confinement = sandbox::enter(&settings);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = LocalSet::new().block_on(&runtime, async {
        let (questions, asked) = unbounded_channel();
        let (channel, end) = StoreChannel::new();
        settings.serve(Some(Apart { questions, memory }), end);
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

/// Waits for the settings.
fn first_message(socket: &OwnedFd) -> Result<(StoreSettings, Option<String>), Box<dyn Error>> {
    let mut parts = Vec::new();
    loop {
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        let received = receive_now(socket.as_fd()).map_err(|error| format!("{error:?}"))?;
        let (message, body) = open(received)?;
        parts.extend(body);
        match message {
            ToHalf::More => {}
            ToHalf::Start { memory } => return Ok((serde_json::from_slice(&parts)?, memory)),
            other => return Err(format!("{other:?} came first").into()),
        }
    }
}

fn open(Received { frame, file }: Received) -> Result<(ToHalf, Vec<u8>), Box<dyn Error>> {
    let (message, inline) = frame::decode(&frame).map_err(|error| format!("{error:?}"))?;
    match file {
        Some(file) => Ok((message, content::read(&receive_blob(file)?)?.into_owned())),
        None => Ok((message, inline.to_vec())),
    }
}

struct Half {
    socket: Socket,
    channel: StoreChannel,
    /// What is followed, by its number and back.
    subjects: HashMap<Id, Subject>,
    ids: HashMap<Subject, Id>,
    /// What is to be sent. No event is taken from the store before the last one is sent.
    unsent: VecDeque<Packet>,
    /// The body of the next message, as far as it came.
    parts: Vec<u8>,
    /// Who waits for the login.
    login: Vec<oneshot::Sender<LoginReply>>,
}

impl Half {
    fn new(socket: Socket, channel: StoreChannel) -> Self {
        let (subjects, ids) = (HashMap::new(), HashMap::new());
        Self { socket, channel, subjects, ids, unsent: VecDeque::new(), parts: Vec::new(), login: Vec::new() }
    }

    /// Passes messages on in both directions until the daemon has no more.
    async fn run(&mut self, mut asked: UnboundedReceiver<Question>) -> Result<(), Box<dyn Error>> {
        let mut crowded = false;
        loop {
            tokio::select! {
                received = self.socket.receive() => match received {
                    Ok(received) => {
                        let (message, body) = open(received)?;
                        self.take(message, body)?;
                    }
                    Err(ReceiveError::Ended) => return Ok(()),
                    Err(error) => return Err(format!("{error:?}").into()),
                },
                Some(question) = asked.recv() => match question {
                    Question::Login(reply) => {
                        self.login.push(reply);
                        if self.login.len() == 1 {
                            self.say(&FromHalf::NeedsLogin, &Blob::default())?;
                        }
                    }
                    Question::Moved { memory, gone } => {
                        let ids = gone.iter().filter_map(|gone| self.ids.get(gone).copied());
                        let ids: Vec<Id> = ids.collect();
                        for id in ids {
                            self.say(&FromHalf::Gone { id }, &Blob::default())?;
                        }
                        self.say(&FromHalf::Moved { memory: bounded(memory) }, &Blob::default())?;
                    }
                },
                event = self.channel.next(), if self.unsent.is_empty() => match event {
                    Some(event) => self.report(event)?,
                    None => return Err("the store has ended".into()),
                },
                () = sleep(DESCRIPTORS_PAUSE), if crowded => crowded = self.send()?,
                () = self.socket.room(), if !crowded && !self.unsent.is_empty() => crowded = self.send()?,
            }
        }
    }

    /// Sends what there is room for. Returns whether the kernel takes no more descriptors for now.
    fn send(&mut self) -> io::Result<bool> {
        while let Some(packet) = self.unsent.front() {
            match self.socket.send(packet) {
                Ok(true) => drop(self.unsent.pop_front()),
                Ok(false) => return Ok(false),
                Err(error) if error.raw_os_error() == Some(nix::libc::ETOOMANYREFS) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn say(&mut self, message: &FromHalf, body: &Blob) -> Result<(), Box<dyn Error>> {
        let packets = packets(message, &FromHalf::More, body).map_err(|error| format!("{error:?}"))?;
        self.unsent.extend(packets);
        Ok(())
    }

    fn take(&mut self, message: ToHalf, body: Vec<u8>) -> Result<(), Box<dyn Error>> {
        self.parts.extend(body);
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
                self.ids.insert(subject.clone(), id);
                self.channel.follow(subject);
            }
            ToHalf::Leave { id } => {
                if let Some(subject) = self.subjects.remove(&id) {
                    self.ids.remove(&subject);
                    self.channel.leave(subject);
                }
            }
            ToHalf::Refresh { id } => {
                if let Some(subject) = self.subjects.get(&id) {
                    self.channel.refresh(subject.clone());
                }
            }
        }
        Ok(())
    }

    fn report(&mut self, event: StoreEvent) -> Result<(), Box<dyn Error>> {
        let id = |subject: &Subject| self.ids.get(subject).copied();
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
            StoreEvent::HalfStarted(_) => return Ok(()),
        };
        self.say(&message, &Blob::default())
    }
}
