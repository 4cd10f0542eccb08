//! The daemon's end: keeps a half running, and passes on what it says.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{OwnedPermit, Sender};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::budget::Budget;
use super::conduct::Violation;
use super::conversation::{Conversation, Unheard};
use super::disposal::Disposal;
use super::ending::{Ending, describe, trouble};
use super::followed::Followed;
use super::hearing::{Heard, Hearing};
use super::liveness::{Liveness, START_TIMEOUT, Step};
use super::login::LoginReader;
use super::misfortune::{Blame, Misfortune, Next, Trouble};
use super::room::Room;
use super::socket::{ReceiveError, Received};
use super::starter::{HalfOptions, Started, Starter};
use super::task::Task;
use crate::store::channel::{StoreChannel, StoreEnd};
use crate::store::directory::of_former_daemon;
use crate::store::message::{HalfStarted, StoreCommand, StoreEvent};
use crate::store::settings::StoreSettings;
use crate::sys::{Alarm, die_first, watch_process};

/// How many events may wait for the daemon, beside those that wait in the half and in the socket. While none
/// fits in, nothing is read from the socket. Then the socket is full, the half takes no event of its store,
/// and the store reads no node: so a slow daemon gets the latest state instead of every state.
pub(super) const EVENT_QUEUE: usize = 64;

/// The pause before a half looks at another directory. A link may be turned again and again.
const MOVED_PAUSE: Duration = Duration::from_millis(50);

/// How often it may look at another directory at once, and how often once more.
const MAX_MOVES: usize = 8;
const MOVE_INTERVAL: Duration = Duration::from_secs(5);

/// How often it may have the next daemon told something at once, and how often once more: each is written to
/// the ledger. What is beyond that is told the next processes alone.
const MAX_MEMORIES: usize = 16;
const MEMORY_INTERVAL: Duration = Duration::from_secs(10);

/// Why there is no half while that is too often.
const MOVES_AGAIN_AND_AGAIN: &str = "the directory of this store is another one again and again, and each is \
                                     looked at after a pause; look at what changes the links or mounts on \
                                     the way to it";

/// How long messages are taken before other tasks of this thread have their turn.
const TURN: Duration = Duration::from_millis(2);

/// How many messages are taken of a half that has ended: more than a socket of the usual size holds, of which
/// each takes almost a kilobyte.
pub(super) const MAX_LAST_WORDS: usize = 1024;

/// How many processes that were killed may still be there when another is started. Who waits for a file
/// system that hangs may not die at once.
pub(super) const MAX_LINGERING: usize = 3;

/// Opens a channel to a store that runs in a process of its own. Must be called within a `LocalSet` on a
/// current-thread runtime. A store that cannot be reached is no error, nor is a process that cannot be
/// started: `Disconnected` reports it, and it is tried again. `memory` is what a former daemon's process
/// asked to remember.
pub fn open(settings: StoreSettings, options: HalfOptions, memory: Option<String>) -> StoreChannel {
    let (channel, end) = StoreChannel::with_room(EVENT_QUEUE);
    let memory = memory.as_deref().and_then(of_former_daemon);
    spawn_local(async move {
        let mut supervisor = Supervisor { memory, ..Supervisor::new(settings, options, end) };
        // The daemon closed the channel.
        let Err(Closed) = supervisor.run().await;
    });
    channel
}

/// The daemon has no more commands, or receives no more events.
#[derive(Debug)]
pub(super) struct Closed;

/// The process of a half.
pub(super) struct Peer<'a> {
    pub(super) pid: Pid,
    /// Who it is, for people.
    pub(super) user: &'a str,
    /// Readable when it has ended. `None` where the kernel does not tell; then its socket does.
    pub(super) end: Option<AsyncFd<OwnedFd>>,
}

impl Peer<'_> {
    /// Waits until the process has ended. Can be dropped at any time.
    pub(super) async fn ended(&self) {
        match &self.end {
            // An error would say nothing of the process.
            Some(end) if end.readable().await.is_ok() => {}
            Some(_) | None => pending().await,
        }
    }
}

pub(super) struct Supervisor {
    settings: StoreSettings,
    options: HalfOptions,
    end: StoreEnd,
    hearing: Hearing,
    misfortune: Misfortune,
    moves: Budget,
    memories: Budget,
    login: LoginReader,
    disposal: Disposal,
    /// Each process that was killed, and has not ended, holds this as well.
    lingering: Rc<()>,
    /// Whether the daemon believes that the store is connected. `None` while it was told nothing.
    is_connected: Option<bool>,
    /// What each next half is told of the former ones.
    memory: Option<String>,
}

impl Supervisor {
    pub(super) fn new(settings: StoreSettings, options: HalfOptions, end: StoreEnd) -> Self {
        Self {
            hearing: Hearing::new(
                Followed::new(settings.capabilities().durable_versions),
                Room::new(options.memory),
            ),
            settings,
            options,
            end,
            misfortune: Misfortune::new(),
            moves: Budget::new(MOVE_INTERVAL, Instant::now()),
            memories: Budget::new(MEMORY_INTERVAL, Instant::now()),
            login: LoginReader::default(),
            disposal: Disposal::default(),
            lingering: Rc::default(),
            is_connected: None,
            memory: None,
        }
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, Closed> {
        let mut starter = None;
        loop {
            let trouble = match self.start(&mut starter).await? {
                Ok(started) => {
                    self.hearing.restart();
                    let at = Instant::now();
                    let served = self.serve(started).await?;
                    self.misfortune.ended(at.elapsed());
                    served
                }
                Err(error) => Some(Trouble::cannot_start(&error)),
            };
            let pause = match trouble {
                Some(trouble) => {
                    self.fail(trouble).await?;
                    self.misfortune.pause()
                }
                None => {
                    let pause = self.pause_of_move(Instant::now());
                    if pause > MOVED_PAUSE {
                        // Nobody looks at the nodes meanwhile.
                        let reason = MOVES_AGAIN_AND_AGAIN.to_owned();
                        self.fail(Trouble { reason, blame: Blame::Daemon }).await?;
                    }
                    pause
                }
            };
            self.wait(Instant::now() + pause).await?;
        }
    }

    /// Starts a half. A start that hangs cannot be given up, so there is only one: if it takes long, that is
    /// an outage, and it is waited for.
    async fn start(&mut self, starter: &mut Option<Starter>) -> Result<io::Result<Started>, Closed> {
        if self.disposal.is_full() {
            let full = "descriptors that former ones sent cannot be closed yet; report this";
            return Ok(Err(io::Error::other(full)));
        }
        if Rc::strong_count(&self.lingering) > MAX_LINGERING {
            let full = "former ones were killed and do not end; look at the file system of its directory";
            return Ok(Err(io::Error::other(full)));
        }
        let starter = match starter {
            Some(starter) => starter,
            none => match Starter::new(self.settings.clone(), self.options.clone(), Task::Follow) {
                Ok(new) => none.insert(new),
                Err(error) => return Ok(Err(error)),
            },
        };
        let mut starting = pin!(starter.start());
        let mut overdue_at = Some(Instant::now() + START_TIMEOUT);
        loop {
            tokio::select! {
                started = &mut starting => return Ok(started),
                command = self.end.commands.recv() => self.obey(command).await?,
                () = sleep_until(overdue_at.unwrap_or_else(Instant::now)), if overdue_at.is_some() => {
                    overdue_at = None;
                    self.fail(Trouble::overdue()).await?;
                }
            }
        }
    }

    /// Notes that a half asked for another, and returns how long that has to wait.
    fn pause_of_move(&mut self, now: Instant) -> Duration {
        self.moves.spend(now);
        self.moves.wait(now, MAX_MOVES).max(MOVED_PAUSE)
    }

    /// Reports that there is no half, and why.
    async fn fail(&mut self, trouble: Trouble) -> Result<(), Closed> {
        let (next, reason) = self.misfortune.next(self.is_connected != Some(false), trouble);
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
                command = self.end.commands.recv() => self.obey(command).await?,
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    async fn obey(&mut self, command: Option<StoreCommand>) -> Result<(), Closed> {
        match self.hearing.followed.take(command.ok_or(Closed)?) {
            Some((subject, reason)) => self.send(StoreEvent::Unreadable { subject, reason }).await,
            None => Ok(()),
        }
    }

    /// Serves one half until it ends. Returns why it did, if that is an outage.
    async fn serve(
        &mut self,
        Started { mut helper, socket, stderr, user }: Started,
    ) -> Result<Option<Trouble>, Closed> {
        let pid = helper.pid();
        die_first(pid);
        let half = HalfStarted { pid: pid.as_raw().cast_unsigned(), confinement: None };
        self.send(StoreEvent::HalfStarted(half)).await?;
        let peer = Peer { pid, user: &user, end: watch_process(pid).ok() };
        let ended = self.talk(peer, socket).await;
        self.login.forget();
        if !matches!(ended, Ok(Ending::Gone)) {
            helper.kill();
        }
        let how = describe(helper, stderr, self.options.memory, &self.lingering).await;
        let trouble = trouble(ended?, how);
        self.send(StoreEvent::HalfEnded).await?;
        Ok(trouble)
    }

    pub(super) async fn talk(&mut self, peer: Peer<'_>, socket: OwnedFd) -> Result<Ending, Closed> {
        let (memory, disposal) = (self.memory.clone(), self.disposal.clone());
        let mut conversation = match Conversation::begin(socket, &self.settings, memory, disposal) {
            Ok(conversation) => conversation,
            Err(error) => return Ok(Ending::System(error)),
        };
        let mut liveness = Liveness::new(self.settings.session_timeout(), Instant::now());
        let mut alarm = Alarm::start();
        let mut permit: Option<OwnedPermit<StoreEvent>> = None;
        let mut turn_ends = Instant::now() + TURN;
        loop {
            let has_words = !conversation.unsent.is_empty() || self.hearing.followed.has_next();
            let now = Instant::now();
            let hears_at = now + self.hearing.pause(now);
            if hears_at > now && conversation.socket.is_hung_up() {
                return self.hear_out(&mut conversation, permit, &peer).await;
            }
            let Conversation { socket, is_deaf, .. } = &mut conversation;
            let retry_at = self.hearing.room.due();
            let held_at = self.hearing.pause_of_held(now).map(|pause| now + pause);
            tokio::select! {
                command = self.end.commands.recv() => match command {
                    Some(command) => self.obey(Some(command)).await?,
                    None => {
                        conversation.close().await;
                        return Err(Closed);
                    }
                },
                room = room(&self.end.events), if permit.is_none() => {
                    permit = Some(room?);
                    liveness.resume(Instant::now());
                }
                received = socket.receive(), if permit.is_some() && hears_at <= now => {
                    liveness.heard(Instant::now());
                    match self.hear(&mut conversation, received, &peer).await {
                        Ok(Some(event)) => drop(permit.take().map(|permit| permit.send(event))),
                        Ok(None) => {}
                        Err(ending) => return Ok(ending),
                    }
                    if Instant::now() >= turn_ends {
                        tokio::task::yield_now().await;
                        turn_ends = Instant::now() + TURN;
                    }
                }
                () = sleep_until(hears_at), if hears_at > now => {}
                () = peer.ended() => return self.hear_out(&mut conversation, permit, &peer).await,
                () = sleep_until(held_at.unwrap_or(now)), if permit.is_some() && held_at.is_some() => {
                    if let Some(event) = self.hearing.release(Instant::now()) {
                        drop(permit.take().map(|permit| permit.send(event)));
                    }
                }
                () = sleep_until(retry_at.unwrap_or(now)), if retry_at.is_some() => {
                    let fitting = self.hearing.room.retry(Instant::now());
                    fitting.into_iter().for_each(|id| self.hearing.followed.report_again(id));
                }
                reply = self.login.answer() => {
                    if let Err(error) = conversation.tell_login(reply) {
                        return Ok(Ending::System(error));
                    }
                }
                () = socket.room(), if has_words && !*is_deaf => {
                    if let Err(error) = conversation.send(&mut self.hearing.followed) {
                        return Ok(Ending::System(error));
                    }
                }
                () = alarm.until(liveness.due()), if permit.is_some() => match liveness.step(Instant::now()) {
                    Step::Wait => {}
                    Step::GiveUp => return Ok(Ending::Unresponsive(liveness.patience())),
                    Step::Ask => if let Err(error) = conversation.ping() {
                        return Ok(Ending::System(error));
                    },
                },
            }
        }
    }

    /// Takes what a half has said that has ended. That does not take long, and another half reads everything
    /// anew, so the rest is left out if another process goes on to speak for it.
    async fn hear_out(
        &mut self,
        conversation: &mut Conversation,
        mut permit: Option<OwnedPermit<StoreEvent>>,
        peer: &Peer<'_>,
    ) -> Result<Ending, Closed> {
        self.hearing.has_ended = true;
        for _ in 0..MAX_LAST_WORDS {
            let Some(received) = conversation.socket.try_receive() else { break };
            match self.hear(conversation, received, peer).await {
                Ok(Some(event)) => {
                    let permit = match permit.take() {
                        Some(permit) => permit,
                        None => room(&self.end.events).await?,
                    };
                    permit.send(event);
                }
                Ok(None) => {}
                Err(ending) => return Ok(ending),
            }
        }
        Ok(Ending::Gone)
    }

    /// Takes what came from the half. Returns what to tell the daemon of it.
    async fn hear(
        &mut self,
        conversation: &mut Conversation,
        received: Result<Received, ReceiveError>,
        peer: &Peer<'_>,
    ) -> Result<Option<StoreEvent>, Ending> {
        let received = received.map_err(|error| match error {
            ReceiveError::Ended => Ending::Gone,
            ReceiveError::NoDescriptors => Ending::NoDescriptors,
            ReceiveError::System(error) => Ending::System(error),
            ReceiveError::Malformed(descriptors) => {
                self.disposal.close(descriptors);
                Ending::Violation(Violation::Packet)
            }
        })?;
        let heard = conversation.hear(received, &self.hearing.followed).map_err(|unheard| match unheard {
            Unheard::Violation(violation) => Ending::Violation(violation),
            Unheard::System(error) => Ending::System(error),
        })?;
        let Some((message, body)) = heard else { return Ok(None) };
        let event =
            match self.hearing.take(message, body, peer.pid, peer.user).await.map_err(Ending::Violation)? {
                Heard::Event(event) => event,
                Heard::Nothing => return Ok(None),
                Heard::NeedsLogin => {
                    self.login.ask(&self.settings);
                    return Ok(None);
                }
                Heard::Remember(memory) => {
                    self.memory = Some(memory.clone());
                    let now = Instant::now();
                    if !self.memories.wait(now, MAX_MEMORIES).is_zero() {
                        return Ok(None);
                    }
                    self.memories.spend(now);
                    StoreEvent::Remember { memory }
                }
                Heard::Moved => return Err(Ending::Moved),
            };
        if matches!(event, StoreEvent::Connected { .. }) {
            self.is_connected = Some(true);
            self.misfortune.connected();
        } else if matches!(event, StoreEvent::Disconnected { .. }) {
            self.is_connected = Some(false);
        }
        Ok(Some(event))
    }
}

async fn room(events: &Sender<StoreEvent>) -> Result<OwnedPermit<StoreEvent>, Closed> {
    events.clone().reserve_owned().await.map_err(|_| Closed)
}

#[cfg(test)]
mod tests;
