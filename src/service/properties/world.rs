//! The world around one service: its checks, its keeper and the ledger; and the rules that it must keep.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::moves::{Made, Move};
use crate::model::{
    DataPart, Holder, Member, MemberAcl, MemberData, MemberName, NodePath, Pace, Pause, StoreName,
};
use crate::service::{CheckId, CheckResult, Definition, Effect, Input, Report, Service, Snapshot, Time};

/// Who holds a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The session of the daemon of this number.
    Daemon(u32),
    Foreign,
}

/// What the keeper was told and has not done.
#[derive(Clone, Debug)]
enum Order {
    Announce(Arc<Member>),
    Withdraw(MemberName),
}

/// A check that has not ended.
#[derive(Clone, Copy, Debug)]
struct Live {
    executed: Option<Time>,
    killed: Option<Killed>,
}

/// A check that was killed, and when it counts as failed if it does not end.
#[derive(Clone, Copy, Debug)]
struct Killed {
    fails_at: Time,
    has_failed: bool,
}

pub(super) struct World {
    pub(super) service: Service,
    made: Made,
    pub(super) retired: bool,
    /// Whether nothing is left of the service.
    forgotten: bool,
    now: Time,
    /// What the ledger knows: the snapshot, and the check that it belongs to.
    noted: (Snapshot, Option<u8>),
    /// All effects so far.
    pub(super) effects: Vec<Effect>,
    checks: BTreeMap<CheckId, Live>,
    /// The checks whose result nobody wants any more.
    voided: BTreeSet<CheckId>,
    newest: u64,
    ended_at: Option<Time>,
    unkillable: bool,
    /// What the checks say, counted once more: the verdict, and the results in a row.
    verdict: Option<bool>,
    /// What the verdict has turned to, if that was not said yet.
    turned: Option<bool>,
    inherited: bool,
    passed: u32,
    failed: u32,
    unstartable: bool,
    // The store and its keeper.
    daemon: u32,
    nodes: BTreeMap<MemberName, (Owner, MemberData)>,
    orders: VecDeque<Order>,
    /// What the keeper is to hold.
    kept: BTreeMap<MemberName, Arc<Member>>,
    refuses: bool,
    /// What the service has told its keeper, and what it has said.
    told: Option<Arc<Member>>,
    obstacle: Option<Report>,
}

fn calendar(now: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1000) + now
}

fn member(made: Made) -> Arc<Member> {
    let path = NodePath::parse(&format!("/s/{}", made.address)).expect("a path");
    let name = MemberName { store: StoreName::default(), path };
    let data = MemberData([DataPart::Bytes(vec![made.data])].into());
    Member { name, data, acl: MemberAcl::Read }.into()
}

fn definition(made: Made) -> Definition {
    Definition { member: member(made), check: made.check.map(|_| made.pace) }
}

impl World {
    pub(super) fn new(made: Made) -> Self {
        let mut world = Self {
            service: Service::unloaded(definition(made)),
            made,
            retired: true,
            forgotten: false,
            now: Duration::from_secs(1),
            noted: (Snapshot::default(), made.check),
            effects: Vec::new(),
            checks: BTreeMap::new(),
            voided: BTreeSet::new(),
            newest: 0,
            ended_at: None,
            unkillable: false,
            verdict: None,
            turned: None,
            inherited: false,
            passed: 0,
            failed: 0,
            unstartable: false,
            daemon: 0,
            nodes: BTreeMap::new(),
            orders: VecDeque::new(),
            kept: BTreeMap::new(),
            refuses: false,
            told: None,
            obstacle: None,
        };
        world.load();
        world
    }

    pub(super) fn member(&self) -> Arc<Member> {
        member(self.made)
    }

    /// Whether a file registers the service, no operator drains it, and its check says that it is well.
    pub(super) fn is_wanted(&self) -> bool {
        !self.retired && self.service.pause().is_none() && self.verdict == Some(true)
    }

    pub(super) fn held_by_us(&self) -> Option<(&MemberName, &MemberData)> {
        let mut ours = self.nodes.iter().filter(|(_, (owner, _))| *owner == Owner::Daemon(self.daemon));
        let first = ours.next().map(|(name, (_, data))| (name, data));
        assert!(ours.next().is_none(), "two nodes of one member");
        first
    }

    pub(super) fn apply(&mut self, step: Move) {
        match step {
            Move::Sleep(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.feed(Input::Tick);
            }
            Move::CheckStarted(ago) => {
                let Some((check, live)) = self.running() else { return };
                if live.executed.is_none() && live.killed.is_none() {
                    let executed = self.now.saturating_sub(Duration::from_secs(ago));
                    self.checks.insert(check, Live { executed: Some(executed), ..live });
                    self.feed(Input::CheckStarted { check, executed });
                }
            }
            Move::CheckPasses => self.end_check(CheckResult::Passed),
            Move::CheckFails => self.end_check(CheckResult::Failed),
            Move::CheckNotStarted => {
                if self.running().is_some_and(|(_, live)| live.executed.is_none() && live.killed.is_none()) {
                    self.end_check(CheckResult::NotStarted);
                }
            }
            Move::Unkillable(unkillable) => {
                self.unkillable = unkillable;
                self.bury();
            }
            Move::Redefine(made) if !self.retired => self.redefine(made),
            Move::Retire if !self.retired => {
                self.retired = true;
                self.void_checks();
                self.feed(Input::Retired);
                self.noted.0 = Snapshot { is_well: false, pause: self.noted.0.pause.clone() };
            }
            Move::Load if self.retired => self.load(),
            Move::Pause(seconds) if !self.retired => {
                let length = seconds.map(Duration::from_secs);
                self.feed(Input::Paused(Pause::new(length, self.now, calendar(self.now)).into()));
            }
            Move::Resume if !self.retired => self.feed(Input::Resumed),
            // The file comes back with another definition.
            Move::Redefine(made) => self.made = made,
            Move::Retire | Move::Load | Move::Pause(_) | Move::Resume => {}
            Move::Deliver => self.deliver(),
            Move::LoseSession => {
                let ours = Owner::Daemon(self.daemon);
                self.nodes.retain(|_, (owner, _)| *owner != ours);
                let names: Vec<_> = self.kept.keys().cloned().collect();
                for member in names {
                    self.feed(Input::Kept { member, report: Report::Disconnected });
                }
            }
            Move::GhostExpires => {
                let ours = self.daemon;
                self.nodes.retain(|_, (owner, _)| match *owner {
                    Owner::Daemon(daemon) => daemon == ours,
                    Owner::Foreign => true,
                });
            }
            Move::Foreign(takes) => {
                let name = self.member().name.clone();
                let data = MemberData([].into());
                match self.nodes.get(&name) {
                    None if takes => _ = self.nodes.insert(name, (Owner::Foreign, data)),
                    _ => self.nodes.retain(|_, (owner, _)| *owner != Owner::Foreign),
                }
            }
            Move::Refuse(refuses) => self.refuses = refuses,
            Move::ReportAgain => self.report(),
            Move::Crash => {
                self.checks.clear();
                self.start_again();
            }
            Move::Restart => {
                let retired = std::mem::replace(&mut self.retired, true);
                self.void_checks();
                self.feed(Input::Stopping);
                self.noted.0 = self.service.snapshot();
                self.deliver();
                self.retired = retired;
                assert!(self.service.is_gone(), "the daemon waits for a member that is gone");
                assert_eq!(self.held_by_us(), None, "the daemon has stopped, and its member is there");
                self.start_again();
            }
        }
    }

    /// Lets everything come to its end: the checks agree for long enough, and the keeper does what it can.
    pub(super) fn settle(&mut self, is_well: bool) {
        (self.refuses, self.unkillable) = (false, false);
        self.bury();
        for _ in 0..8 {
            self.apply(Move::GhostExpires);
            self.nodes.retain(|_, (owner, _)| *owner != Owner::Foreign);
            self.now += Duration::from_secs(20);
            self.feed(Input::Tick);
            // The check may have been killed just now.
            self.feed(Input::Tick);
            if self.running().is_some() {
                self.apply(Move::CheckStarted(0));
                self.apply(if is_well { Move::CheckPasses } else { Move::CheckFails });
            }
            self.deliver();
            self.report();
        }
    }

    fn load(&mut self) {
        self.retired = false;
        if std::mem::take(&mut self.forgotten) {
            (self.service, self.newest) = (Service::unloaded(definition(self.made)), 0);
        }
        let (mut snapshot, check) = self.noted.clone();
        snapshot.is_well &= check == self.made.check;
        snapshot.pause = snapshot.pause.map(|it| it.carried_over(self.now, calendar(self.now)).into());
        self.verdict = snapshot.is_well.then_some(true);
        self.inherited = snapshot.is_well;
        self.begin_checks();
        self.feed(Input::Loaded { definition: definition(self.made), snapshot });
    }

    fn redefine(&mut self, made: Made) {
        let old = std::mem::replace(&mut self.made, made);
        let same_check = old.check == made.check;
        if !same_check {
            if old.address != made.address {
                (self.verdict, self.inherited) = (None, false);
            }
            self.begin_checks();
        }
        self.feed(Input::Redefined { definition: definition(made), same_check });
    }

    fn begin_checks(&mut self) {
        (self.passed, self.failed, self.unstartable) = (0, 0, false);
        self.ended_at = None;
        self.void_checks();
        if self.made.check.is_none() {
            (self.verdict, self.inherited) = (Some(true), false);
        }
    }

    /// The service is to end the checks, unless it has done so already.
    fn void_checks(&mut self) {
        let checks = std::mem::take(&mut self.checks).into_iter();
        self.voided.extend(checks.filter(|(_, live)| live.killed.is_none()).map(|(check, _)| check));
    }

    fn start_again(&mut self) {
        self.daemon += 1;
        (self.orders, self.kept) = (VecDeque::new(), BTreeMap::new());
        (self.told, self.obstacle) = (None, None);
        self.service = Service::unloaded(definition(self.made));
        self.newest = 0;
        if !std::mem::replace(&mut self.retired, true) {
            self.load();
        }
    }

    fn running(&self) -> Option<(CheckId, Live)> {
        self.checks.last_key_value().map(|(check, live)| (*check, *live))
    }

    fn end_check(&mut self, result: CheckResult) {
        let Some((check, live)) = self.running() else { return };
        if live.killed.is_some() && self.unkillable {
            return;
        }
        self.checks.remove(&check);
        self.ended_at = Some(self.now);
        match (live.killed, result) {
            // It counted when it was found to hang.
            (Some(Killed { has_failed: true, .. }), _) => {}
            (Some(_), _) => self.count(false),
            (None, CheckResult::Passed) => self.count(true),
            (None, CheckResult::Failed) => self.count(false),
            (None, CheckResult::NotStarted) => {}
        }
        self.feed(Input::CheckEnded { check, result, said: "exit 1".into() });
    }

    /// Counts the checks that were killed and do not end.
    fn count_hanging(&mut self) {
        let Some((check, live)) = self.running() else { return };
        let Pace { interval, timeout, .. } = self.made.pace;
        if live.killed.is_some_and(|killed| killed.fails_at <= self.now) {
            let killed = Some(Killed { fails_at: self.now + interval + timeout, has_failed: true });
            self.checks.insert(check, Live { killed, ..live });
            self.count(false);
        }
    }

    fn count(&mut self, passed: bool) {
        let Pace { rise, fall, .. } = self.made.pace;
        (self.passed, self.failed) = if passed { (self.passed + 1, 0) } else { (0, self.failed + 1) };
        let inherited = std::mem::take(&mut self.inherited);
        let before = self.verdict;
        if passed && self.passed >= rise {
            self.verdict = Some(true);
        } else if !passed && (self.failed >= fall || inherited) {
            self.verdict = Some(false);
        }
        self.turned = self.verdict.filter(|_| self.verdict != before);
    }

    /// Ends the checks that were killed, unless they cannot be killed.
    fn bury(&mut self) {
        while let Some((_, Live { killed: Some(_), .. })) = self.running()
            && !self.unkillable
        {
            self.end_check(CheckResult::Failed);
        }
    }

    fn deliver(&mut self) {
        while let Some(order) = self.orders.pop_front() {
            match order {
                Order::Announce(member) => _ = self.kept.insert(member.name.clone(), member),
                Order::Withdraw(member) => {
                    self.kept.remove(&member);
                    self.nodes.retain(|name, (owner, _)| *name != member || *owner == Owner::Foreign);
                    self.feed(Input::Kept { member, report: Report::Withdrawn });
                }
            }
        }
        self.report();
    }

    /// Has the keeper make its nodes what they should be, and report each of them.
    fn report(&mut self) {
        let ours = Owner::Daemon(self.daemon);
        for (name, member) in self.kept.clone() {
            let owner = self.nodes.get(&name).map(|(owner, _)| *owner);
            let report = match owner {
                Some(Owner::Foreign) => Report::Conflict { holder: Holder::Owner("another".into()) },
                Some(Owner::Daemon(_)) | None if self.refuses => Report::Waiting { reason: "no".into() },
                Some(Owner::Daemon(_)) | None => {
                    self.nodes.insert(name.clone(), (ours, member.data.clone()));
                    Report::Announced
                }
            };
            if report == Report::Announced {
                self.obstacle = None;
            }
            self.feed(Input::Kept { member: name, report });
        }
    }

    fn feed(&mut self, input: Input) {
        if self.forgotten {
            return;
        }
        let effects = self.service.step(self.now, input.clone());
        for effect in &effects {
            if let Effect::KillCheck { check } = effect
                && !self.voided.remove(check)
            {
                let live = self.checks.get_mut(check).expect("killed a check that does not run");
                let executed = live.executed.expect("killed a check whose timeout has not begun");
                assert!(executed + self.made.pace.timeout <= self.now, "killed before its timeout");
                let fails_at = self.now + Duration::from_secs(2);
                let before = live.killed.replace(Killed { fails_at, has_failed: false });
                assert!(before.is_none(), "killed twice");
            }
        }
        self.count_hanging();
        effects.iter().for_each(|effect| self.check(effect, &input));
        assert_eq!(self.turned, None, "the verdict turned without a word");
        assert!(self.voided.is_empty(), "a check runs on that nobody wants");
        self.effects.extend(effects);
        if !self.retired {
            self.noted = (self.service.snapshot(), self.made.check);
        }
        self.bury();
    }

    fn check(&mut self, effect: &Effect, input: &Input) {
        match effect {
            Effect::StartCheck { check } => {
                assert!(!self.retired && self.made.check.is_some(), "checked for nothing");
                assert!(self.checks.is_empty(), "two checks at once");
                let due = self.ended_at.map(|ended| ended + self.made.pace.interval);
                assert!(due.is_none_or(|due| due <= self.now), "checked too soon");
                assert!(check.0 > self.newest, "the number of an older check");
                self.newest = check.0;
                self.checks.insert(*check, Live { executed: None, killed: None });
            }
            Effect::KillCheck { .. } => {}
            Effect::Announce(member) => {
                assert!(self.is_wanted(), "announced what is not wanted");
                assert_eq!(*member, self.member());
                let told = self.told.replace(member.clone());
                assert_ne!(told.as_ref(), Some(member), "told twice");
                assert!(told.is_none_or(|told| told.name == member.name), "two members of one service");
                self.orders.push_back(Order::Announce(member.clone()));
            }
            Effect::Withdraw(name) => {
                let told = self.told.take().expect("withdrew what was never announced");
                assert_eq!(told.name, *name);
                assert!(!self.is_wanted() || self.member().name != *name, "withdrew what is wanted");
                self.obstacle = None;
                self.orders.push_back(Order::Withdraw(name.clone()));
            }
            Effect::Turned { is_well, why } => {
                assert_eq!(self.turned.take(), Some(*is_well), "the verdict has not turned");
                assert_eq!(why.is_some(), !is_well);
            }
            Effect::Unstartable { .. } => {
                assert!(matches!(input, Input::CheckEnded { result: CheckResult::NotStarted, .. }));
                assert!(!std::mem::replace(&mut self.unstartable, true), "said twice");
            }
            Effect::Startable => assert!(std::mem::take(&mut self.unstartable), "it was never said"),
            Effect::Announced(name) => {
                assert_eq!(self.held_by_us().map(|(name, _)| name), Some(name), "it is not there");
            }
            Effect::Withdrawn(name) => {
                let ours = self.held_by_us().map(|(name, _)| name);
                assert_ne!(ours, Some(name), "it is still there");
            }
            Effect::Conflict { .. } | Effect::Refused { .. } => {
                let Input::Kept { report, .. } = input else { panic!("an obstacle without a report") };
                assert_ne!(self.obstacle.replace(report.clone()).as_ref(), Some(report), "said twice");
            }
            Effect::PauseOver => assert_eq!(self.service.pause(), None),
            Effect::Forget => {
                assert!(self.retired && self.told.is_none());
                self.forgotten = true;
            }
        }
    }
}
