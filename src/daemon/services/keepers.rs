//! The keepers of the stores in which members are announced.
//!
//! A keeper is opened when the first service of its store is loaded, so that its process runs and has a
//! session before the first check succeeds. It ends when no service of that store is left, or with the
//! daemon. It announces, renews and tries again by itself. Only what it holds members by, its *owner*, has to
//! outlive the daemon: what a former owner of this host left behind is replaced, and not left alone.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{Receiver, Sender, UnboundedSender, channel};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::ServiceId;
use super::claims::{Claim, Claims, Release};
use crate::ledger::Ledger;
use crate::model::{Holder, Member, MemberName, NodePath, StoreName};
use crate::service::Report;
use crate::store::{self, KeeperEvent, KeeperLink, KeeperOrder, KeeperProcess};
use crate::sys::local_time;

/// How many events of all keepers may wait. While none fits in, no process of a keeper is heard.
const EVENT_QUEUE: usize = 64;

/// How long the end of all keepers is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the keeper of a store, which the ledger may know from before. An error says why there is none, with
/// the remedy.
pub type OpenKeeper = Box<dyn FnMut(&StoreName, &mut Ledger) -> Result<KeeperLink, String>>;

/// What a keeper tells that concerns the store, or a service.
pub enum KeeperNews {
    /// The owner is to be recorded, and then [`Keepers::recorded`] to be called.
    Opened {
        store: StoreName,
        owner: String,
    },
    Connected {
        store: StoreName,
        what: String,
    },
    Disconnected {
        store: StoreName,
        reason: String,
    },
    /// These services are to be told.
    Reports(Vec<(ServiceId, MemberName, Report)>),
    Nothing,
}

/// Names a keeper within the daemon: one that ends may still speak when the next one of its store is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperName {
    store: StoreName,
    number: u64,
}

struct OpenedKeeper {
    number: u64,
    orders: UnboundedSender<KeeperOrder>,
    process: Rc<Cell<KeeperProcess>>,
    /// Why the keeper is not connected, if it has said so last.
    disconnected: Option<Box<str>>,
}

pub struct Keepers {
    open: OpenKeeper,
    keepers: HashMap<StoreName, OpenedKeeper>,
    /// How often the processes of keepers were replaced that have ended since.
    former_restarts: HashMap<StoreName, u64>,
    last_number: u64,
    /// How many keepers have not ended, open ones and those that are being closed.
    alive: usize,
    claims: Claims,
    /// What the keepers of all stores say. `None`: this keeper has ended.
    events: Receiver<(KeeperName, Option<KeeperEvent>)>,
    sender: Sender<(KeeperName, Option<KeeperEvent>)>,
    /// The reports that this part makes itself, on members that no keeper has.
    own: Vec<(ServiceId, MemberName, Report)>,
}

impl Keepers {
    pub fn new(open: OpenKeeper) -> Self {
        let (sender, events) = channel(EVENT_QUEUE);
        Self {
            open,
            keepers: HashMap::new(),
            former_restarts: HashMap::new(),
            last_number: 0,
            alive: 0,
            claims: Claims::default(),
            events,
            sender,
            own: Vec::new(),
        }
    }

    /// Opens the keeper of a store, if it is not open. An error says why there is none.
    pub fn open(&mut self, store: &StoreName, ledger: &mut Ledger) -> Result<(), String> {
        if !self.keepers.contains_key(store) {
            let link = (self.open)(store, ledger)?;
            self.follow(store.clone(), link);
        }
        Ok(())
    }

    /// The stores whose keepers are open.
    pub fn stores(&self) -> Vec<StoreName> {
        self.keepers.keys().cloned().collect()
    }

    /// Has the keeper of its store announce a member for a service. `name_of` names other services.
    pub fn announce(
        &mut self,
        service: ServiceId,
        member: &Arc<Member>,
        ledger: &mut Ledger,
        name_of: impl Fn(ServiceId) -> String,
    ) {
        let name = member.name.clone();
        match self.claims.announce(service, member) {
            Claim::Granted => self.order_announcement(service, member, ledger),
            Claim::HeldBy(other) => {
                let holder = Holder::Service(name_of(other).into());
                self.own.push((service, name, Report::Conflict { holder }));
            }
        }
    }

    fn order_announcement(&mut self, service: ServiceId, member: &Member, ledger: &mut Ledger) {
        let Member { name, data, acl } = member;
        let now = SystemTime::now();
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let data = data.fill(std::process::id(), &local_time(now), millis);
        let order = KeeperOrder::Announce(store::Member { path: name.path.clone(), data, acl: *acl });
        if let Err(reason) = self.order(&name.store, order, ledger) {
            self.own.push((service, name.clone(), Report::Waiting { reason: reason.into() }));
        }
    }

    /// Has the keeper withdraw a member.
    pub fn withdraw(&mut self, service: ServiceId, name: &MemberName, ledger: &mut Ledger) {
        match self.claims.withdraw(service, name) {
            Release::OnlyWaited => self.own.push((service, name.clone(), Report::Withdrawn)),
            Release::Released { next } => {
                let order = KeeperOrder::Withdraw(name.path.clone());
                if self.order(&name.store, order, ledger).is_err() {
                    self.claims.withdrawn(name);
                    self.own.push((service, name.clone(), Report::Withdrawn));
                }
                if let Some((next, member)) = next {
                    self.order_announcement(next, &member, ledger);
                }
            }
        }
    }

    /// Gives an order to the keeper of a store, which is opened if it is not open.
    fn order(&mut self, store: &StoreName, order: KeeperOrder, ledger: &mut Ledger) -> Result<(), String> {
        self.open(store, ledger)?;
        if let Some(keeper) = self.keepers.get(store) {
            // It ends only when its orders do.
            let _ = keeper.orders.send(order);
        }
        Ok(())
    }

    fn follow(&mut self, store: StoreName, KeeperLink { orders, mut events, process }: KeeperLink) {
        self.last_number += 1;
        let number = self.last_number;
        self.keepers.insert(store.clone(), OpenedKeeper { number, orders, process, disconnected: None });
        self.alive += 1;
        let (sender, name) = (self.sender.clone(), KeeperName { store, number });
        spawn_local(async move {
            while let Some(event) = events.recv().await {
                // The daemon may have stopped by now.
                let _ = sender.send((name.clone(), Some(event))).await;
            }
            let _ = sender.send((name, None)).await;
        });
    }

    /// Ends the keeper of a store in which nothing is announced or being withdrawn.
    pub fn end_idle(&mut self, store: &StoreName) {
        if self.claims.is_idle(store) && self.keepers.contains_key(store) {
            // Without orders, it gives up its session or lease, and ends.
            self.end(store);
        }
    }

    fn end(&mut self, store: &StoreName) {
        if let Some(keeper) = self.keepers.remove(store) {
            *self.former_restarts.entry(store.clone()).or_default() += keeper.process.get().restarts;
        }
    }

    /// The processes of all keepers that there are, or were, by store.
    pub fn processes(&self) -> BTreeMap<StoreName, KeeperProcess> {
        let former = self.former_restarts.iter();
        let mut all: BTreeMap<_, _> = former
            .map(|(store, restarts)| (store.clone(), KeeperProcess { pid: None, restarts: *restarts }))
            .collect();
        for (store, keeper) in &self.keepers {
            let KeeperProcess { pid, restarts } = keeper.process.get();
            let all_of_store = all.entry(store.clone()).or_default();
            (all_of_store.pid, all_of_store.restarts) = (pid, all_of_store.restarts + restarts);
        }
        all
    }

    /// Tells the keeper that its owner is on record, with the `former` ones of this host.
    pub fn recorded(&mut self, store: &StoreName, owner: String, former: Vec<String>) {
        if let Some(keeper) = self.keepers.get(store) {
            let _ = keeper.orders.send(KeeperOrder::Recorded { owner, former });
        }
    }

    /// What a keeper says next. Can be dropped at any time.
    pub async fn next_event(&mut self) -> Option<(KeeperName, Option<KeeperEvent>)> {
        self.events.recv().await
    }

    /// The next report of this part itself.
    pub fn next_own(&mut self) -> Option<(ServiceId, MemberName, Report)> {
        if self.own.is_empty() { None } else { Some(self.own.remove(0)) }
    }

    pub fn take(&mut self, keeper: KeeperName, event: Option<KeeperEvent>) -> KeeperNews {
        let KeeperName { store, number } = keeper;
        let Some(event) = event else {
            self.alive -= 1;
            return KeeperNews::Nothing;
        };
        let Some(keeper) = self.keepers.get_mut(&store).filter(|open| open.number == number) else {
            return KeeperNews::Nothing;
        };
        match &event {
            KeeperEvent::Connected { .. } => keeper.disconnected = None,
            KeeperEvent::Disconnected { reason } | KeeperEvent::Refused { reason } => {
                keeper.disconnected = Some(reason.as_str().into());
            }
            KeeperEvent::Opened { .. }
            | KeeperEvent::Announced { .. }
            | KeeperEvent::Conflict { .. }
            | KeeperEvent::Waiting { .. }
            | KeeperEvent::Withdrawn { .. } => {}
        }
        let one = |path: NodePath, report: Report, this: &Self| {
            let name = MemberName { store: store.clone(), path };
            let concerned = this.claims.concerned(&name);
            KeeperNews::Reports(concerned.map(|service| (service, name, report)).into_iter().collect())
        };
        match event {
            KeeperEvent::Connected { what } => KeeperNews::Connected { store, what },
            KeeperEvent::Opened { owner } => KeeperNews::Opened { store, owner },
            KeeperEvent::Announced { path } => one(path, Report::Announced, self),
            KeeperEvent::Conflict { path, holder } => {
                let holder = holder.map_or(Holder::Nobody, |owner| Holder::Owner(owner.into()));
                one(path, Report::Conflict { holder }, self)
            }
            KeeperEvent::Waiting { path, reason } => {
                one(path, Report::Waiting { reason: reason.into() }, self)
            }
            KeeperEvent::Withdrawn { path } => {
                let name = MemberName { store, path };
                let left = self.claims.withdrawn(&name);
                KeeperNews::Reports(left.map(|it| (it, name, Report::Withdrawn)).into_iter().collect())
            }
            KeeperEvent::Disconnected { reason } | KeeperEvent::Refused { reason } => {
                KeeperNews::Disconnected { store, reason }
            }
        }
    }

    /// Returns why the keeper of this store is not connected, if it has said so last.
    pub fn disconnected(&self, store: &StoreName) -> Option<&str> {
        self.keepers.get(store)?.disconnected.as_deref()
    }

    /// The services with a member in this store, and the members.
    pub fn held_in(&self, store: &StoreName) -> Vec<(ServiceId, MemberName)> {
        self.claims.held_in(store.as_str()).map(|(name, service)| (service, name.clone())).collect()
    }

    /// Ends all keepers, which withdraws what is left.
    pub async fn close(&mut self) {
        self.keepers.clear();
        let ended = async {
            while self.alive > 0 {
                match self.events.recv().await {
                    Some((_, Some(_))) => {}
                    Some((_, None)) => self.alive -= 1,
                    None => return,
                }
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, ended).await;
    }
}
