//! A keeper of members.

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::login_source::LoginSource;
use super::member::{KeeperEnd, KeeperEvent, KeeperOrder};
use super::question::Apart;
use super::settings::StoreSettings;
use super::{directory, etcd, zookeeper};

/// How long a store may take to let all members go. Closing a session or a lease takes at most a second.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Holds members in a store, on an owner of its own, until it is closed.
///
/// A store that cannot be reached is no error: `Disconnected` tells of it, and the keeper keeps trying.
pub(super) struct Keeper {
    orders: UnboundedSender<KeeperOrder>,
    events: UnboundedReceiver<KeeperEvent>,
}

impl Keeper {
    /// Opens a keeper in a process of its own. Must be called within a `LocalSet` on a current-thread
    /// runtime.
    pub(super) fn open(settings: &StoreSettings, apart: Apart) -> Self {
        let (keeper, end) = Self::with_end();
        let login = LoginSource::Daemon(apart.questions.clone());
        match settings {
            StoreSettings::ZooKeeper(settings) => zookeeper::keep(settings.clone(), login, end),
            StoreSettings::Etcd(settings) => etcd::keep(settings.clone(), login, end),
            StoreSettings::Directory(settings) => directory::keep(settings.clone(), apart, end),
        }
        keeper
    }

    /// Returns a keeper of no store, with its far end.
    pub(super) fn with_end() -> (Self, KeeperEnd) {
        let (orders, taken) = unbounded_channel();
        let (told, events) = unbounded_channel();
        (Self { orders, events }, KeeperEnd { orders: taken, events: told })
    }

    /// Gives an order. One that comes after the keeper's end has no effect.
    pub(super) fn order(&self, order: KeeperOrder) {
        let _ = self.orders.send(order);
    }

    /// Waits for what the keeper tells next. Can be dropped at any time.
    pub(super) async fn next(&mut self) -> Option<KeeperEvent> {
        self.events.recv().await
    }

    /// Withdraws all members and gives up their owner, which takes at most a second and a half. What the
    /// store does not hear of goes when the owner expires.
    pub(super) async fn close(self) {
        let Self { orders, mut events } = self;
        drop(orders);
        let ended = async { while events.recv().await.is_some() {} };
        let _ = timeout(CLOSE_TIMEOUT, ended).await;
    }
}
