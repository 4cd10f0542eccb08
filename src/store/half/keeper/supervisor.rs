//! Keeps the process of a keeper running, and passes on what it says.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{
    OwnedPermit, Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel,
};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::line::Conversation;
use super::message::{FromKeeper, ToKeeper};
use super::standing::Standing;
use crate::store::client_error::ClientError;
use crate::store::directory::of_former_daemon;
use crate::store::half::budget::Budget;
use crate::store::half::conduct::Violation;
use crate::store::half::disposal::Disposal;
use crate::store::half::ending::{Ending, describe, trouble};
use crate::store::half::liveness::{Liveness, START_TIMEOUT, Step};
use crate::store::half::login::LoginReader;
use crate::store::half::misfortune::{Misfortune, Trouble};
use crate::store::half::socket::{ReceiveError, Received};
use crate::store::half::starter::{HalfOptions, Started, Starter};
use crate::store::half::supervisor::{MAX_LAST_WORDS, MAX_LINGERING, Peer};
use crate::store::half::task::{AtEnd, Task};
use crate::store::member::{KeeperEvent, KeeperOrder};
use crate::store::outage::Outage;
use crate::store::settings::StoreSettings;
use crate::sys::{Alarm, die_first, watch_process};
use crate::text::{count, printable};

/// How many events may wait for who gives the orders. While none fits in, nothing is read from the process.
pub(super) const EVENT_QUEUE: usize = 64;

/// How many events may come at once, beside some for each member, and how often one more: each can be a line
/// of the log. While that is too much, nothing more is heard.
const MAX_NEWS: usize = 64;
const NEWS_OF_MEMBER: usize = 4;
const NEWS_INTERVAL: Duration = Duration::from_millis(100);

/// How long the process may take to withdraw all members and end. A store that answers does so within a
/// second.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1700);

/// The ends of a keeper's channels. Dropping the orders has it withdraw all members, and end the events. They
/// do not end before: another process is started if one dies, and is told what is to be there.
pub struct KeeperLink {
    pub orders: UnboundedSender<KeeperOrder>,
    pub events: Receiver<KeeperEvent>,
    /// The process that keeps the members, as it is now.
    pub process: Rc<Cell<KeeperProcess>>,
}

/// The process of a keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeeperProcess {
    /// `None` while there is none.
    pub pid: Option<u32>,
    /// How many there were before it.
    pub restarts: u64,
}

/// Starts a keeper in a process of its own. Must be called within a `LocalSet` on a current-thread runtime.
///
/// A store that cannot be reached is no error, nor is a process that cannot be started: `Disconnected` tells
/// of it, and it is tried again. `memory` is what a process of a former daemon asked to
/// [remember](StoreEvent::Remember).
pub fn open(
    settings: StoreSettings,
    options: HalfOptions,
    at_end: AtEnd,
    memory: Option<String>,
) -> Result<KeeperLink, ClientError> {
    if settings.is_readonly() {
        return Err(ClientError::ReadOnly { store: settings.to_string() });
    }
    let (orders, ordered) = unbounded_channel();
    let (told, events) = channel(EVENT_QUEUE);
    let memory = memory.as_deref().and_then(of_former_daemon);
    let mut supervisor = Supervisor::new(settings, options, at_end, memory, ordered, told);
    let process = supervisor.process.clone();
    spawn_local(async move {
        let Err(Closed) = supervisor.run().await;
    });
    Ok(KeeperLink { orders, events, process })
}

/// There are no more orders, or nobody receives the events.
#[derive(Debug)]
pub(super) struct Closed;

pub(super) struct Supervisor {
    pub(super) settings: StoreSettings,
    options: HalfOptions,
    at_end: AtEnd,
    orders: UnboundedReceiver<KeeperOrder>,
    events: Sender<KeeperEvent>,
    /// What is to be told.
    untold: VecDeque<KeeperEvent>,
    pub(super) standing: Standing,
    outage: Outage,
    misfortune: Misfortune,
    /// What each next process is told of the former ones.
    pub(super) memory: Option<String>,
    /// What processes may still say.
    news: Budget,
    login: LoginReader,
    pub(super) disposal: Disposal,
    /// Each process that was killed, and has not ended, holds this as well.
    lingering: Rc<()>,
    /// The present process, with how many there were before it.
    process: Rc<Cell<KeeperProcess>>,
    /// Who the present process is and how it is confined, for people.
    who: String,
}

impl Supervisor {
    pub(super) fn new(
        settings: StoreSettings,
        options: HalfOptions,
        at_end: AtEnd,
        memory: Option<String>,
        orders: UnboundedReceiver<KeeperOrder>,
        events: Sender<KeeperEvent>,
    ) -> Self {
        Self {
            settings,
            options,
            at_end,
            orders,
            events,
            untold: VecDeque::new(),
            standing: Standing::default(),
            outage: Outage::default(),
            misfortune: Misfortune::new(),
            memory,
            news: Budget::new(NEWS_INTERVAL, Instant::now()),
            login: LoginReader::default(),
            disposal: Disposal::default(),
            lingering: Rc::default(),
            process: Rc::default(),
            who: String::new(),
        }
    }

    async fn run(&mut self) -> Result<Infallible, Closed> {
        let mut starter = None;
        loop {
            let trouble = match self.start(&mut starter).await? {
                Ok(started) => {
                    self.standing.restart();
                    let at = Instant::now();
                    let served = self.serve(started).await;
                    self.tell_all().await?;
                    let trouble = served?;
                    self.misfortune.ended(at.elapsed());
                    let restarts = self.process.get().restarts + 1;
                    self.process.set(KeeperProcess { pid: None, restarts });
                    trouble
                }
                Err(error) => Some(Trouble::cannot_start(&error)),
            };
            if let Some(trouble) = trouble {
                self.fail(trouble);
            }
            let pause = self.misfortune.pause();
            self.wait(Instant::now() + pause).await?;
        }
    }

    /// Starts a process. A start that hangs cannot be given up: if it takes long, that is an outage.
    async fn start(&mut self, starter: &mut Option<Starter>) -> Result<io::Result<Started>, Closed> {
        if self.disposal.is_full() || Rc::strong_count(&self.lingering) > MAX_LINGERING {
            return Ok(Err(io::Error::other("former ones were killed and have not ended yet")));
        }
        let task = Task::Keep(self.at_end);
        let starter = match starter {
            Some(starter) => starter,
            none => match Starter::new(self.settings.clone(), self.options.clone(), task) {
                Ok(new) => none.insert(new),
                Err(error) => return Ok(Err(error)),
            },
        };
        let mut starting = pin!(starter.start());
        let mut overdue_at = Some(Instant::now() + START_TIMEOUT);
        loop {
            tokio::select! {
                started = &mut starting => return Ok(started),
                done = self.exchange() => done?,
                () = sleep_until(overdue_at.unwrap_or_else(Instant::now)), if overdue_at.is_some() => {
                    overdue_at = None;
                    self.fail(Trouble::overdue());
                }
            }
        }
    }

    /// Notes that there is no process, and why.
    fn fail(&mut self, trouble: Trouble) {
        let (_, reason) = self.misfortune.next(true, trouble);
        self.untold.extend(self.outage.note(reason, true).map(KeeperEvent::from));
    }

    /// Takes an order or tells an event while there is no process.
    async fn exchange(&mut self) -> Result<(), Closed> {
        tokio::select! {
            order = self.orders.recv() => self.obey(order.ok_or(Closed)?),
            permit = room(&self.events), if !self.untold.is_empty() => self.tell(permit?),
        }
        Ok(())
    }

    async fn wait(&mut self, deadline: Instant) -> Result<(), Closed> {
        loop {
            tokio::select! {
                done = self.exchange() => done?,
                () = sleep_until(deadline) => return Ok(()),
            }
        }
    }

    fn obey(&mut self, order: KeeperOrder) {
        self.untold.extend(self.standing.order(order));
    }

    fn tell(&mut self, permit: OwnedPermit<KeeperEvent>) {
        if let Some(event) = self.untold.pop_front() {
            permit.send(event);
        }
    }

    pub(super) async fn tell_all(&mut self) -> Result<(), Closed> {
        while let Some(event) = self.untold.pop_front() {
            self.events.send(event).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Talks with one process until it ends. Returns why it did, if that is an outage.
    async fn serve(&mut self, started: Started) -> Result<Option<Trouble>, Closed> {
        let Started { mut helper, socket, stderr, user } = started;
        let pid = helper.pid();
        self.process.set(KeeperProcess { pid: Some(pid.as_raw().cast_unsigned()), ..self.process.get() });
        die_first(pid);
        let peer = Peer { pid, user: &user, end: watch_process(pid).ok() };
        let (memory, disposal) = (self.memory.clone(), self.disposal.clone());
        let begun = Conversation::begin(socket, &self.settings, self.at_end, memory, disposal);
        let ended = match begun {
            Ok(mut conversation) => self.talk(&mut conversation, &peer).await,
            Err(error) => Ok(Ending::System(error)),
        };
        self.login.forget();
        if !matches!(ended, Ok(Ending::Gone) | Err(Closed)) {
            helper.kill();
        }
        let how = describe(helper, stderr, self.options.memory, &self.lingering).await;
        Ok(trouble(ended?, how))
    }

    pub(super) async fn talk(
        &mut self,
        conversation: &mut Conversation,
        peer: &Peer<'_>,
    ) -> Result<Ending, Closed> {
        let mut liveness = Liveness::new(self.settings.session_timeout(), Instant::now());
        let mut alarm = Alarm::start();
        let mut closes_by = None;
        loop {
            let now = Instant::now();
            let hears_at = now + self.news.wait(now, MAX_NEWS + NEWS_OF_MEMBER * self.standing.len());
            let (is_told, has_words) = (self.untold.is_empty(), conversation.has_words(&self.standing));
            tokio::select! {
                order = self.orders.recv(), if closes_by.is_none() => match order {
                    Some(order) => self.obey(order),
                    None => {
                        if conversation.say(&ToKeeper::Close, Vec::new()).is_err() {
                            return Err(Closed);
                        }
                        closes_by = Some(now + CLOSE_TIMEOUT);
                    }
                },
                permit = room(&self.events), if !is_told => match permit {
                    Ok(permit) => {
                        self.tell(permit);
                        liveness.resume(Instant::now());
                    }
                    // Nobody listens to a keeper that is being closed.
                    Err(Closed) if closes_by.is_some() => self.untold.clear(),
                    Err(Closed) => return Err(Closed),
                },
                received = conversation.socket.receive(), if is_told && hears_at <= now => {
                    liveness.heard(Instant::now());
                    if let Err(ending) = self.hear(conversation, received, peer) {
                        return closes_by.map_or(Ok(ending), |_| Err(Closed));
                    }
                }
                () = sleep_until(hears_at), if hears_at > now => {}
                () = peer.ended() => {
                    let ending = self.hear_out(conversation, peer);
                    return closes_by.map_or(Ok(ending), |_| Err(Closed));
                }
                reply = self.login.answer() => {
                    if let Err(error) = conversation.tell_login(reply) {
                        return Ok(Ending::System(error));
                    }
                }
                () = conversation.socket.room(), if has_words => {
                    if let Err(error) = conversation.send(&mut self.standing) {
                        return Ok(Ending::System(error));
                    }
                }
                () = sleep_until(closes_by.unwrap_or(now)), if closes_by.is_some() => {
                    return Ok(Ending::Unresponsive(CLOSE_TIMEOUT));
                }
                () = alarm.until(liveness.due()), if is_told => match liveness.step(Instant::now()) {
                    Step::Wait => {}
                    Step::GiveUp => return Ok(Ending::Unresponsive(liveness.patience())),
                    Step::Ask => if let Err(error) = conversation.ping() {
                        return Ok(Ending::System(error));
                    },
                },
            }
        }
    }

    /// Takes what a process has said that has ended.
    fn hear_out(&mut self, conversation: &mut Conversation, peer: &Peer<'_>) -> Ending {
        for _ in 0..MAX_LAST_WORDS {
            let Some(received) = conversation.socket.try_receive() else { break };
            if let Err(ending) = self.hear(conversation, received, peer) {
                return ending;
            }
        }
        Ending::Gone
    }

    fn hear(
        &mut self,
        conversation: &mut Conversation,
        received: Result<Received, ReceiveError>,
        peer: &Peer<'_>,
    ) -> Result<(), Ending> {
        let received = received.map_err(|error| match error {
            ReceiveError::Ended => Ending::Gone,
            ReceiveError::NoDescriptors => Ending::NoDescriptors,
            ReceiveError::System(error) => Ending::System(error),
            ReceiveError::Malformed(descriptors) => {
                self.disposal.close(descriptors);
                Ending::Violation(Violation::Packet)
            }
        })?;
        match conversation.hear(received).map_err(Ending::Violation)? {
            FromKeeper::Pong => {}
            FromKeeper::NeedsLogin => self.login.ask(&self.settings),
            FromKeeper::Moved => return Err(Ending::Moved),
            FromKeeper::Remember { memory } => {
                self.news.spend(Instant::now());
                self.memory = Some(memory);
            }
            FromKeeper::Ready { confinement } => {
                let confinement = printable(confinement.as_bytes());
                self.who = format!("process {} as {}, {confinement}", peer.pid, peer.user);
                let restarts = self.process.get().restarts;
                if restarts > 0 {
                    self.who += &format!(", after {}", count(restarts, "other"));
                }
            }
            FromKeeper::Event(event) => {
                self.news.spend(Instant::now());
                for event in self.standing.hear(event).map_err(Ending::Violation)? {
                    let told = self.told(event);
                    self.untold.extend(told);
                }
            }
        }
        Ok(())
    }

    /// Returns what is told of an event. An outage that a process begins, the next one may continue.
    fn told(&mut self, event: KeeperEvent) -> Option<KeeperEvent> {
        match event {
            KeeperEvent::Connected { what } => {
                self.misfortune.connected();
                self.outage.ended();
                Some(KeeperEvent::Connected { what: format!("{what}, by {}", self.who) })
            }
            KeeperEvent::Disconnected { reason } => self.outage.note(reason, false).map(KeeperEvent::from),
            KeeperEvent::Refused { reason } => self.outage.note(reason, true).map(KeeperEvent::from),
            KeeperEvent::Opened { .. }
            | KeeperEvent::Announced { .. }
            | KeeperEvent::Conflict { .. }
            | KeeperEvent::Waiting { .. }
            | KeeperEvent::Withdrawn { .. } => Some(event),
        }
    }
}

async fn room(events: &Sender<KeeperEvent>) -> Result<OwnedPermit<KeeperEvent>, Closed> {
    events.clone().reserve_owned().await.map_err(|_| Closed)
}

#[cfg(test)]
mod tests;
