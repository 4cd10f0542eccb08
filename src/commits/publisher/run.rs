//! The life of a publisher, on a thread of its own: it connects to the store, does what is to be done, and
//! waits for more.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::event::PublisherEvent;
use super::order::Order;
use super::settings::KeeperSettings;
use super::status::Shared;
use super::troubles::Troubles;
use crate::commits::journal::Journal;
use crate::commits::keeper::{Keeper, PublishError};
use crate::store::{ClientError, Election, Pace};

/// How often an idle connection is looked at, so that the status tells the truth of it.
const PROBE: Duration = Duration::from_secs(5);

/// How long what waits is published at the end.
const LAST_WORK: Duration = Duration::from_secs(5);

/// Why a connection is served no more.
enum Ended {
    Lost(ClientError),
    /// The publisher ends. Whoever asked for it is told.
    Stopped(Option<oneshot::Sender<()>>),
}

pub(super) struct Run {
    pub(super) settings: KeeperSettings,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) events: UnboundedSender<PublisherEvent>,
    pub(super) shared: Arc<Shared>,
    orders: UnboundedReceiver<Order>,
    /// What was told of the leadership last. [`Self::next_round`] is set with it.
    pub(super) was_leader: bool,
    /// When the leader goes over all keys next.
    pub(super) next_round: Instant,
    /// Nothing is read from the journal before.
    pub(super) journal_rests_until: Option<Instant>,
    pub(super) troubles: Troubles,
    /// How many nodes the journal knew nothing of in the last round.
    pub(super) strangers: u64,
}

impl Run {
    pub(super) fn new(
        settings: KeeperSettings,
        journal: Arc<dyn Journal>,
        events: UnboundedSender<PublisherEvent>,
        shared: Arc<Shared>,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        let (next_round, journal_rests_until) = (Instant::now(), None);
        let (was_leader, troubles) = (false, Troubles::default());
        Self {
            settings,
            journal,
            events,
            shared,
            orders,
            was_leader,
            next_round,
            journal_rests_until,
            troubles,
            strangers: 0,
        }
    }

    pub(super) fn on_this_thread(self) {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                self.shared.state().away = Some(format!("the publisher cannot be started: {error}"));
                return;
            }
        };
        LocalSet::new().block_on(&runtime, self.run());
    }

    async fn run(mut self) {
        let KeeperSettings { store, path, period: _ } = &self.settings;
        let name = nix::sys::utsname::uname()
            .map_or_else(|_| String::new(), |name| name.nodename().to_string_lossy().into_owned());
        let election = Election::stand(store, &path.child("election"), &name);
        self.shared.state().leadership = Some(election.leadership());
        let stopped = self.serve_all(&election).await;
        election.withdraw().await;
        {
            let mut state = self.shared.state();
            (state.connected, state.away) = (false, Some("the publisher has stopped".to_owned()));
        }
        if let Some(done) = stopped {
            // The asker may have left.
            let _ = done.send(());
        }
    }

    /// Serves one connection after the other, until the publisher ends.
    async fn serve_all(&mut self, election: &Election) -> Option<oneshot::Sender<()>> {
        let mut pace = Pace::new();
        loop {
            if let Err(done) = self.during(election, sleep_until(pace.next())).await {
                return done;
            }
            let began = Instant::now();
            let (store, path) = (self.settings.store.clone(), self.settings.path.clone());
            let keeper = match self.during(election, Keeper::connect(&store, &path)).await {
                Ok(Ok(keeper)) => keeper,
                Ok(Err(error)) => {
                    self.store_away(error.to_string());
                    pace.failed(began);
                    continue;
                }
                Err(done) => return done,
            };
            let (ended, was_useful) = self.serve(&keeper, election).await;
            match ended {
                Ended::Lost(error) => {
                    self.store_away(error.to_string());
                    pace.ended(began, was_useful);
                }
                Ended::Stopped(done) => {
                    keeper.close().await;
                    return done;
                }
            }
        }
    }

    /// Waits for something while there is no connection. An error says that the publisher ends.
    async fn during<T>(
        &mut self,
        election: &Election,
        work: impl Future<Output = T>,
    ) -> Result<T, Option<oneshot::Sender<()>>> {
        let mut work = std::pin::pin!(work);
        loop {
            self.note_leadership(election);
            tokio::select! {
                done = &mut work => return Ok(done),
                () = election.changed() => {}
                order = self.orders.recv() => match order {
                    Some(Order::Compare { reply, .. }) => {
                        let why = self.shared.state().away.clone();
                        let why = why.unwrap_or_else(|| "there is no connection yet; try again".to_owned());
                        let _ = reply.send(Err(PublishError::Away(why)));
                    }
                    Some(Order::Stop { done }) => return Err(Some(done)),
                    None => return Err(None),
                },
            }
        }
    }

    /// Publishes until the connection or the publisher ends. Tells whether the connection was of use.
    async fn serve(&mut self, keeper: &Keeper, election: &Election) -> (Ended, bool) {
        let mut was_useful = false;
        loop {
            let ended = match self.work(keeper, election, &mut was_useful).await {
                Ok(()) => self.wait(keeper, election).await,
                Err(error) => Err(Ended::Lost(error)),
            };
            if let Err(ended) = ended {
                return (ended, was_useful);
            }
        }
    }

    /// Waits until there is something to do. Obeys orders.
    async fn wait(&mut self, keeper: &Keeper, election: &Election) -> Result<(), Ended> {
        let now = Instant::now();
        let probe = now + PROBE;
        let waiting = self.shared.waiting().next(now);
        let work = waiting.into_iter().chain(self.was_leader.then_some(self.next_round)).min();
        // While the journal rests, nothing else can be done.
        let work = work.map(|work| work.max(self.journal_rests_until.unwrap_or(work)));
        let until = work.map_or(probe, |work| work.min(probe));
        let shared = Arc::clone(&self.shared);
        let order = keeper
            .idle(async {
                tokio::select! {
                    biased;
                    order = self.orders.recv() => Some(order),
                    () = shared.has_more.notified() => None,
                    () = election.changed() => None,
                    () = sleep_until(until) => None,
                }
            })
            .await;
        match order {
            None if probe <= Instant::now() => keeper.probe().await.map_err(Ended::Lost),
            None => Ok(()),
            // The asker has left, and may have asked again; or hears that the publisher ends.
            Some(Some(Order::Compare { reply, .. })) if reply.is_closed() || shared.is_stopping() => Ok(()),
            Some(Some(Order::Compare { repairs, reply })) => {
                let compared = self.compare(keeper, None, repairs).await;
                let compared = compared.and_then(|compared| compared.ok_or(PublishError::Stopped));
                let lost = match &compared {
                    Err(PublishError::Store(error)) => Some(error.to_string()),
                    Ok(_) | Err(_) => None,
                };
                // The asker may have left.
                let _ = reply.send(compared);
                match lost {
                    // The next request tells whether the connection is still there.
                    Some(_) => keeper.probe().await.map_err(Ended::Lost),
                    None => Ok(()),
                }
            }
            Some(Some(Order::Stop { done })) => {
                let deadline = Instant::now() + LAST_WORK;
                let last = async { while let Ok(true) = self.publish_waiting(keeper).await {} };
                let _ = timeout_at(deadline, last).await;
                Err(Ended::Stopped(Some(done)))
            }
            Some(None) => Err(Ended::Stopped(None)),
        }
    }
}
