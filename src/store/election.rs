//! Electing a leader among those who ask for it, in a store that all of them reach.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::leadership::{Candidacy, Seat};
use super::settings::StoreSettings;
use super::{directory, etcd, zookeeper};
use crate::model::NodePath;

/// How long a store may take to hear that a candidacy is withdrawn.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);

/// A candidacy for the leadership at a node, on a session or lease of its own.
///
/// - ZooKeeper: the nodes of Curator's `LeaderSelector`, `NODE/_c_UUID-lock-NNNNNNNNNN`, so that programs
///   with Curator are elected in the same election.
/// - etcd: keys with a lease, as those of its own recipe (`etcdctl elect`): who has created the oldest one
///   leads.
/// - A directory: a lock on the file `NODE/.leader`, which the kernel gives up with the process.
///
/// A store that cannot be reached is no error: there is no leader then, and the candidate tries again.
pub struct Election {
    seat: Arc<Seat>,
    withdraw: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Whether a candidate leads.
#[derive(Clone)]
pub struct Leadership(Arc<Seat>);

impl Leadership {
    pub fn holds(&self) -> bool {
        self.0.is_taken()
    }
}

impl Election {
    /// Stands for the leadership, with a name that others can read. Must be called within a `LocalSet` on a
    /// current-thread runtime.
    pub fn stand(settings: &StoreSettings, path: &NodePath, name: &str) -> Self {
        let seat = Arc::new(Seat::default());
        let (withdraw, withdrawn) = oneshot::channel();
        let candidacy = Candidacy { path: path.clone(), name: name.to_owned(), seat: Arc::clone(&seat) };
        let task = match settings {
            StoreSettings::ZooKeeper(settings) => zookeeper::elect(settings.clone(), candidacy, withdrawn),
            StoreSettings::Etcd(settings) => etcd::elect(settings.clone(), candidacy, withdrawn),
            StoreSettings::Directory(settings) => directory::elect(settings.clone(), candidacy, withdrawn),
        };
        Self { seat, withdraw, task }
    }

    /// Whether this candidate leads now. It gives this up early enough by its own clock, even if it hears
    /// nothing more of the store, so that no two lead at one moment.
    pub fn leads(&self) -> bool {
        self.seat.is_taken()
    }

    /// Returns what tells other threads whether this candidate leads, at any moment.
    pub fn leadership(&self) -> Leadership {
        Leadership(Arc::clone(&self.seat))
    }

    /// Returns why nobody can be elected for now, if so.
    pub fn trouble(&self) -> Option<String> {
        self.seat.last_trouble()
    }

    /// Waits until one of these may have changed. Can be dropped at any time.
    pub async fn changed(&self) {
        self.seat.changed().await;
    }

    /// Withdraws, which takes at most a second and a half. What the store does not hear of ends with the
    /// session or the lease.
    pub async fn withdraw(self) {
        self.seat.leave();
        drop(self.withdraw);
        let _ = timeout(CLOSE_TIMEOUT, self.task).await;
    }
}
