//! What connects the channel, the trees and the backend of a store.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{
    OwnedPermit, Sender, UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::trees::Trees;
use crate::model::NodeSubject;
use crate::store::backend::{Capabilities, NodeCommand, Observation};
use crate::store::channel::{CommandsDone, StoreEnd};
use crate::store::memory;
use crate::store::message::StoreEvent;

/// Where a backend receives its commands. When there are no more, it closes its session and ends.
pub(crate) struct NodeCommands {
    commands: UnboundedReceiver<Passed>,
    done: CommandsDone,
}

/// What a backend is passed.
enum Passed {
    Command(NodeCommand),
    /// All of one command of the daemon.
    End,
}

impl NodeCommands {
    /// Waits for the next command. The one before counts as carried out. Can be dropped at any time.
    pub(crate) async fn recv(&mut self) -> Option<NodeCommand> {
        loop {
            match self.commands.recv().await? {
                Passed::Command(command) => return Some(command),
                Passed::End => self.done.count(),
            }
        }
    }
}

/// Starts a backend that knows single nodes only, and a router between it and `end`. Must be called within a
/// `LocalSet` on a current-thread runtime.
pub(crate) fn start<F: Future<Output = ()> + 'static>(
    capabilities: Capabilities,
    end: StoreEnd,
    backend: impl FnOnce(NodeCommands, EventSender) -> F,
) {
    let (commands, node_commands) = unbounded_channel();
    let trees = RefCell::new(Trees::new(capabilities));
    let router = Rc::new(TreeRouter { trees, commands: commands.downgrade(), rescheduled: Notify::new() });
    let events = EventSender { daemon: end.events.clone(), router: Rc::clone(&router) };
    let node_commands = NodeCommands { commands: node_commands, done: end.done.clone() };
    tokio::task::spawn_local(backend(node_commands, events));
    tokio::task::spawn_local(run(router, end, commands));
}

/// Carries out the daemon's commands and reports trees when they are due. Ends when there are no more
/// commands, and then the backend has no more either.
async fn run(router: Rc<TreeRouter>, mut end: StoreEnd, commands: UnboundedSender<Passed>) {
    loop {
        let due = router.trees.borrow().due();
        // There must be room for the state before it is assembled, so that a slow daemon gets the latest one.
        let room = async {
            sleep_until(due.unwrap_or_else(Instant::now)).await;
            while memory::is_crowded() {
                sleep(memory::PAUSE).await;
            }
            end.events.reserve().await
        };
        tokio::select! {
            command = end.commands.recv() => match command {
                Some(command) => {
                    router.with(|trees, commands| trees.take(command, Instant::now(), commands));
                    // Fails only when the store ends.
                    let _ = commands.send(Passed::End);
                }
                None => break,
            },
            () = router.rescheduled.notified() => {}
            slot = room, if due.is_some() => {
                let Ok(slot) = slot else { break };
                if let Some(event) = router.with(|trees, commands| trees.poll(Instant::now(), commands)) {
                    slot.send(event);
                }
            }
        }
    }
    drop(commands);
}

/// The store's trees, shared by the router's task and the backend. All run on one thread, and nobody borrows
/// the trees over an await.
struct TreeRouter {
    trees: RefCell<Trees>,
    /// Weak, because the backend holds the router, and ends when there is no other sender.
    commands: WeakUnboundedSender<Passed>,
    /// Signals that a tree is due earlier than before.
    rescheduled: Notify,
}

impl TreeRouter {
    fn with<T>(&self, act: impl FnOnce(&mut Trees, &mut Vec<NodeCommand>) -> T) -> T {
        let mut commands = Vec::new();
        let mut trees = self.trees.borrow_mut();
        let due = trees.due();
        let result = act(&mut trees, &mut commands);
        // A tree that is due later needs no signal: the task looks at the trees when it would have been due.
        if trees.due().is_some_and(|now| due.is_none_or(|before| now < before)) {
            self.rescheduled.notify_one();
        }
        for command in commands {
            // Fails only when the store ends.
            let _ = self.commands.upgrade().map(|backend| backend.send(Passed::Command(command)));
        }
        result
    }
}

/// Where a backend sends its reports.
#[derive(Clone)]
pub(crate) struct EventSender {
    daemon: Sender<StoreEvent>,
    router: Rc<TreeRouter>,
}

/// The daemon receives no more events.
#[derive(Debug)]
pub(crate) struct ReceiverDropped;

/// Room for one report.
pub(crate) struct Slot {
    permit: OwnedPermit<StoreEvent>,
    router: Rc<TreeRouter>,
}

impl EventSender {
    /// Waits for room for a report. A backend calls this before it reads a node.
    pub(crate) async fn reserve(&self) -> Result<Slot, ReceiverDropped> {
        let permit = self.daemon.clone().reserve_owned().await.map_err(|_| ReceiverDropped)?;
        Ok(Slot { permit, router: Rc::clone(&self.router) })
    }

    /// Returns room for a report if there is some at once.
    pub(crate) fn try_reserve(&self) -> Result<Option<Slot>, ReceiverDropped> {
        match self.daemon.clone().try_reserve_owned() {
            Ok(permit) => Ok(Some(Slot { permit, router: Rc::clone(&self.router) })),
            Err(TrySendError::Full(_)) => Ok(None),
            Err(TrySendError::Closed(_)) => Err(ReceiverDropped),
        }
    }

    /// Sends an event that is no report on a node.
    pub(crate) async fn send(&self, event: StoreEvent) -> Result<(), ReceiverDropped> {
        self.reserve().await?.send(event);
        Ok(())
    }

    /// Returns true if a watch names the node, and false if the node is only part of a tree below it.
    pub(crate) fn is_wanted(&self, subject: &NodeSubject) -> bool {
        self.router.trees.borrow().is_wanted(subject)
    }

    /// Reports that `subject` has changed and is being read. Of use where a backend learns of changes in
    /// their order.
    pub(crate) fn outdated(&self, subject: &NodeSubject) {
        self.router.with(|trees, _| trees.outdated(subject));
    }
}

impl Slot {
    /// Sends an event that is no report on a node.
    pub(crate) fn send(self, event: StoreEvent) {
        let Self { permit, router } = self;
        if let StoreEvent::Connected { .. } = event {
            router.with(|trees, _| trees.connected());
        }
        permit.send(event);
    }

    pub(crate) fn report(self, subject: NodeSubject, observation: Observation) {
        let Self { permit, router } = self;
        let now = Instant::now();
        let event = router.with(|trees, commands| {
            let event = trees.route(subject, observation, now, commands);
            // A node that is only part of a tree leaves its room to the tree, which may be coherent only
            // until the next report.
            event.or_else(|| if memory::is_crowded() { None } else { trees.poll(now, commands) })
        });
        if let Some(event) = event {
            permit.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    use super::*;
    use crate::model::{Facet, NodePath, State, Subject};
    use crate::store::channel::StoreChannel;

    /// Connects, and then finds every node absent.
    async fn backend(mut commands: NodeCommands, events: EventSender) {
        let connected = StoreEvent::Connected { what: "server".into(), identity: "fake".into() };
        events.send(connected).await.unwrap();
        while let Some(command) = commands.recv().await {
            if let NodeCommand::Follow(subject) | NodeCommand::Refresh(subject) = command {
                events.reserve().await.unwrap().report(subject, Observation::Absent);
            }
        }
    }

    #[test]
    fn a_backend_of_single_nodes_serves_the_channel_until_that_is_closed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let (mut channel, end) = StoreChannel::new();
            let (ended, mut has_ended) = oneshot::channel();
            start(Capabilities::default(), end, |commands, events| async {
                backend(commands, events).await;
                ended.send(()).unwrap();
            });
            assert!(matches!(channel.next().await, Some(StoreEvent::Connected { .. })));
            for (path, facet) in [("/a", Facet::Data), ("/t", Facet::Tree)] {
                let subject = Subject { path: NodePath::parse(path).unwrap(), facet };
                let absent = StoreEvent::Observed { subject: subject.clone(), state: State::Absent };
                channel.follow(subject.clone());
                assert_eq!(channel.next().await.as_ref(), Some(&absent));
                channel.refresh(subject);
                assert_eq!(channel.next().await.as_ref(), Some(&absent));
            }
            // Each command counts when the backend asks for the next one: then it reports nothing older.
            while channel.commands() != (4, 4) {
                tokio::task::yield_now().await;
            }
            channel.close().await;
            assert_eq!(has_ended.try_recv(), Ok(()));
        });
    }
}
