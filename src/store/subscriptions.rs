//! The daemon's handle on a store: what it wants to follow goes in here, events come out of the channel.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinHandle, JoinSet};

use super::tree::Capabilities;
use super::tree::router::TreeRouter;
use super::{StoreEvent, StoreSettings, StoreUrl, directory, zookeeper};
use crate::model::{Subject, Version};

/// How many states may wait for the daemon. A store reads a node only once there is room for what it reads,
/// so this also bounds the reads in flight, and a slow daemon gets the latest state, not every state.
const EVENT_QUEUE: usize = 1024;

/// How long [`Subscriptions::close`] waits for the farewell: a round trip to a healthy server is a
/// hundredth of it, and a server that does not answer must not hold up the exit.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Subject),
    Unsubscribe(Subject),
    Refresh(Subject),
}

pub(super) type CommandReceiver = UnboundedReceiver<Command>;
pub(super) use super::tree::router::EventSender;

/// What of a store is followed. No call blocks, and none fails: a store that is away catches up later.
///
/// Dropping it ends the store's tasks and closes the ZooKeeper session.
pub struct Subscriptions {
    /// Whether a version is the same for every daemon.
    durable_versions: bool,
    router: Rc<TreeRouter>,
    /// The store's task, and what ends it when it is dropped.
    task: JoinHandle<()>,
    commands: UnboundedSender<Command>,
    /// What tells of trees; ends when it is dropped.
    _router_task: JoinSet<()>,
}

impl Subscriptions {
    /// Follows `subject` from now on; its present state is sent as soon as it can be read.
    pub fn subscribe(&self, subject: Subject) {
        self.router.subscribe(subject);
    }

    /// Follows `subject` no longer. Events already in the channel still come.
    pub fn unsubscribe(&self, subject: &Subject) {
        self.router.unsubscribe(subject);
    }

    /// Has the state of a subscribed `subject` sent again, changed or not.
    pub fn refresh(&self, subject: &Subject) {
        self.router.refresh(subject);
    }

    /// What a version that a former daemon was given is called now, if the node did not change since.
    pub fn normalize_version(&self, version: Version) -> Version {
        match self.durable_versions {
            true => version,
            // A directory's incarnations are counted from 0 by each daemon. A node that was made anew in between has
            // another revision as well.
            false => Version { incarnation: 0, ..version },
        }
    }

    /// Ends the store's tasks, giving a ZooKeeper session at most a second to be closed, so that the
    /// server does not have to wait for its expiry.
    pub async fn close(self) {
        let Self { commands, mut task, .. } = self;
        drop(commands);
        if tokio::time::timeout(CLOSE_TIMEOUT, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Opens the store. Must be called within a `LocalSet` on a current-thread runtime.
///
/// A store that is away (a ZooKeeper that does not answer, a system that gives no file notification) is no error:
/// `Disconnected` says so, and the store keeps trying.
pub fn open(settings: &StoreSettings) -> (Subscriptions, mpsc::Receiver<StoreEvent>) {
    let capabilities = match &settings.url {
        StoreUrl::ZooKeeper { chroot, .. } => Capabilities {
            durable_versions: true,
            reserved: (chroot.as_str() == "/").then_some(zookeeper::RESERVED),
        },
        StoreUrl::Directory(_) => Capabilities { durable_versions: false, reserved: None },
    };
    let (commands, command_receiver) = mpsc::unbounded_channel();
    let (event_sender, events) = mpsc::channel(EVENT_QUEUE);
    let router = TreeRouter::new(capabilities, commands.downgrade());
    let routed_events = EventSender::new(event_sender.clone(), Rc::clone(&router));
    let task = match &settings.url {
        StoreUrl::ZooKeeper { servers, chroot } => {
            let ensemble = zookeeper::Ensemble::new(servers, settings);
            tokio::task::spawn_local(zookeeper::run(
                ensemble,
                chroot.clone(),
                command_receiver,
                routed_events,
            ))
        }
        StoreUrl::Directory(root) => {
            tokio::task::spawn_local(directory::run(root.clone(), command_receiver, routed_events))
        }
    };
    let mut router_task = JoinSet::new();
    router_task.spawn_local(Rc::clone(&router).run(event_sender));
    let durable_versions = capabilities.durable_versions;
    (Subscriptions { durable_versions, router, task, commands, _router_task: router_task }, events)
}
