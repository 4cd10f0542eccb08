//! The daemon's end: keeps a half running, and passes on what it says.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::mpsc::{OwnedPermit, Sender};
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::conduct::Violation;
use super::conversation::Conversation;
use super::ending::describe;
use super::followed::Followed;
use super::message::{FromHalf, ToHalf};
use super::misfortune::{Misfortune, Next};
use super::socket::{ReceiveError, Socket};
use super::starter::{HalfOptions, Started, Starter};
use crate::model::{Blob, NodePath, Subject};
use crate::store::channel::{StoreChannel, StoreEnd};
use crate::store::encoding::StateHeader;
use crate::store::message::{Exposure, HalfStarted, StoreEvent};
use crate::store::question::LoginReply;
use crate::store::settings::StoreSettings;
use crate::sys::Helper;
use crate::text::printable;

/// How many events may wait for the daemon, beside those that wait in the half and in the socket. While none
/// fits in, nothing is read from the socket. Then the socket is full, the half takes no event of its store,
/// and the store reads no node: so a slow daemon gets the latest state instead of every state.
const EVENT_QUEUE: usize = 64;

/// How often a half is asked whether it is alive, and how many such questions may be unanswered. A half that
/// hangs would report nothing any more, and nobody would notice.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const MAX_UNANSWERED: u32 = 3;

/// The pause before a half looks at another directory. A link may be turned again and again.
const MOVED_PAUSE: Duration = Duration::from_millis(50);

/// The shortest time between two readings of the login.
const LOGIN_INTERVAL: Duration = Duration::from_millis(250);

/// How many messages are taken before other tasks of this thread have their turn.
const MAX_BATCH: u32 = 64;

/// Opens a channel to a store that runs in a process of its own. Must be called within a `LocalSet` on a
/// current-thread runtime. A store that cannot be reached is no error, nor is a process that cannot be
/// started: `Disconnected` reports it, and it is tried again.
pub fn open(settings: StoreSettings, options: HalfOptions) -> StoreChannel {
    let (channel, end) = StoreChannel::with_room(EVENT_QUEUE);
    spawn_local(async move {
        // The daemon closed the channel.
        let Err(Closed) = Supervisor::new(settings, options, end).run().await;
    });
    channel
}

/// The daemon has no more commands, or receives no more events.
struct Closed;

/// Why a half is replaced.
#[derive(Debug)]
enum Ending {
    /// It ended by itself.
    Gone,
    Violation(Violation),
    Unresponsive,
    System(io::Error),
    /// It asked for that.
    Moved,
}

struct Supervisor {
    settings: StoreSettings,
    options: HalfOptions,
    end: StoreEnd,
    followed: Followed,
    misfortune: Misfortune,
    /// Whether the daemon believes that the store is connected. `None` while it was told nothing.
    is_connected: Option<bool>,
    login_read_at: Option<Instant>,
    /// What the next half is told of the last one.
    memory: Option<String>,
}

impl Supervisor {
    fn new(settings: StoreSettings, options: HalfOptions, end: StoreEnd) -> Self {
        Self {
            followed: Followed::new(settings.capabilities().durable_versions),
            settings,
            options,
            end,
            misfortune: Misfortune::new(),
            is_connected: None,
            login_read_at: None,
            memory: None,
        }
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, Closed> {
        let mut starter = None;
        loop {
            let reason = match self.start(&mut starter).await {
                Ok(Started { helper, socket, stderr, user }) => {
                    self.followed.restart();
                    let at = Instant::now();
                    let served = self.serve(helper, socket, stderr, &user).await?;
                    self.misfortune.ended(at.elapsed());
                    served
                }
                Err(error) => Some(format!("the process of this store cannot be started: {error}")),
            };
            let pause = match reason {
                Some(reason) => {
                    self.fail(reason).await?;
                    self.misfortune.pause()
                }
                None => MOVED_PAUSE,
            };
            self.wait(Instant::now() + pause).await?;
        }
    }

    async fn start(&mut self, starter: &mut Option<Starter>) -> io::Result<Started> {
        let starter = match starter {
            Some(starter) => starter,
            none => none.insert(Starter::new(self.settings.clone(), self.options.clone())?),
        };
        starter.start().await
    }

    /// Reports that there is no half, and why.
    async fn fail(&mut self, reason: String) -> Result<(), Closed> {
        let (next, reason) = self.misfortune.next(self.is_connected != Some(false), reason);
        match next {
            Next::Silent => Ok(()),
            Next::Disconnected => {
                self.is_connected = Some(false);
                self.send(StoreEvent::Disconnected { reason }).await
            }
            Next::Refused => self.send(StoreEvent::Refused { reason }).await,
        }
    }

    async fn send(&mut self, event: StoreEvent) -> Result<(), Closed> {
        self.end.events.send(event).await.map_err(|_| Closed)
    }

    /// Takes commands until `deadline`.
    async fn wait(&mut self, deadline: Instant) -> Result<(), Closed> {
        loop {
            tokio::select! {
                command = self.end.commands.recv() => {
                    let refused = self.followed.take(command.ok_or(Closed)?);
                    self.refuse(refused).await?;
                }
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    async fn refuse(&mut self, refused: Option<(Subject, String)>) -> Result<(), Closed> {
        match refused {
            Some((subject, reason)) => self.send(StoreEvent::Unreadable { subject, reason }).await,
            None => Ok(()),
        }
    }

    /// Serves one half until it ends. Returns why it did, if that is an outage.
    async fn serve(
        &mut self,
        mut helper: Helper,
        socket: OwnedFd,
        stderr: OwnedFd,
        user: &str,
    ) -> Result<Option<String>, Closed> {
        let ended = self.talk(helper.pid(), socket, user).await;
        if !matches!(ended, Ok(Ending::Gone)) {
            helper.kill();
        }
        let how = describe(helper, stderr, self.options.memory).await;
        Ok(match ended? {
            Ending::Gone => Some(how),
            Ending::Moved => None,
            Ending::Violation(violation) => {
                Some(format!("the process of this store said {violation}, and was killed"))
            }
            Ending::Unresponsive => {
                let seconds = PING_INTERVAL.as_secs() * u64::from(MAX_UNANSWERED);
                Some(format!("the process of this store gave no answer for {seconds} s, and was killed"))
            }
            Ending::System(error) => Some(format!("the process of this store cannot be talked to: {error}")),
        })
    }

    async fn talk(&mut self, pid: Pid, socket: OwnedFd, user: &str) -> Result<Ending, Closed> {
        let mut conversation = match Conversation::begin(socket, &self.settings, self.memory.take()) {
            Ok(conversation) => conversation,
            Err(error) => return Ok(Ending::System(error)),
        };
        let mut permit: Option<OwnedPermit<StoreEvent>> = None;
        let mut ping_at = Instant::now() + PING_INTERVAL;
        let mut batch = 0;
        loop {
            let Conversation { socket, unsent, login, news, is_deaf, .. } = &mut conversation;
            let has_words = !unsent.is_empty() || self.followed.has_next();
            tokio::select! {
                command = self.end.commands.recv() => match command {
                    Some(command) => {
                        let refused = self.followed.take(command);
                        self.refuse(refused).await?;
                    }
                    None => {
                        close(socket).await;
                        return Err(Closed);
                    }
                },
                room = room(&self.end.events), if permit.is_none() => permit = Some(room?),
                received = socket.receive(), if permit.is_some() && news.at() <= Instant::now() => {
                    let received = match received {
                        Ok(received) => received,
                        Err(ReceiveError::Ended) => return Ok(Ending::Gone),
                        Err(ReceiveError::Malformed) => return Ok(Ending::Violation(Violation::Packet)),
                        Err(ReceiveError::System(error)) => return Ok(Ending::System(error)),
                    };
                    let heard = match conversation.hear(received, &self.followed) {
                        Ok(heard) => heard,
                        Err(violation) => return Ok(Ending::Violation(violation)),
                    };
                    if let Some((FromHalf::Moved { memory }, _)) = heard {
                        self.memory = Some(memory);
                        return Ok(Ending::Moved);
                    }
                    let said = heard.map(|(message, body)| {
                        self.take(&mut conversation, message, body, pid, user)
                    });
                    match said {
                        Some(Err(violation)) => return Ok(Ending::Violation(violation)),
                        Some(Ok(Some(event))) => drop(permit.take().map(|permit| permit.send(event))),
                        Some(Ok(None)) | None => {}
                    }
                    batch += 1;
                    if batch % MAX_BATCH == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                () = sleep_until(news.at()), if news.at() > Instant::now() => {}
                reply = answer(login), if login.is_some() => {
                    *login = None;
                    if let Err(error) = conversation.tell_login(reply) {
                        return Ok(Ending::System(error));
                    }
                }
                () = socket.room(), if has_words && !*is_deaf => {
                    if let Err(error) = conversation.send(&mut self.followed) {
                        return Ok(Ending::System(error));
                    }
                }
                () = sleep_until(ping_at), if permit.is_some() => {
                    ping_at = Instant::now() + PING_INTERVAL;
                    if conversation.conduct.pinged() >= MAX_UNANSWERED {
                        return Ok(Ending::Unresponsive);
                    }
                    if let Err(error) = conversation.say(&ToHalf::Ping, &Blob::default()) {
                        return Ok(Ending::System(error));
                    }
                }
            }
        }
    }

    /// Takes a message that was judged. Returns what to tell the daemon of it.
    fn take(
        &mut self,
        conversation: &mut Conversation,
        message: FromHalf,
        body: Blob,
        pid: Pid,
        user: &str,
    ) -> Result<Option<StoreEvent>, Violation> {
        let text = |text: String| printable(text.as_bytes());
        let subject = |id| self.followed.subject(id).cloned();
        let event = match message {
            FromHalf::More | FromHalf::Pong | FromHalf::Moved { .. } => return Ok(None),
            FromHalf::Ready { confinement } => {
                let confinement = format!("as {user}, {}", text(confinement));
                StoreEvent::HalfStarted(HalfStarted { pid: pid.as_raw().cast_unsigned(), confinement })
            }
            FromHalf::Gone { id } => {
                self.followed.gone(id);
                return Ok(None);
            }
            FromHalf::NeedsLogin => {
                conversation.login = Some(self.read_login());
                return Ok(None);
            }
            FromHalf::Observed { id, state } => {
                // It was left meanwhile.
                let Some(subject) = subject(id) else { return Ok(None) };
                let body = matches!(state, StateHeader::Present { .. }).then_some(body);
                let encoded = StoreEvent::Observed { subject, state };
                let event = encoded.decode(body, self.followed.last_tree(id));
                match event.map_err(|error| Violation::State(error.to_string()))? {
                    StoreEvent::Observed { subject, state } => {
                        StoreEvent::Observed { state: self.followed.continued(id, state), subject }
                    }
                    event => event,
                }
            }
            FromHalf::Unreadable { id, reason } => {
                let Some(subject) = subject(id) else { return Ok(None) };
                StoreEvent::Unreadable { subject, reason: text(reason) }
            }
            FromHalf::MissedChange { id } => {
                let Some(subject) = subject(id) else { return Ok(None) };
                StoreEvent::MissedChange { subject }
            }
            FromHalf::Connected { what, identity } => {
                self.is_connected = Some(true);
                self.misfortune.connected();
                StoreEvent::Connected { what: text(what), identity }
            }
            FromHalf::Disconnected { reason } => {
                self.is_connected = Some(false);
                StoreEvent::Disconnected { reason: text(reason) }
            }
            FromHalf::Refused { reason } => StoreEvent::Refused { reason: text(reason) },
            FromHalf::RootMissing { reason } => StoreEvent::RootMissing { reason: text(reason) },
            FromHalf::RootFound => StoreEvent::RootFound,
            FromHalf::Degraded { reason } => StoreEvent::Degraded { reason: text(reason) },
            FromHalf::Plaintext { server, with_credentials } => {
                StoreEvent::Exposed(Exposure::Plaintext { server: text(server), with_credentials })
            }
            FromHalf::Writable { path, facet } => {
                let path = NodePath::parse(&path).map_err(|_| Violation::Text)?;
                StoreEvent::Exposed(Exposure::Writable(Subject { path, facet }))
            }
            FromHalf::MoreWritable => StoreEvent::Exposed(Exposure::MoreWritable),
        };
        match event {
            StoreEvent::Observed { .. } | StoreEvent::Unreadable { .. } | StoreEvent::MissedChange { .. } => {
            }
            StoreEvent::HalfStarted(_)
            | StoreEvent::Connected { .. }
            | StoreEvent::Disconnected { .. }
            | StoreEvent::Refused { .. }
            | StoreEvent::RootMissing { .. }
            | StoreEvent::RootFound
            | StoreEvent::Exposed(_)
            | StoreEvent::Degraded { .. } => conversation.news.spend(Instant::now()),
        }
        Ok(Some(event))
    }

    /// Reads the login on a thread, because a file system can hang.
    fn read_login(&mut self) -> JoinHandle<LoginReply> {
        let settings = self.settings.clone();
        let last = self.login_read_at.replace(Instant::now());
        let pause = last.map_or(Duration::ZERO, |last| LOGIN_INTERVAL.saturating_sub(last.elapsed()));
        spawn_blocking(move || {
            std::thread::sleep(pause);
            settings.read_login()
        })
    }
}

async fn room(events: &Sender<StoreEvent>) -> Result<OwnedPermit<StoreEvent>, Closed> {
    events.clone().reserve_owned().await.map_err(|_| Closed)
}

async fn answer(login: &mut Option<JoinHandle<LoginReply>>) -> LoginReply {
    match login {
        Some(reading) => reading.await.unwrap_or_else(|error| Err(error.to_string())),
        None => pending().await,
    }
}

/// Waits until the half has closed its session and its end of the socket. The caller does not wait for long.
async fn close(socket: &Socket) {
    socket.close_sending();
    while socket.receive().await.is_ok() {
        // One that never stops talking must not keep the clock of the caller from running.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
