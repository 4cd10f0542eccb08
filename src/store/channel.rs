//! The channel between the daemon and one store: commands to the store, events from it, and nothing else.
//!
//! The other end, a [`StoreEnd`], belongs to the store's tasks. Only [messages](super::message) pass, so that
//! these tasks could as well run in another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::time::timeout;

use super::message::{StoreCommand, StoreEvent};
use crate::model::Subject;

/// How many events may wait for the daemon. A store reads a node only when there is room for the result. So
/// this also bounds the reads in flight, and a slow daemon gets the latest state instead of every state.
const EVENT_QUEUE: usize = 1024;

/// How long [`StoreChannel::close`] waits. A healthy server answers in a hundredth of this time, and one that
/// does not answer must not delay the exit.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The daemon's end. No command blocks or fails: a store that is disconnected catches up later.
///
/// The end of the commands tells the store to end its tasks and to close its session. Dropping this does so
/// as well.
pub struct StoreChannel {
    commands: UnboundedSender<StoreCommand>,
    events: Receiver<StoreEvent>,
    sent: AtomicU64,
    done: CommandsDone,
}

/// How many commands a store has carried out. It reports nothing any more that it found before.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandsDone(Arc<AtomicU64>);

impl CommandsDone {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The store's end. Its tasks end when there are no more commands, or when nobody receives their events.
pub(crate) struct StoreEnd {
    pub(crate) commands: UnboundedReceiver<StoreCommand>,
    pub(crate) events: Sender<StoreEvent>,
    pub(crate) done: CommandsDone,
}

impl StoreChannel {
    pub(crate) fn new() -> (Self, StoreEnd) {
        Self::with_room(EVENT_QUEUE)
    }

    /// Makes a channel in which so many events may wait.
    pub(crate) fn with_room(events: usize) -> (Self, StoreEnd) {
        let (commands, received_commands) = unbounded_channel();
        let (sent_events, events) = channel(events);
        let done = CommandsDone::default();
        let end = StoreEnd { commands: received_commands, events: sent_events, done: done.clone() };
        (Self { commands, events, sent: AtomicU64::new(0), done }, end)
    }

    /// Follows `subject` from now on. The store reports its present state as soon as it can be read.
    pub fn follow(&self, subject: Subject) {
        self.send(StoreCommand::Follow(subject));
    }

    /// Stops following `subject`. Events that are on their way still arrive.
    pub fn leave(&self, subject: Subject) {
        self.send(StoreCommand::Leave(subject));
    }

    /// Has the state of `subject`, which is followed, reported again.
    pub fn refresh(&self, subject: Subject) {
        self.send(StoreCommand::Refresh(subject));
    }

    /// Returns how many commands were given, and how many of them the store has carried out.
    pub(super) fn commands(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.done.0.load(Ordering::Relaxed))
    }

    /// Returns how many events wait.
    pub(super) fn waiting(&self) -> u64 {
        self.events.len() as u64
    }

    fn send(&self, command: StoreCommand) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        // A store without tasks has ended for good, and has nothing to do.
        let _ = self.commands.send(command);
    }

    /// Waits for the next event. Returns `None` if the store's tasks have ended. Can be dropped at any time.
    pub async fn next(&mut self) -> Option<StoreEvent> {
        self.events.recv().await
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<StoreEvent>> {
        self.events.poll_recv(context)
    }

    /// Returns the next event, if there is one already.
    pub fn try_next(&mut self) -> Option<StoreEvent> {
        self.events.try_recv().ok()
    }

    /// Ends the store's tasks. Waits at most a second for its session to be closed, so that a server need not
    /// wait until the session expires.
    pub async fn close(self) {
        let Self { commands, mut events, .. } = self;
        drop(commands);
        let _ = timeout(CLOSE_TIMEOUT, async { while events.recv().await.is_some() {} }).await;
    }
}
