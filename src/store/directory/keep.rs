//! Keeping members as files, which go when their keeper ends.
//!
//! A file that outlives its keeper must be known as left behind, and no reader may take what tells so for a
//! node. So each member has a *claim* beside it, a file whose name starts with a dot. The keeper holds a lock
//! on it, which the kernel takes away when the process dies, however that happens. The claim also says which
//! file is the member's: a file that somebody has put in its place since belongs to nobody.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until};

use super::claim::Claims;
use super::settings::DirectorySettings;
use crate::store::member::{Effect, KeeperEnd, KeeperEvent, KeeperOrder, Presence};
use crate::store::question::Apart;

/// How often the members are looked at. The lock of a keeper that dies tells nobody.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// There are no more orders.
struct Closed;

/// Starts the task that keeps members. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn keep(settings: DirectorySettings, apart: Apart, end: KeeperEnd) {
    tokio::task::spawn_local(async move {
        let mut keeping = Keeping {
            url: settings.url.to_string(),
            claims: Claims::new(&settings, &apart),
            presence: Presence::default(),
            orders: end.orders,
            events: end.events,
        };
        let Err(Closed) = keeping.run().await;
        keeping.claims.withdraw_all().await;
    });
}

struct Keeping {
    url: String,
    claims: Claims,
    presence: Presence,
    orders: UnboundedReceiver<KeeperOrder>,
    events: UnboundedSender<KeeperEvent>,
}

impl Keeping {
    async fn run(&mut self) -> Result<Infallible, Closed> {
        self.tell(KeeperEvent::Connected { what: self.url.clone() });
        self.presence.opened(self.claims.owner().to_owned(), Instant::now());
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        loop {
            let now = Instant::now();
            self.presence.tick(now);
            while let Some(effect) = self.presence.next_effect() {
                self.perform(effect).await;
            }
            while let Some(event) = self.presence.next_event() {
                self.tell(event);
            }
            if look_at <= now {
                look_at = now + LOOK_INTERVAL;
                self.claims.beat(now);
                for path in self.claims.changed() {
                    self.presence.changed(&path);
                }
                continue;
            }
            let due = self.presence.due().map_or(look_at, |due| due.min(look_at));
            tokio::select! {
                order = self.orders.recv() => self.presence.take(order.ok_or(Closed)?, Instant::now()),
                () = sleep_until(due) => {}
            }
        }
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Read { path, is_fresh: _ } => {
                let found = self.claims.read(&path);
                self.presence.read(&path, found, Instant::now());
            }
            Effect::Write { path, write } => {
                let wrote = self.claims.write(&path, write).await;
                self.presence.wrote(&path, wrote, Instant::now());
            }
        }
    }

    fn tell(&self, event: KeeperEvent) {
        // Nobody listens to a keeper that is being closed.
        let _ = self.events.send(event);
    }
}
