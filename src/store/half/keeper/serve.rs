//! The process of a keeper.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::message::{FromKeeper, ToKeeper};
use crate::model::Blob;
use crate::store::directory;
use crate::store::half::message::bounded;
use crate::store::half::sandbox;
use crate::store::half::serve::{extend, first, open, runtime};
use crate::store::half::socket::{Packet, ReceiveError, Socket, packets};
use crate::store::half::task::{AtEnd, Task};
use crate::store::keeper::Keeper;
use crate::store::member::{KeeperEvent, KeeperOrder, Member};
use crate::store::memory;
use crate::store::question::{Apart, LoginReply, Question};
use crate::store::settings::StoreSettings;
use crate::sys::name_unix_sockets;

/// What other programs send to all processes of a group or service. The one who gives the orders says when it
/// is time to end.
const IGNORED: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// How often it is looked whether the directory of the store is another one.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Keeps members in the store that the other end of `socket` names, until that is closed.
pub fn serve(socket: OwnedFd) -> Result<(), Box<dyn Error>> {
    SigSet::from_iter(IGNORED).thread_block()?;
    let (settings, at_end, memory) = first_message(&socket)?;
    let runtime = runtime()?;
    memory::heed_limits();
    name_unix_sockets();
    let root = Root::new(&settings);
    let (directory, permitted) = settings.directory().map_or((None, None), directory::permit);
    let confinement = sandbox::enter(&settings, directory.as_ref(), Task::Keep(at_end))?;
    // Its file system can be unmounted.
    drop(directory);
    let served = LocalSet::new().block_on(&runtime, async {
        let (questions, asked) = unbounded_channel();
        let keeper = Keeper::open(&settings, Apart { questions, memory, permitted });
        let mut process = Process::new(Socket::new(socket)?);
        process.say(&FromKeeper::Ready { confinement })?;
        process.run(keeper, asked, root, at_end).await
    });
    // A hanging resolver is not waited for.
    runtime.shutdown_background();
    served
}

/// What the keeper is told first: its store, what becomes of the members in the end, and what former keepers
/// asked to remember.
type Start = (StoreSettings, AtEnd, Option<String>);

pub(super) fn first_message(socket: &OwnedFd) -> Result<Start, Box<dyn Error>> {
    let (message, body) = first(socket, |message| *message == ToKeeper::More)?;
    match message {
        ToKeeper::Start { at_end, memory } => Ok((serde_json::from_slice(&body)?, at_end, memory)),
        other => Err(format!("{other:?} came first").into()),
    }
}

/// The directory of the store, which alone this process can write to, if it is one.
pub(super) struct Root(Option<(PathBuf, Option<(u64, u64)>)>);

impl Root {
    /// There is none.
    pub(super) fn none() -> Self {
        Self(None)
    }

    fn new(settings: &StoreSettings) -> Self {
        Self(settings.directory().map(|path| (path.to_owned(), id(path))))
    }

    fn has_moved(&self) -> bool {
        self.0.as_ref().is_some_and(|(path, before)| id(path) != *before)
    }
}

fn id(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

pub(super) struct Process {
    socket: Socket,
    /// What is to be sent. No event is taken from the keeper before the last one is sent.
    unsent: VecDeque<Packet>,
    /// The body of the next message, as far as it came.
    parts: Vec<u8>,
    /// Who waits for the login.
    login: Vec<oneshot::Sender<LoginReply>>,
}

/// What is to be done after a message.
enum Next {
    Continue,
    Order(KeeperOrder),
    Close,
}

impl Process {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, unsent: VecDeque::new(), parts: Vec::new(), login: Vec::new() }
    }

    pub(super) async fn run(
        &mut self,
        mut keeper: Keeper,
        mut asked: UnboundedReceiver<Question>,
        root: Root,
        at_end: AtEnd,
    ) -> Result<(), Box<dyn Error>> {
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        loop {
            tokio::select! {
                received = self.socket.receive() => match received {
                    Ok(received) => {
                        let (message, body) = open(received)?;
                        match self.take(message, body)? {
                            Next::Continue => {}
                            Next::Order(order) => keeper.order(order),
                            Next::Close => break,
                        }
                    }
                    Err(ReceiveError::Ended) => match at_end {
                        AtEnd::Leave => return Ok(()),
                        AtEnd::Withdraw => break,
                    },
                    Err(error) => return Err(format!("{error:?}").into()),
                },
                Some(question) = asked.recv() => self.ask(question)?,
                event = keeper.next(), if self.unsent.is_empty() => match event {
                    Some(event) => self.say(&FromKeeper::Event(sayable(event)))?,
                    None => return Err("the keeper has ended".into()),
                },
                () = sleep_until(look_at), if root.0.is_some() => {
                    look_at = Instant::now() + LOOK_INTERVAL;
                    if root.has_moved() {
                        self.say(&FromKeeper::Moved)?;
                    }
                }
                () = self.socket.room(), if !self.unsent.is_empty() => self.send()?,
            }
        }
        keeper.close().await;
        Ok(())
    }

    fn say(&mut self, message: &FromKeeper) -> Result<(), Box<dyn Error>> {
        // No message has a body.
        let packets = packets(message, message, &Blob::default()).map_err(|error| format!("{error:?}"))?;
        self.unsent.extend(packets);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Box<dyn Error>> {
        while let Some(packet) = self.unsent.front() {
            if !self.socket.send(packet)? {
                break;
            }
            self.unsent.pop_front();
        }
        Ok(())
    }

    fn ask(&mut self, question: Question) -> Result<(), Box<dyn Error>> {
        match question {
            Question::Login(reply) => {
                self.login.push(reply);
                if self.login.len() == 1 {
                    self.say(&FromKeeper::NeedsLogin)?;
                }
                Ok(())
            }
            Question::Remember(memory) => self.say(&FromKeeper::Remember { memory: bounded(memory) }),
            // A keeper follows nothing. Its own process looks where the directory is.
            Question::Moved(_) => Ok(()),
        }
    }

    fn take(&mut self, message: ToKeeper, body: Vec<u8>) -> Result<Next, Box<dyn Error>> {
        extend(&mut self.parts, body)?;
        if message == ToKeeper::More {
            return Ok(Next::Continue);
        }
        let body = std::mem::take(&mut self.parts);
        Ok(match message {
            ToKeeper::More => Next::Continue,
            ToKeeper::Start { .. } => return Err("it was started already".into()),
            ToKeeper::Ping => {
                self.say(&FromKeeper::Pong)?;
                Next::Continue
            }
            ToKeeper::Login { error } => {
                for reply in self.login.drain(..) {
                    let _ = reply.send(error.clone().map_or_else(|| Ok(body.clone()), Err));
                }
                Next::Continue
            }
            ToKeeper::Announce { path, acl } => {
                Next::Order(KeeperOrder::Announce(Member { path, data: body, acl }))
            }
            ToKeeper::Withdraw { path } => Next::Order(KeeperOrder::Withdraw(path)),
            ToKeeper::Recorded { owner } => {
                let former = serde_json::from_slice(&body)?;
                Next::Order(KeeperOrder::Recorded { owner, former })
            }
            ToKeeper::Close => Next::Close,
        })
    }
}

/// Cuts the texts of an event to what a message may have.
fn sayable(event: KeeperEvent) -> KeeperEvent {
    match event {
        KeeperEvent::Connected { what } => KeeperEvent::Connected { what: bounded(what) },
        KeeperEvent::Conflict { path, holder } => KeeperEvent::Conflict { path, holder: holder.map(bounded) },
        KeeperEvent::Waiting { path, reason } => KeeperEvent::Waiting { path, reason: bounded(reason) },
        KeeperEvent::Disconnected { reason } => KeeperEvent::Disconnected { reason: bounded(reason) },
        KeeperEvent::Refused { reason } => KeeperEvent::Refused { reason: bounded(reason) },
        KeeperEvent::Opened { .. } | KeeperEvent::Announced { .. } | KeeperEvent::Withdrawn { .. } => event,
    }
}
