//! What stands between the daemon and a store's task.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::sync::mpsc::{Permit, Sender, WeakUnboundedSender};
use tokio::time::{Instant, sleep_until};

use super::Capabilities;
use super::trees::Trees;
use crate::model::Subject;
use crate::store::StoreEvent;
use crate::store::subscriptions::Command;

/// The store's trees, shared by those who want something of it, and those who tell of it. All on one thread, and
/// nobody keeps it over an await.
pub(in crate::store) struct TreeRouter {
    trees: RefCell<Trees>,
    /// Weak, because the store's task, which ends when nobody has a command for it any more, holds the layer.
    commands: WeakUnboundedSender<Command>,
    /// When the next tree is due may have changed.
    rescheduled: Notify,
}

impl TreeRouter {
    pub(in crate::store) fn new(
        capabilities: Capabilities,
        commands: WeakUnboundedSender<Command>,
    ) -> Rc<Self> {
        Rc::new(Self { trees: RefCell::new(Trees::new(capabilities)), commands, rescheduled: Notify::new() })
    }

    pub(in crate::store) fn subscribe(&self, subject: Subject) {
        self.with(|trees, commands| trees.subscribe(subject, Instant::now(), commands));
    }

    pub(in crate::store) fn unsubscribe(&self, subject: &Subject) {
        self.with(|trees, commands| trees.unsubscribe(subject, commands));
    }

    pub(in crate::store) fn refresh(&self, subject: &Subject) {
        self.with(|trees, commands| trees.refresh(subject, Instant::now(), commands));
    }

    /// Gives the states of trees to the daemon, as they are due.
    pub(in crate::store) async fn run(self: Rc<Self>, daemon: Sender<StoreEvent>) {
        loop {
            let due = self.trees.borrow().due();
            tokio::select! {
                () = self.rescheduled.notified() => continue,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            // First room for the state, then the state: what waits for a slow listener is not put together yet.
            let Ok(slot) = daemon.reserve().await else { return };
            if let Some(event) = self.with(|trees, commands| trees.poll(Instant::now(), commands)) {
                slot.send(event);
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Trees, &mut Vec<Command>) -> T) -> T {
        let mut commands = Vec::new();
        let mut trees = self.trees.borrow_mut();
        let due = trees.due();
        let result = act(&mut trees, &mut commands);
        // What is put off needs no word: it is looked at when it would have been due.
        if trees.due().is_some_and(|now| due.is_none_or(|before| now < before)) {
            self.rescheduled.notify_one();
        }
        for command in commands {
            // Without the daemon's end or the store's nobody listens any more.
            let _ = self.commands.upgrade().map(|store| store.send(command));
        }
        result
    }
}

/// Where a store's task tells of its nodes.
#[derive(Clone)]
pub(in crate::store) struct EventSender {
    daemon: Sender<StoreEvent>,
    router: Rc<TreeRouter>,
}

/// Nobody listens any more.
#[derive(Debug)]
pub(in crate::store) struct ReceiverDropped;

/// Room for one event.
pub(in crate::store) struct Slot<'a> {
    permit: Permit<'a, StoreEvent>,
    router: &'a TreeRouter,
}

impl EventSender {
    pub(in crate::store) fn new(daemon: Sender<StoreEvent>, router: Rc<TreeRouter>) -> Self {
        Self { daemon, router }
    }

    pub(in crate::store) async fn reserve(&self) -> Result<Slot<'_>, ReceiverDropped> {
        let permit = self.daemon.reserve().await.map_err(|_| ReceiverDropped)?;
        Ok(Slot { permit, router: &self.router })
    }

    pub(in crate::store) async fn send(&self, event: StoreEvent) -> Result<(), ReceiverDropped> {
        self.reserve().await.map(|slot| slot.send(event))
    }

    /// Resolves when nobody listens any more.
    pub(in crate::store) async fn closed(&self) {
        self.daemon.closed().await;
    }

    /// Whether a watch names the node, and it is not just below one that does.
    pub(in crate::store) fn is_wanted(&self, subject: &Subject) -> bool {
        self.router.trees.borrow().is_wanted(subject)
    }

    /// Says that `subject` changed, and is being read; of use where the store's changes come in order.
    pub(in crate::store) fn outdated(&self, subject: &Subject) {
        self.router.with(|trees, _| trees.outdated(subject));
    }
}

impl Slot<'_> {
    pub(in crate::store) fn send(self, event: StoreEvent) {
        let Self { permit, router } = self;
        let now = Instant::now();
        let event = router.with(|trees, commands| {
            // Room that the node of a tree leaves is the tree's: it may be coherent only until the next event.
            trees.route(event, now, commands).or_else(|| trees.poll(now, commands))
        });
        if let Some(event) = event {
            permit.send(event);
        }
    }
}
