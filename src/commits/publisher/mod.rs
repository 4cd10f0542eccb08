//! The publisher of a namespace: it publishes each commit right after its save, and, as the elected leader of
//! all servers on the same database, goes over all keys now and then.
//!
//! ```text
//!  save ─▶ waiting ─┐                       ┌▶ Keeper ─▶ {path}/data/{key}
//!                   ├─▶ run, on its thread ─┤
//!  election, clock ─┘                       └▶ events, status
//! ```
//!
//! * [`run`] is its life. A connection to a store stays on one thread, so the publisher has one of its own.
//! * [`work`] publishes what waits, and a [`round`] goes over all keys. [`notes`] takes in what came of that.
//! * [`waiting`] has the keys that were saved, [`troubles`] those that cannot be published, and [`pause`]
//!   says when all keys are gone over again; all of them are pure.
//! * [`settings`] is what it is told, and [`event`] and [`status`] are what it tells.

mod event;
mod notes;
mod order;
mod pause;
mod round;
mod run;
mod settings;
mod status;
mod troubles;
mod waiting;
mod work;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::journal::Journal;
use super::keeper::{Comparison, PublishError};
use super::key::Key;
pub use event::PublisherEvent;
use order::Order;
use run::Run;
pub use settings::KeeperSettings;
use status::Shared;
pub use status::{PublisherStatus, Round};

/// How long [`Publisher::stop`] waits: for what is published last, and for the store to hear of the end.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// A publisher that runs. It ends when this is dropped, without publishing what waits.
pub struct Publisher {
    shared: Arc<Shared>,
    orders: UnboundedSender<Order>,
}

impl Publisher {
    /// Starts a publisher. A store that cannot be reached is no error: it is tried again and again.
    pub fn start(
        settings: KeeperSettings,
        journal: Arc<dyn Journal>,
        events: UnboundedSender<PublisherEvent>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (orders, taken) = unbounded_channel();
        let run = Run::new(settings, journal, events, Arc::clone(&shared), taken);
        let started = thread::Builder::new().name("publisher".to_owned()).spawn(move || run.on_this_thread());
        if let Err(error) = started {
            shared.state().away = Some(format!("the publisher cannot be started: {error}"));
        }
        Self { shared, orders }
    }

    /// Has a key published whose commit was saved. Never waits.
    pub fn published_soon(&self, key: &Key) {
        self.shared.waiting().add(key, Instant::now());
        self.shared.has_more.notify_one();
    }

    pub fn status(&self) -> PublisherStatus {
        self.shared.status()
    }

    /// Compares journal and store now, whether this server leads or not; if `repairs`, publishes what
    /// differs.
    pub fn compare(
        &self,
        repairs: bool,
    ) -> impl Future<Output = Result<Comparison, PublishError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let asked = self.orders.send(Order::Compare { repairs, reply });
        async move {
            asked.map_err(|_| PublishError::Stopped)?;
            answer.await.map_err(|_| PublishError::Stopped)?
        }
    }

    /// Publishes what waits, if the store lets us, and gives the leadership up. Takes some seconds at most.
    pub async fn stop(&self) {
        self.shared.begin_to_stop();
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop { done }).is_ok() {
            let _ = timeout(STOP_TIMEOUT, stopped).await;
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.begin_to_stop();
    }
}
