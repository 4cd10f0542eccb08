//! The daemon's handle on a store: what it wants to follow goes in here, events come out of the channel.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinHandle, JoinSet};

use super::tree::Nature;
use super::tree::layer::Layer;
use super::{StoreEvent, StoreSettings, StoreUrl, directory, zookeeper};
use crate::model::{Subject, Version};

/// How many states may wait for the daemon. A store reads a node only once there is room for what it reads,
/// so this also bounds the reads in flight, and a slow daemon gets the latest state, not every state.
const EVENTS: usize = 1024;

/// How long [`Subscriptions::close`] waits for the farewell: a round trip to a healthy server is a
/// hundredth of it, and a server that does not answer must not hold up the exit.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Command {
    Subscribe(Subject),
    Unsubscribe(Subject),
    Refresh(Subject),
}

pub(super) type Commands = UnboundedReceiver<Command>;
pub(super) use super::tree::layer::Events;

/// What of a store is followed. No call blocks, and none fails: a store that is away catches up later.
///
/// Dropping it ends the store's tasks and closes the ZooKeeper session.
pub struct Subscriptions {
    /// Whether a version is the same for every daemon.
    lasting: bool,
    layer: Rc<Layer>,
    /// The store's task, and what ends it when it is dropped.
    task: JoinHandle<()>,
    commands: UnboundedSender<Command>,
    /// What tells of trees; ends when it is dropped.
    _teller: JoinSet<()>,
}

impl Subscriptions {
    /// Follows `subject` from now on; its present state is sent as soon as it can be read.
    pub fn subscribe(&self, subject: Subject) {
        self.layer.subscribe(subject);
    }

    /// Follows `subject` no longer. Events already in the channel still come.
    pub fn unsubscribe(&self, subject: &Subject) {
        self.layer.unsubscribe(subject);
    }

    /// Has the state of a subscribed `subject` sent again, changed or not.
    pub fn refresh(&self, subject: &Subject) {
        self.layer.refresh(subject);
    }

    /// What a version that a former daemon was given is called now, if the node did not change since.
    pub fn recognize(&self, version: Version) -> Version {
        match self.lasting {
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
        if tokio::time::timeout(FAREWELL, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Opens the store. Must be called within a `LocalSet` on a current-thread runtime.
///
/// A store that is away (a ZooKeeper that does not answer, a system that gives no file notification) is no error:
/// `Disconnected` says so, and the store keeps trying.
pub fn open(settings: &StoreSettings) -> (Subscriptions, mpsc::Receiver<StoreEvent>) {
    let nature = match &settings.url {
        StoreUrl::ZooKeeper { chroot, .. } => {
            Nature { lasting: true, reserved: (chroot.as_str() == "/").then_some(zookeeper::RESERVED) }
        }
        StoreUrl::Directory(_) => Nature { lasting: false, reserved: None },
    };
    let (commands, command_receiver) = mpsc::unbounded_channel();
    let (event_sender, events) = mpsc::channel(EVENTS);
    let layer = Layer::new(nature, commands.downgrade());
    let told = Events::new(event_sender.clone(), Rc::clone(&layer));
    let task = match &settings.url {
        StoreUrl::ZooKeeper { servers, chroot } => {
            let ensemble = zookeeper::Ensemble::new(servers, settings);
            tokio::task::spawn_local(zookeeper::run(ensemble, chroot.clone(), command_receiver, told))
        }
        StoreUrl::Directory(root) => {
            tokio::task::spawn_local(directory::run(root.clone(), command_receiver, told))
        }
    };
    let mut teller = JoinSet::new();
    teller.spawn_local(Rc::clone(&layer).tell(event_sender));
    let lasting = nature.lasting;
    (Subscriptions { lasting, layer, task, commands, _teller: teller }, events)
}
