//! Finds the problems of the daemon and its watches.

use std::time::Duration;

use super::daemon::DaemonStatus;
use super::service::ServiceStatus;
use super::watch::WatchStatus;
use crate::report::force_command;
use crate::text::count;

/// A process that is alive this long after SIGKILL hangs in the kernel.
const KILL_STUCK_SECONDS: f64 = 5.0;

/// Returns the problems that `twitcher status --check` reports, one line each. A run is stuck if it does not
/// end after SIGKILL, or if it takes longer than `stuck_after` while an update waits for it.
pub fn problems(daemon: &DaemonStatus, watches: &[WatchStatus], stuck_after: Duration) -> Vec<String> {
    let mut found = Vec::new();
    if daemon.state == "starting" {
        found.push("starting: not all configs have been read yet".to_owned());
    }
    let mut away = Vec::new();
    for store in &daemon.stores {
        // A disconnected store that no watch and no service uses is not a problem.
        let has_members = daemon.services.iter().any(|service| service.store == store.name);
        if store.connected != Some(true) && (store.nodes > 0 || has_members) {
            let detail = store.detail.as_deref().unwrap_or("not tried yet");
            found.push(format!("store {}: not connected: {detail}", store.name));
            away.push((&store.name, detail));
        }
    }
    if !daemon.ledger.usable {
        let reason = daemon.ledger.reason.as_deref().unwrap_or("it cannot be written");
        found.push(format!("ledger: {reason}"));
    }
    found.extend(crowded(daemon, watches, stuck_after));
    found.extend(daemon.config_errors.iter().map(|error| format!("config: {}", error.first_line())));
    found.extend(daemon.degraded.iter().map(|part| format!("{}: {}", part.part, part.what)));
    found.extend(watches.iter().flat_map(|watch| watch.problems(stuck_after)));
    // That their store is away is said above.
    let is_said = |service: &&ServiceStatus| {
        away.iter().any(|(store, detail)| service.store == **store && service.waits_for_store(detail))
    };
    let services = daemon.services.iter().filter(|service| !is_said(service));
    found.extend(services.filter_map(ServiceStatus::problem));
    found
}

/// Returns one line for all watches that have waited for too long until one of `max_actions` ends.
fn crowded(daemon: &DaemonStatus, watches: &[WatchStatus], stuck_after: Duration) -> Option<String> {
    let waits = watches.iter().filter_map(|watch| Some((watch.waits_for_place_seconds?, &watch.watch)));
    let late: Vec<_> = waits.filter(|(seconds, _)| *seconds > stuck_after.as_secs_f64()).collect();
    let (seconds, longest) = late.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some(format!(
        "max_actions: {} running, so that nothing else starts: {} for longer than {} s, {longest} the \
         longest, for {seconds:.0} s",
        count(daemon.running_actions as u64, "action"),
        match late.len() {
            1 => "1 watch waits".to_owned(),
            late => format!("{late} watches wait"),
        },
        stuck_after.as_secs(),
    ))
}

impl WatchStatus {
    fn problems(&self, stuck_after: Duration) -> impl Iterator<Item = String> {
        let error = self.error.as_deref().unwrap_or("it failed");
        let error = error.strip_prefix("failed: ").unwrap_or(error);
        let failing = match () {
            // Of an unregistered watch, only the process matters.
            () if !self.registered => None,
            () if self.stopped => Some(format!("stopped after a failure: {error}")),
            () if self.failures > 0 => Some(format!("failing, {} in a row: {error}", self.failures)),
            () => self.error.is_some().then(|| error.to_owned()),
        };
        let held = self.held.as_ref().filter(|_| self.registered);
        let held = held.map(|held| match self.held_by.as_deref() {
            Some("decode") => format!("held: {held}"),
            Some("decoder") => format!("held: {held}; `{}` has it decoded again", force_command(&self.watch)),
            Some(_) | None => format!("held: {held}; `{}` runs it", force_command(&self.watch)),
        });
        let stuck = self.stuck(stuck_after).map(|why| format!("stuck: {why}"));
        failing.into_iter().chain(held).chain(stuck).map(|why| format!("{}: {why}", self.watch))
    }

    fn stuck(&self, stuck_after: Duration) -> Option<String> {
        let undead =
            self.runs.iter().find(|run| run.killed_seconds.is_some_and(|ago| ago > KILL_STUCK_SECONDS));
        if let Some(run) = undead {
            return Some(format!("{} does not end after SIGKILL", run.process()));
        }
        let waits = self.waiting > 0 && !self.paused && !self.notified;
        let run = self.runs.iter().find(|run| waits && run.seconds > stuck_after.as_secs_f64())?;
        Some(format!("an update waits for {}, which has run for {:.0} s", run.process(), run.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DegradedPart, LedgerStatus, RunStatus, STORE_AWAY, StoreStatus};
    use super::*;
    use crate::text::Timestamp;

    const STUCK_AFTER: Duration = Duration::from_secs(60);

    fn daemon() -> DaemonStatus {
        DaemonStatus {
            version: "2.0.0".into(),
            pid: 1,
            started: Timestamp(std::time::UNIX_EPOCH),
            state: "running".into(),
            config_path: "/etc/twitcher".into(),
            untrusted_allowed: false,
            stores: Vec::new(),
            ledger: LedgerStatus { usable: true, reason: None },
            config_errors: Vec::new(),
            degraded: Vec::new(),
            watches: 1,
            services: Vec::new(),
            running_actions: 1,
            max_actions: Some(256),
            waiting_for_place: 0,
            waiting_bytes: 0,
            max_waiting_bytes: Some(64 << 20),
        }
    }

    fn watch() -> WatchStatus {
        WatchStatus {
            watch: "git.twc:deploy".into(),
            file: "git.twc".into(),
            description: "deploy".into(),
            store: "default".into(),
            znode: "/git/head".into(),
            watch_type: "data".into(),
            state: "running".into(),
            registered: true,
            paused: false,
            pause: None,
            stopped: false,
            version: Some(1),
            applied_version: None,
            applied_commit: None,
            runs: vec![run(1.0, None)],
            waiting: 0,
            next_start_seconds: None,
            waits_for_place_seconds: None,
            failures: 0,
            held: None,
            held_by: None,
            error: None,
            last_run: None,
            notified: false,
        }
    }

    fn run(seconds: f64, killed_seconds: Option<f64>) -> RunStatus {
        RunStatus {
            run: "1a.1-1".into(),
            pid: Some(42),
            event: "load".into(),
            version: 1,
            cause: Default::default(),
            started: Timestamp(std::time::UNIX_EPOCH),
            seconds,
            killed_seconds,
        }
    }

    fn found(watch: WatchStatus) -> Vec<String> {
        problems(&daemon(), &[watch], STUCK_AFTER)
    }

    #[test]
    fn a_part_that_does_not_work_is_a_problem_with_its_remedy() {
        let part = DegradedPart {
            part: "metrics".into(),
            what: "port 80 is taken".into(),
            since: Timestamp(std::time::UNIX_EPOCH),
        };
        let degraded = DaemonStatus { degraded: vec![part], ..daemon() };
        assert_eq!(problems(&degraded, &[watch()], STUCK_AFTER), ["metrics: port 80 is taken"]);
    }

    fn store(connected: Option<bool>) -> StoreStatus {
        StoreStatus {
            name: "default".into(),
            url: "zk://localhost:2181".into(),
            connected,
            since: None,
            detail: None,
            nodes: 1,
            pid: None,
            restarts: 0,
            confinement: None,
            keeper_pid: None,
            keeper_restarts: 0,
        }
    }

    #[test]
    fn a_store_that_is_not_connected_is_a_problem() {
        let store = |connected, detail: Option<&str>| StoreStatus {
            detail: detail.map(Into::into),
            ..store(connected)
        };
        let problems_of = |store, services| {
            problems(&DaemonStatus { stores: vec![store], services, ..daemon() }, &[], STUCK_AFTER)
        };
        let found = |store| problems_of(store, Vec::new());
        assert_eq!(found(store(Some(true), None)), [""; 0]);
        assert_eq!(found(store(Some(false), Some("refused"))), ["store default: not connected: refused"]);
        assert_eq!(found(store(None, None)), ["store default: not connected: not tried yet"]);
        let unwatched = || StoreStatus { nodes: 0, ..store(None, None) };
        assert_eq!(found(unwatched()), [""; 0]);
        let announces = problems_of(unwatched(), vec![service("waiting", None)]);
        assert_eq!(announces, ["store default: not connected: not tried yet"]);
    }

    #[test]
    fn a_store_that_is_away_is_said_once() {
        let reason = format!("{STORE_AWAY}: refused");
        let waits = |more| service("waiting", Some(&format!("{reason}{more}")));
        let problems_of = |connected| {
            let store = StoreStatus { detail: Some("refused".into()), ..store(connected) };
            let elsewhere = ServiceStatus { store: "eu".into(), ..waits(" there") };
            let in_directory = service("waiting", Some("cannot use it: refused"));
            let forbidden = service("waiting", Some("no permission"));
            let services = vec![waits(""), elsewhere, forbidden, in_directory];
            problems(&DaemonStatus { stores: vec![store], services, ..daemon() }, &[], STUCK_AFTER)
        };
        let not_announced = |why: &str| format!("web.twc:web: not announced: {why}");
        let [there, forbidden] = [&*format!("{reason} there"), "no permission"].map(not_announced);
        let store = "store default: not connected: refused".to_owned();
        assert_eq!(problems_of(Some(false)), [store, there.clone(), forbidden.clone()]);
        // The connection of the watches may be there, or not have noticed yet.
        let here = [&*reason, "cannot use it: refused"].map(not_announced);
        assert_eq!(problems_of(Some(true)), [here[0].clone(), there, forbidden, here[1].clone()]);
    }

    fn service(state: &str, error: Option<&str>) -> ServiceStatus {
        ServiceStatus {
            service: "web.twc:web".into(),
            file: "web.twc".into(),
            description: "web".into(),
            store: "default".into(),
            member: "/services/web/h:1".into(),
            state: state.into(),
            since: Timestamp(std::time::UNIX_EPOCH),
            is_checked: false,
            check: None,
            checked: None,
            error: error.map(Into::into),
            pause: None,
            is_present: false,
            drain: 0.0,
        }
    }

    #[test]
    fn a_service_that_is_not_announced_for_a_reason_is_a_problem() {
        let found = |state, error| {
            problems(&DaemonStatus { services: vec![service(state, error)], ..daemon() }, &[], STUCK_AFTER)
        };
        assert_eq!(found("waiting", None), [""; 0], "its first check runs");
        assert_eq!(found("waiting", Some("no permission")), ["web.twc:web: not announced: no permission"]);
        assert_eq!(found("failing", Some("exit 1")), ["web.twc:web: failing: exit 1"]);
        assert_eq!(found("announced", None), [""; 0]);
    }

    #[test]
    fn a_daemon_that_still_reads_its_configs_has_a_problem() {
        let starting = DaemonStatus { state: "starting".into(), watches: 0, ..daemon() };
        let problem = ["starting: not all configs have been read yet"];
        assert_eq!(problems(&starting, &[], STUCK_AFTER), problem);
    }

    #[test]
    fn what_is_held_is_a_problem_whatever_else_it_does() {
        let held = WatchStatus { held: Some("version 7 has 0 bytes (not_empty)".into()), ..watch() };
        let problem = "git.twc:deploy: held: version 7 has 0 bytes (not_empty); `twitcher trigger --force \
                       git.twc:deploy` runs it";
        assert_eq!(found(held.clone()), [problem]);
        let failing = WatchStatus { failures: 1, error: Some("failed: exit code 1".into()), ..held.clone() };
        assert_eq!(found(failing), ["git.twc:deploy: failing, 1 in a row: exit code 1", problem]);
        assert_eq!(found(WatchStatus { registered: false, ..held }), [""; 0]);
    }

    #[test]
    fn a_watch_that_waits_too_long_for_the_end_of_other_actions_is_a_problem() {
        let waits = |seconds| WatchStatus {
            runs: Vec::new(),
            waiting: 1,
            waits_for_place_seconds: Some(seconds),
            ..watch()
        };
        let daemon = DaemonStatus { running_actions: 256, ..daemon() };
        let found = |watches: &[WatchStatus]| problems(&daemon, watches, STUCK_AFTER);
        assert_eq!(found(&[waits(59.0), waits(1.0)]), [""; 0]);
        assert_eq!(
            found(&[waits(59.0), waits(61.0), waits(70.0)]),
            ["max_actions: 256 actions running, so that nothing else starts: 2 watches wait \
              for longer than 60 s, git.twc:deploy the longest, for 70 s"]
        );
    }

    #[test]
    fn what_does_not_die_or_keeps_an_update_waiting_is_stuck() {
        let long = vec![run(61.0, None)];
        assert_eq!(found(watch()), [""; 0]);
        assert_eq!(found(WatchStatus { runs: long.clone(), ..watch() }), [""; 0], "no update waits for it");
        let waits = WatchStatus { runs: long, waiting: 1, ..watch() };
        let late = ["git.twc:deploy: stuck: an update waits for pid 42, which has run for 61 s"];
        assert_eq!(found(waits.clone()), late);
        assert_eq!(found(WatchStatus { runs: vec![run(59.0, None)], ..waits.clone() }), [""; 0]);
        assert_eq!(found(WatchStatus { paused: true, ..waits.clone() }), [""; 0]);
        assert_eq!(
            found(WatchStatus { notified: true, ..waits.clone() }),
            [""; 0],
            "the action was sent a signal"
        );
        let undead = |ago| WatchStatus { runs: vec![run(9.0, Some(ago))], paused: true, ..watch() };
        assert_eq!(found(undead(4.0)), [""; 0]);
        let stuck = ["git.twc:deploy: stuck: pid 42 does not end after SIGKILL"];
        assert_eq!(found(undead(6.0)), stuck);
        let unregistered = |watch| WatchStatus { registered: false, failures: 3, stopped: true, ..watch };
        assert_eq!(found(unregistered(undead(6.0))), stuck);
        assert_eq!(found(unregistered(watch())), [""; 0]);
    }
}
