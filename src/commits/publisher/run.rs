//! The loop of a publisher, on a thread of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::event::PublisherEvent;
use super::order::Order;
use super::pause::{gauss, pause};
use super::settings::KeeperSettings;
use super::status::{Round, Shared};
use super::troubles::Troubles;
use crate::commits::journal::{Journal, JournalError, PAGE_BYTES};
use crate::commits::keeper::{Comparison, Fate, Head, Keeper, PublishError, Settled, newest};
use crate::store::{ClientError, Election, Pace};

/// How many waiting keys are published together.
const BATCH: usize = 256;

/// How long a key rests that cannot be published. The contract has an unreadable node tried again this often.
const KEY_RETRY: Duration = Duration::from_secs(30);

/// How long everything rests after the journal could not be read. A database in trouble has more urgent work.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

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
    settings: KeeperSettings,
    journal: Arc<dyn Journal>,
    events: UnboundedSender<PublisherEvent>,
    shared: Arc<Shared>,
    orders: UnboundedReceiver<Order>,
    /// What was told of the leadership last. [`Self::next_round`] is set with it.
    was_leader: bool,
    /// When the leader goes over all keys next.
    next_round: Instant,
    /// Nothing is read from the journal before.
    journal_rests_until: Option<Instant>,
    troubles: Troubles,
    /// How many nodes the journal knew nothing of in the last round.
    strangers: u64,
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

    /// Does all that is to be done now.
    async fn work(
        &mut self,
        keeper: &Keeper,
        election: &Election,
        was_useful: &mut bool,
    ) -> Result<(), ClientError> {
        let is_connected = self.shared.state().connected;
        if !is_connected {
            keeper.probe().await?;
            {
                let mut state = self.shared.state();
                (state.connected, state.away) = (true, None);
            }
            self.tell(PublisherEvent::Connected { store: self.settings.store.to_string() });
        }
        loop {
            self.note_leadership(election);
            let did_publish = self.publish_waiting(keeper).await?;
            *was_useful = true;
            let now = Instant::now();
            if !self.journal_is_resting(now) {
                let overflow = self.shared.waiting().overflow();
                if overflow.is_some() {
                    self.go_over_all(keeper, None, overflow).await?;
                } else if self.was_leader && election.leads() && self.next_round <= now {
                    let random = gauss(fastrand::f64(), fastrand::f64());
                    self.next_round = now + pause(self.settings.period, random);
                    self.go_over_all(keeper, Some(election), None).await?;
                }
            }
            if !did_publish || self.shared.is_stopping() {
                return Ok(());
            }
        }
    }

    /// Publishes keys that wait. Returns whether there may be more.
    async fn publish_waiting(&mut self, keeper: &Keeper) -> Result<bool, ClientError> {
        let now = Instant::now();
        if self.journal_is_resting(now) {
            return Ok(false);
        }
        let due = self.shared.waiting().due(now, BATCH);
        if due.is_empty() {
            return Ok(false);
        }
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let (mut waiters, mut heads, mut bytes) = (Vec::new(), Vec::<Head>::new(), 0);
            while bytes < PAGE_BYTES
                && let Some(waiter) = due.next()
            {
                match newest(&*self.journal, &waiter.key).await {
                    Ok(found) => {
                        bytes += found.as_ref().map_or(0, |head| head.commit.payload.len());
                        heads.extend(found);
                    }
                    Err(JournalError::Corrupt(corrupt)) => {
                        self.trouble(&corrupt.key, &corrupt.to_string());
                        self.shared.waiting().failed(&waiter, Instant::now() + KEY_RETRY);
                        continue;
                    }
                    Err(error) => {
                        self.journal_failed(&error);
                        return Ok(false);
                    }
                }
                waiters.push(waiter);
            }
            let mut all = Vec::with_capacity(heads.len());
            let journal = Arc::clone(&self.journal);
            let settled = keeper.settle(&*journal, heads, true, &mut |settled| all.push(settled)).await;
            let failed = self.take_in(&all);
            match settled {
                Ok(()) => {
                    self.journal_is_back();
                    let retry = Instant::now() + KEY_RETRY;
                    let mut waiting = self.shared.waiting();
                    for waiter in &waiters {
                        match failed.contains(waiter.key.as_str()) {
                            true => waiting.failed(waiter, retry),
                            false => waiting.settled(waiter),
                        }
                    }
                }
                Err(error) => {
                    self.failed(error)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Goes over all keys, as the leader if there is an election. What is saved meanwhile is published in
    /// between.
    async fn go_over_all(
        &mut self,
        keeper: &Keeper,
        election: Option<&Election>,
        overflow: Option<u64>,
    ) -> Result<(), ClientError> {
        match self.compare(keeper, election, true).await {
            Ok(Some(_)) => {
                if let Some(save) = overflow {
                    self.shared.waiting().all_settled(save);
                }
            }
            // Somebody else leads now, or nobody waits for it any more.
            Ok(None) => {}
            Err(error) => {
                // Otherwise it is tried again every second, and what fails was told.
                if election.is_some() {
                    self.tell(PublisherEvent::RoundFailed { why: error.to_string() });
                }
                self.failed(error)?;
            }
        }
        Ok(())
    }

    /// Compares journal and store. Returns `None` if the leadership or the publisher has ended before it was
    /// done.
    async fn compare(
        &mut self,
        keeper: &Keeper,
        election: Option<&Election>,
        repairs: bool,
    ) -> Result<Option<Comparison>, PublishError> {
        let began = Instant::now();
        let journal = Arc::clone(&self.journal);
        let mut sweep = keeper.sweep(repairs).await?;
        let mut missing = 0;
        loop {
            if self.shared.is_stopping() || election.is_some_and(|election| !election.leads()) {
                return Ok(None);
            }
            let mut changed = Vec::new();
            let troubles = &self.troubles;
            let mut note = |settled: &Settled| match settled.fate {
                // It may have been in trouble before. What differs still is.
                Fate::Same if !troubles.has(&settled.key) => {}
                Fate::Differs => {}
                Fate::Same | Fate::Repaired | Fate::Failed(_) => changed.push(settled.clone()),
            };
            let stepped = sweep.step(keeper, &*journal, &mut note).await;
            missing += changed.iter().filter(|settled| settled.was_missing()).count();
            self.take_in(&changed);
            if !stepped? {
                break;
            }
            self.publish_waiting(keeper).await?;
        }
        let mut comparison = sweep.into_comparison();
        self.journal_is_back();
        self.troubles.explain(&mut comparison.differences);
        let before = std::mem::replace(&mut self.strangers, comparison.strangers);
        if let Some(one) = comparison.stranger.clone().filter(|_| comparison.strangers != before) {
            self.tell(PublisherEvent::Strangers { nodes: comparison.strangers, one });
        }
        if missing > 0 {
            self.tell(PublisherEvent::Repaired { keys: missing as u64 });
        }
        let Comparison { checked, differing, repaired, .. } = comparison;
        let differing = differing - repaired;
        let round = Round { at: SystemTime::now(), duration: began.elapsed(), checked, repaired, differing };
        self.shared.state().last_round = Some(round);
        Ok(Some(comparison))
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

    /// Takes in what became of keys. Returns those that could not be published.
    fn take_in<'a>(&mut self, all: &'a [Settled]) -> HashSet<&'a str> {
        let mut failed = HashSet::new();
        for Settled { key, intruder, fate, .. } in all {
            match fate {
                Fate::Failed(why) => {
                    failed.insert(&key[..]);
                    self.trouble(key, why);
                    continue;
                }
                Fate::Repaired => {
                    if let Some(intruder) = intruder {
                        let what = intruder.to_string();
                        self.tell(PublisherEvent::Overwrote { key: key.clone(), what });
                    }
                }
                Fate::Same | Fate::Differs => {}
            }
            if self.troubles.has(key) {
                self.troubles.is_over(key);
                self.shared.state().key = self.troubles.one();
            }
        }
        failed
    }

    fn trouble(&mut self, key: &str, why: &str) {
        if self.troubles.note(key, why) {
            self.shared.state().key = self.troubles.one();
            self.tell(PublisherEvent::CannotPublish { key: key.to_owned(), why: why.to_owned() });
        }
    }

    /// Takes in why something failed. Returns what ends the connection.
    fn failed(&mut self, error: PublishError) -> Result<(), ClientError> {
        match error {
            PublishError::Store(error) => Err(error),
            PublishError::Journal(error) => {
                self.journal_failed(&error);
                Ok(())
            }
            PublishError::Away(_) | PublishError::Stopped => Ok(()),
        }
    }

    fn journal_failed(&mut self, error: &JournalError) {
        self.journal_rests_until = Some(Instant::now() + JOURNAL_RETRY);
        let why = PublishError::Journal(error.clone()).to_string();
        if self.shared.state().journal.replace(why.clone()).is_none() {
            self.tell(PublisherEvent::JournalAway { why });
        }
    }

    fn journal_is_back(&mut self) {
        self.journal_rests_until = None;
        self.shared.state().journal = None;
    }

    fn journal_is_resting(&self, now: Instant) -> bool {
        self.journal_rests_until.is_some_and(|until| now < until)
    }

    /// Takes in whether this server leads.
    fn note_leadership(&mut self, election: &Election) {
        let leads = election.leads();
        self.shared.state().election = election.trouble();
        let was_leader = std::mem::replace(&mut self.was_leader, leads);
        match (was_leader, leads) {
            (false, true) => {
                self.next_round = Instant::now() + self.settings.period.mul_f64(fastrand::f64());
                self.tell(PublisherEvent::BecameLeader);
            }
            (true, false) => self.tell(PublisherEvent::NoLongerLeader),
            (true, true) | (false, false) => {}
        }
    }

    fn store_away(&mut self, why: String) {
        let is_new = {
            let mut state = self.shared.state();
            state.connected = false;
            state.away.replace(why.clone()).is_none()
        };
        if is_new {
            self.tell(PublisherEvent::StoreAway { store: self.settings.store.to_string(), why });
        }
    }

    fn tell(&self, event: PublisherEvent) {
        // Nobody may listen.
        let _ = self.events.send(event);
    }
}
