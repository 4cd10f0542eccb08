//! What the cores of services ask for, done; and what happens to checks and members, told to them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::checks::{CheckEvent, CheckKey, CheckNews, Checks};
use super::keepers::{KeeperName, KeeperNews, Keepers};
use super::renaming::{Renaming, renaming};
use super::{ServiceId, Services};
use crate::config::accounts::AccountsStamp;
use crate::config::diff::Change;
use crate::daemon::clock::Clock;
use crate::daemon::configs::Changes;
use crate::daemon::identities::{Identities, Verdict};
use crate::daemon::persist::Persist;
use crate::ledger::StoredService;
use crate::model::{Identity, RunAs, ServiceSpec, StoreName, WatchKey};
use crate::report::{Report, Reporter, ServiceReport};
use crate::service::{self, CheckResult, Effect, Input, Snapshot, Time};
use crate::store::KeeperEvent;

/// The parts that services concern.
pub struct ServicePerformer<'a> {
    pub log: &'a Reporter,
    pub clock: Clock,
    pub services: &'a mut Services,
    pub checks: &'a mut Checks,
    pub keepers: &'a mut Keepers,
    pub identities: &'a mut Identities,
    pub persist: &'a mut Persist,
    /// A dry run checks and announces nothing.
    pub is_dry_run: bool,
    /// Whether there is only one store, which reports do not name.
    pub has_one_store: bool,
}

impl ServicePerformer<'_> {
    // What files register.

    /// Takes all services that a file registers now.
    pub fn load(&mut self, file: &str, wanted: Vec<ServiceSpec>) -> Changes {
        let mut count = Changes::default();
        self.rename(file, &wanted);
        let changes = self.services.diff(file, wanted);
        let mut stored = match changes.iter().any(|change| matches!(change, Change::Add(_))) {
            true => self.persist.ledger_mut().load_services(file),
            false => Default::default(),
        };
        for change in changes {
            match change {
                Change::Add(spec) => {
                    count.added += 1;
                    self.said(&spec, ServiceReport::Added);
                    let now = self.services.now();
                    let stored = stored.remove(&*spec.id.description);
                    let snapshot = stored.map(|stored| recovered(stored, &spec, now)).unwrap_or_default();
                    // Of a pause whose time is over, the end is reported.
                    if let Some(pause) = snapshot.pause.as_ref().filter(|pause| !pause.is_over(now)) {
                        self.said(&spec, ServiceReport::StaysPaused { pause });
                    }
                    self.services.add(spec, snapshot);
                }
                Change::Change(spec) => {
                    count.changed += 1;
                    self.said(&spec, ServiceReport::Changed);
                    self.services.redefine(spec);
                }
                Change::Identity(spec) => self.services.replace_identity(spec),
                Change::Remove(key) => {
                    count.removed += 1;
                    self.remove(&key);
                }
            }
        }
        self.match_keepers();
        count
    }

    /// Has services go on whose members the file registers under other names now. What the ledger knows of
    /// them goes along.
    fn rename(&mut self, file: &str, wanted: &[ServiceSpec]) {
        let services = &*self.services;
        let of_file = services.registered().filter(|(_, entry)| &*entry.spec().id.file == file);
        let current: Vec<_> = of_file.map(|(id, entry)| (id, entry.spec())).collect();
        let is_left = |name: &WatchKey| {
            let entry = services.id(name).and_then(|id| services.get(id));
            entry.is_some_and(|entry| entry.is_retired())
        };
        let Renaming { renamed, vacant } = renaming(&current, wanted, is_left);
        self.services.rename(&renamed);
        for name in &vacant {
            self.persist.ledger_mut().forget_service(name);
        }
        for (id, before, now) in renamed {
            self.save_one(id);
            if let Some(entry) = self.services.get(id) {
                let (member, what) = (&entry.spec().member.name, ServiceReport::Renamed { name: &now });
                self.log.report(&Report::Service { service: &before, member, what });
            }
        }
    }

    /// Opens the keepers of all stores in which services have members: a process and a session take longer
    /// than an announcement. Ends those that no service needs any more.
    fn match_keepers(&mut self) {
        if !self.is_dry_run {
            let services = self.services.registered().map(|(_, entry)| entry.spec());
            let stores: BTreeSet<StoreName> = services.map(|spec| spec.member.name.store.clone()).collect();
            for store in stores {
                // If there can be none, the announcement says so.
                let _ = self.keepers.open(&store, self.persist.ledger_mut());
            }
        }
        for store in self.keepers.stores() {
            self.end_unused_keeper(&store);
        }
    }

    fn remove(&mut self, key: &WatchKey) {
        if let Some(entry) = self.services.id(key).and_then(|id| self.services.get(id)) {
            self.said(entry.spec(), ServiceReport::Removed);
        }
        self.persist.ledger_mut().retire_service(key);
        self.services.retire(key);
    }

    fn said(&self, spec: &ServiceSpec, what: ServiceReport<'_>) {
        self.log.report(&Report::Service { service: &spec.id, member: &spec.member.name, what });
    }

    // What the cores want.

    /// Performs all effects that wait, oldest first.
    pub fn perform_all(&mut self) {
        loop {
            while let Some((id, effect)) = self.services.next_effect() {
                self.perform(id, effect);
            }
            let Some((service, member, report)) = self.keepers.next_own() else { return };
            self.services.step(service, Input::Kept { member, report });
        }
    }

    fn perform(&mut self, id: ServiceId, effect: Effect) {
        let Some(entry) = self.services.get(id) else { return };
        let spec = entry.spec();
        let said = |what: ServiceReport<'_>| {
            let member = &spec.member.name;
            self.log.report(&Report::Service { service: &spec.id, member, what });
        };
        match effect {
            Effect::StartCheck { .. } | Effect::Announce(_) if self.is_dry_run => {}
            Effect::StartCheck { check } => self.start_check((id, check)),
            Effect::KillCheck { check } => self.checks.kill((id, check)),
            Effect::Announce(member) => {
                let services = &*self.services;
                let name =
                    |other| services.get(other).map_or_else(String::new, |it| it.spec().id.to_string());
                self.keepers.announce(id, &member, self.persist.ledger_mut(), name);
            }
            Effect::Withdraw(name) => self.keepers.withdraw(id, &name, self.persist.ledger_mut()),
            Effect::Turned { is_well, why } => said(ServiceReport::Turned { is_well, why: why.as_deref() }),
            Effect::Unstartable { why } => said(ServiceReport::Unstartable { why: &why }),
            Effect::Startable => said(ServiceReport::Startable),
            Effect::Announced(member) => {
                let what = ServiceReport::Announced;
                self.log.report(&Report::Service { service: &spec.id, member: &member, what });
                self.persist.ledger_mut().record_member(&spec.id, &member, true);
            }
            Effect::Withdrawn(member) => {
                let what = ServiceReport::Withdrawn;
                self.log.report(&Report::Service { service: &spec.id, member: &member, what });
                self.persist.ledger_mut().record_member(&spec.id, &member, false);
            }
            Effect::Conflict { holder } => said(ServiceReport::Conflict { holder: &holder }),
            Effect::Refused { reason } => said(ServiceReport::Refused { reason: &reason }),
            Effect::PauseOver => said(ServiceReport::PauseOver),
            Effect::Forget => {
                let store = spec.member.name.store.clone();
                self.services.forget(id);
                self.end_unused_keeper(&store);
            }
        }
    }

    /// Ends the keeper of a store when no service is left that announces members there.
    fn end_unused_keeper(&mut self, store: &StoreName) {
        if !self.services.use_store(store) {
            self.keepers.end_idle(store);
        }
    }

    // Checks.

    /// Starts a check as who its user is now, or waits for the lookup of that user.
    fn start_check(&mut self, key: CheckKey) {
        let Some(spec) = self.services.get(key.0).map(|entry| entry.spec()) else { return };
        match self.identities.verdict(&spec.run_as, AccountsStamp::now()) {
            Verdict::Known(identity) => self.checks.start(key, spec, identity),
            // The check runs as the daemon's own user, whatever a lookup finds.
            Verdict::Unknown(_) | Verdict::Asked if spec.run_as.is_own() => {
                self.checks.start(key, spec, spec.identity.clone());
            }
            Verdict::Unknown(why) => {
                let said = format!("the check cannot be started: {why}").into();
                self.check_ended(key, CheckResult::NotStarted, said);
            }
            Verdict::Asked => self.checks.wait(key, spec),
        }
    }

    /// Takes the answer of a lookup.
    pub fn identified(&mut self, run_as: &Arc<RunAs>, identity: Option<&Arc<Identity>>) {
        if let Some(identity) = identity {
            self.services.set_identity_of_all(run_as, identity);
        }
        for key in self.checks.identified(run_as) {
            self.start_check(key);
        }
    }

    pub fn check_event(&mut self, event: CheckEvent) {
        match self.checks.take(event) {
            Some(CheckNews::Started { key: (id, check), executed }) => {
                let executed = self.clock.time(executed);
                self.services.step(id, Input::CheckStarted { check, executed });
            }
            Some(CheckNews::Ended { key, result, said }) => self.check_ended(key, result, said),
            None => {}
        }
    }

    fn check_ended(&mut self, (id, check): CheckKey, result: CheckResult, said: Arc<str>) {
        // The service may be gone.
        let Some(entry) = self.services.get_mut(id) else { return };
        entry.note_check();
        let spec = entry.spec();
        let (service, member) = (&spec.id, &spec.member.name);
        self.log.report(&Report::Service { service, member, what: ServiceReport::Checked(result) });
        self.services.step(id, Input::CheckEnded { check, result, said });
    }

    // Keepers.

    pub fn keeper_event(&mut self, keeper: KeeperName, event: Option<KeeperEvent>) {
        match self.keepers.take(keeper, event) {
            KeeperNews::Opened { store, owner } => {
                // It is on disk before a node of this owner exists.
                let former = self.persist.ledger_mut().record_owner(store.as_str(), &owner);
                self.keepers.recorded(&store, owner, former);
            }
            KeeperNews::Connected { store, what } => {
                let store = Some(&store).filter(|_| !self.has_one_store);
                self.log.report(&Report::MembersConnected { store, what: &what });
            }
            KeeperNews::Disconnected { store, reason } => {
                let named = Some(&store).filter(|_| !self.has_one_store);
                self.log.report(&Report::MembersDisconnected { store: named, reason: &reason });
                for (service, member) in self.keepers.held_in(&store) {
                    let report = service::Report::Disconnected;
                    self.services.step(service, Input::Kept { member, report });
                }
            }
            KeeperNews::Reports(reports) => {
                for (service, member, report) in reports {
                    let store = member.store.clone();
                    let is_left = report == service::Report::Withdrawn;
                    self.services.step(service, Input::Kept { member, report });
                    if is_left {
                        self.end_unused_keeper(&store);
                    }
                }
            }
            KeeperNews::Nothing => {}
        }
    }

    // The ledger.

    /// Tells the ledger where the services stand that have changed.
    pub fn save(&mut self) {
        for id in self.services.take_unsaved() {
            self.save_one(id);
        }
    }

    pub fn save_one(&mut self, id: ServiceId) {
        let Some(entry) = self.services.get(id).filter(|entry| !entry.is_retired()) else { return };
        let (spec, snapshot) = (entry.spec(), entry.service().snapshot());
        self.persist.ledger_mut().save_service(spec, spec.check_hash(), &snapshot);
    }
}

/// Returns what the core starts from. The verdict of a former daemon counts only if the same check made it,
/// and if the service cannot have ended with the machine.
fn recovered(stored: StoredService, spec: &ServiceSpec, now: Time) -> Snapshot {
    let StoredService { checked_by, this_boot, is_well, pause } = stored;
    let is_same = this_boot && checked_by == Some(spec.check_hash());
    let pause = pause.map(|pause| Box::new(pause.carried_over(now, SystemTime::now())));
    Snapshot { is_well: is_well && is_same, pause }
}
