//! What operators get to see: plain data, and the JSON of the control socket and of `--json`.
//!
//! The JSON is stable: fields may be added, and none changes its meaning or goes. Times are RFC 3339 in UTC, durations
//! are seconds. What is not known, or not so, is `null`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::RunRecord;
use crate::model::{Facet, StoreName};
use crate::report::force_command;
use crate::text::Timestamp;

/// `GET /v1/status`: the daemon as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Of the daemon, which may be older than the client.
    pub version: String,
    pub pid: u32,
    pub started: Timestamp,
    /// `starting` until the configs were read, `running`, or `stopping`.
    pub state: String,
    pub config_path: String,
    /// Whether it is root's and loads what others than root can change (`--allow-untrusted`).
    #[serde(default)]
    pub untrusted_allowed: bool,
    pub stores: Vec<StoreStatus>,
    pub ledger: LedgerStatus,
    /// Files whose last load failed, and directories that cannot be looked into. What they registered before goes on.
    pub config_errors: Vec<ConfigError>,
    /// How many watches the files register.
    pub watches: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub name: String,
    pub url: String,
    /// `null` before the first attempt has come to an end.
    pub connected: Option<bool>,
    /// Of that.
    pub since: Option<Timestamp>,
    /// The server and session, or why there is no connection.
    pub detail: Option<String>,
    /// How many nodes are followed in it.
    pub nodes: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub usable: bool,
    /// Why it is not.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigError {
    /// Below the config directory. A directory's ends with a slash; `./` is the config directory.
    pub file: String,
    pub error: String,
}

/// A line of `GET /v1/watches`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// As the log names it.
    pub watch: String,
    /// Below the config directory.
    pub file: String,
    pub description: String,
    pub store: String,
    pub znode: String,
    /// `data`, `children` or `tree`.
    pub watch_type: String,
    /// One word of [`crate::watch::Condition`].
    pub state: String,
    /// `false`: no file registers it any more, or none could be loaded yet that does, and its action runs to its end.
    pub registered: bool,
    pub paused: bool,
    /// By `on_failure: STOP`.
    pub stopped: bool,
    /// What was seen of the node last; `null` where it is not there, or not known.
    pub version: Option<i64>,
    /// What the action succeeded with last, in its present definition.
    pub applied_version: Option<i64>,
    /// The actions that run.
    pub runs: Vec<RunStatus>,
    /// How many updates wait to be run.
    pub waiting: usize,
    /// In how many seconds the next run starts, where time is all that it waits for.
    pub next_start_seconds: Option<f64>,
    /// In a row.
    pub failures: u32,
    /// Which version a guard holds, and why.
    pub held: Option<String>,
    /// Why its node cannot be read, or how the last run failed.
    pub error: Option<String>,
    /// The newest of the daemon's own runs that has ended.
    pub last_run: Option<RunRecord>,
    /// Whether it wants a signal when the node changes while it runs (`notify_signal`).
    pub notified: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// What the action gets as `TWITCHER_RUN_ID`.
    pub run: String,
    pub pid: i32,
    pub event: String,
    pub version: i64,
    pub started: Timestamp,
    pub seconds: f64,
    /// How long ago it was sent SIGKILL.
    pub killed_seconds: Option<f64>,
}

impl ConfigError {
    /// Without the lines that show where in the file it is.
    pub fn first_line(&self) -> &str {
        self.error.lines().next().unwrap_or_default()
    }
}

/// What `twitcher status --check` finds wrong, one line each; none if all is well. A run is stuck if it was sent SIGKILL
/// and does not end, or if it takes longer than `stuck_after` while an update waits.
pub fn problems(daemon: &DaemonStatus, watches: &[WatchStatus], stuck_after: Duration) -> Vec<String> {
    let mut found = Vec::new();
    for store in &daemon.stores {
        // Nobody misses one that nobody uses.
        if store.connected != Some(true) && store.nodes > 0 {
            let detail = store.detail.as_deref().unwrap_or("not tried yet");
            found.push(format!("store {}: not connected: {detail}", store.name));
        }
    }
    if !daemon.ledger.usable {
        let reason = daemon.ledger.reason.as_deref().unwrap_or("it cannot be written");
        found.push(format!("ledger: {reason}"));
    }
    found.extend(daemon.config_errors.iter().map(|error| format!("config: {}", error.first_line())));
    found.extend(watches.iter().flat_map(|watch| watch.problems(stuck_after)));
    found
}

/// A process that does not die of SIGKILL within this time hangs in the kernel.
const KILL_STUCK_SECONDS: f64 = 5.0;

impl WatchStatus {
    /// The order of whatever is shown to people.
    pub fn sort_by_name(watches: &mut [Self]) {
        watches.sort_by(|one, other| (&one.file, &one.description).cmp(&(&other.file, &other.description)));
    }

    /// What it watches, as the log has it.
    pub fn node(&self) -> String {
        let store = if self.store == StoreName::DEFAULT { String::new() } else { format!("{}:", self.store) };
        let facet = if self.watch_type == Facet::Data.as_str() {
            String::new()
        } else {
            format!(" ({})", self.watch_type)
        };
        format!("{store}{}{facet}", self.znode)
    }

    fn problems(&self, stuck_after: Duration) -> impl Iterator<Item = String> {
        let error = self.error.as_deref().unwrap_or("it failed");
        let error = error.strip_prefix("failed: ").unwrap_or(error);
        let failing = match () {
            // Of one that no file registers only the process is left.
            () if !self.registered => None,
            () if self.stopped => Some(format!("stopped after a failure: {error}")),
            () if self.failures > 0 => Some(format!("failing, {} in a row: {error}", self.failures)),
            () => self.error.is_some().then(|| error.to_owned()),
        };
        let held = self.held.as_ref().filter(|_| self.registered);
        let held = held.map(|held| format!("held: {held}; `{}` runs it", force_command(&self.watch)));
        let stuck = self.stuck(stuck_after).map(|why| format!("stuck: {why}"));
        failing.into_iter().chain(held).chain(stuck).map(|why| format!("{}: {why}", self.watch))
    }

    fn stuck(&self, stuck_after: Duration) -> Option<String> {
        let undead =
            self.runs.iter().find(|run| run.killed_seconds.is_some_and(|ago| ago > KILL_STUCK_SECONDS));
        if let Some(run) = undead {
            return Some(format!("pid {} does not end after SIGKILL", run.pid));
        }
        let waits = self.waiting > 0 && !self.paused && !self.notified;
        let run = self.runs.iter().find(|run| waits && run.seconds > stuck_after.as_secs_f64())?;
        Some(format!("an update waits for pid {}, which runs for {:.0} s", run.pid, run.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            watches: 1,
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
            stopped: false,
            version: Some(1),
            applied_version: None,
            runs: vec![run(1.0, None)],
            waiting: 0,
            next_start_seconds: None,
            failures: 0,
            held: None,
            error: None,
            last_run: None,
            notified: false,
        }
    }

    fn run(seconds: f64, killed_seconds: Option<f64>) -> RunStatus {
        RunStatus {
            run: "1a.1-1".into(),
            pid: 42,
            event: "load".into(),
            version: 1,
            started: Timestamp(std::time::UNIX_EPOCH),
            seconds,
            killed_seconds,
        }
    }

    fn of(watch: WatchStatus) -> Vec<String> {
        problems(&daemon(), &[watch], STUCK_AFTER)
    }

    #[test]
    fn a_store_that_is_not_connected_is_a_problem() {
        let store = |connected, detail: Option<&str>| StoreStatus {
            name: "default".into(),
            url: "zk://localhost:2181".into(),
            connected,
            since: None,
            detail: detail.map(Into::into),
            nodes: 1,
        };
        let found = |store| problems(&DaemonStatus { stores: vec![store], ..daemon() }, &[], STUCK_AFTER);
        assert_eq!(found(store(Some(true), None)), [""; 0]);
        assert_eq!(found(store(Some(false), Some("refused"))), ["store default: not connected: refused"]);
        assert_eq!(found(store(None, None)), ["store default: not connected: not tried yet"]);
    }

    #[test]
    fn what_is_held_is_a_problem_whatever_else_it_does() {
        let held = WatchStatus { held: Some("version 7 has 0 bytes (not_empty)".into()), ..watch() };
        let problem = "git.twc:deploy: held: version 7 has 0 bytes (not_empty); `twitcher trigger --force \
                       git.twc:deploy` runs it";
        assert_eq!(of(held.clone()), [problem]);
        let failing = WatchStatus { failures: 1, error: Some("failed: exit code 1".into()), ..held.clone() };
        assert_eq!(of(failing), ["git.twc:deploy: failing, 1 in a row: exit code 1", problem]);
        assert_eq!(of(WatchStatus { registered: false, ..held }), [""; 0]);
    }

    #[test]
    fn what_does_not_die_or_keeps_an_update_waiting_is_stuck() {
        let long = vec![run(61.0, None)];
        assert_eq!(of(watch()), [""; 0]);
        assert_eq!(of(WatchStatus { runs: long.clone(), ..watch() }), [""; 0], "nothing waits for it");
        let waits = WatchStatus { runs: long, waiting: 1, ..watch() };
        let late = ["git.twc:deploy: stuck: an update waits for pid 42, which runs for 61 s"];
        assert_eq!(of(waits.clone()), late);
        assert_eq!(of(WatchStatus { runs: vec![run(59.0, None)], ..waits.clone() }), [""; 0]);
        assert_eq!(of(WatchStatus { paused: true, ..waits.clone() }), [""; 0]);
        assert_eq!(of(WatchStatus { notified: true, ..waits.clone() }), [""; 0], "it was told");
        let undead = |ago| WatchStatus { runs: vec![run(9.0, Some(ago))], paused: true, ..watch() };
        assert_eq!(of(undead(4.0)), [""; 0]);
        let stuck = ["git.twc:deploy: stuck: pid 42 does not end after SIGKILL"];
        assert_eq!(of(undead(6.0)), stuck);
        // Of a watch that is gone nothing else matters any more.
        let gone = |watch| WatchStatus { registered: false, failures: 3, stopped: true, ..watch };
        assert_eq!(of(gone(undead(6.0))), stuck);
        assert_eq!(of(gone(watch())), [""; 0]);
    }
}
