use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Gauges, MAX_FAILING, Metrics, WatchCounts};
use crate::action::output::{Printed, Stream};
use crate::action::run::ExitStatus;
use crate::action::spawn::StartError;
use crate::ledger::{LedgerEvent, RunOutcome};
use crate::model::{Facet, LogFormat, NodePath, Policy, StoreName, Subject, WatchKey};
use crate::report::log::Target;
use crate::report::stream::LogStream;
use crate::report::{
    Count, Level, Log, NodeRef, PreviousRun, ReloadCause, Report, Reporter, RunName, RunReport,
};
use crate::service;
use crate::watch::{Condition, Event, Reason, RunId, Snapshot, Watch};

fn key(file: &str, description: &str) -> WatchKey {
    WatchKey { file: file.into(), description: description.into() }
}

fn subject() -> Subject {
    Subject { path: NodePath::parse("/a").unwrap(), facet: Facet::Data }
}

fn name<'a>(watch: &'a WatchKey, subject: &'a Subject) -> RunName<'a> {
    RunName { watch, subject, number: RunId(1), id: "1-1", store: "default", pid: None, cause: None }
}

/// A watch whose last `failures` runs failed.
fn watch(failures: u32, stopped: bool) -> Watch {
    Watch::new(Policy::UNLOADED.into(), Snapshot { failures, stopped, ..Snapshot::default() })
}

/// The lines of `text` that begin with `start`.
fn values<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

/// The lines that change when `reports` are counted, without those of the process and the buckets and sums of
/// histograms.
fn counted(reports: &[Report<'_>]) -> Vec<String> {
    let metrics = Metrics::new().unwrap();
    let values = |text: String| -> BTreeSet<String> {
        let is_detail = |line: &&str| line.contains("_bucket{") || line.contains("_seconds_sum");
        text.lines()
            .filter(|line| line.starts_with("twitcher") && !is_detail(line))
            .map(str::to_owned)
            .collect()
    };
    let before = values(metrics.encode(&Gauges::default()));
    reports.iter().for_each(|report| metrics.count(report));
    let after = values(metrics.encode(&Gauges::default()));
    after.difference(&before).cloned().collect()
}

fn run(what: RunReport<'_>) -> Vec<String> {
    counted(&[Report::Run { run: name(&key("a.twc", "a"), &subject()), what }])
}

fn ended(outcome: &ExitStatus, ended_by: Option<Reason>, took: Duration) -> RunReport<'_> {
    RunReport::Ended { outcome, ended_by, took, is_ordered: false, runs_again: false }
}

#[test]
fn the_end_of_a_run_is_counted_by_its_outcome() {
    let exited = |code| ExitStatus::Exited(code);
    for (outcome, ended_by, expected) in [
        (exited(0), None, "success"),
        (exited(1), None, "exit"),
        (ExitStatus::Signaled(9), None, "signal"),
        (exited(0), Some(Reason::Timeout), "timeout"),
        (ExitStatus::Signaled(15), Some(Reason::Timeout), "timeout"),
        (exited(0), Some(Reason::Stop), "interrupted"),
        (ExitStatus::Signaled(15), Some(Reason::Stop), "interrupted"),
        (ExitStatus::Unknown, None, "unknown"),
        (ExitStatus::Unknown, Some(Reason::Timeout), "unknown"),
    ] {
        let ended = run(ended(&outcome, ended_by, Duration::from_secs(2)));
        let runs = format!("twitcher_runs_total{{outcome=\"{expected}\"}} 1");
        assert_eq!(ended, ["twitcher_run_duration_seconds_count 1".to_owned(), runs]);
    }
    let error = io::Error::other("no such child");
    let lost = ["twitcher_runs_total{outcome=\"unknown\"} 1"];
    assert_eq!(run(RunReport::Lost { error: &error }), lost);
    let not_started = ["twitcher_runs_total{outcome=\"not_started\"} 1"];
    let error = StartError::Start(error);
    assert_eq!(run(RunReport::NotStarted { command: "x", error: &error }), not_started);
    let previous = |what| counted(&[Report::PreviousRun { watch: &key("a.twc", "a"), what }]);
    assert_eq!(previous(PreviousRun::Ended("1-1")), lost);
    assert!(previous(PreviousRun::Unwatchable("1-1", error.cause())).is_empty());
    assert!(previous(PreviousRun::StillRunning { run: RunId(1), id: "1-1", pid: 1 }).is_empty());
}

#[test]
fn each_report_is_counted_once_or_not_at_all() {
    let key = key("a.twc", "a");
    let subject = subject();
    let store = StoreName::default();
    let node = NodeRef { store: &store, subject: &subject };
    let after = Duration::from_secs(1);
    let latency = Duration::from_millis(2);
    let started = RunReport::Started { event: Event::Load, node, version: 1, pid: 1, latency };
    assert_eq!(run(started), ["twitcher_start_latency_seconds_count 1"]);
    let retry = RunReport::Retry { failures: 1, attempts: 2, after };
    assert_eq!(run(retry), ["twitcher_retries_total 1"]);
    assert_eq!(run(RunReport::Postponed { after }), ["twitcher_starts_put_off_total 1"]);
    for what in [
        RunReport::Printed(&Printed::Line(Stream::Stdout, "x".into())),
        RunReport::Notified { signal: 1 },
        RunReport::Terminated { reason: Reason::Timeout },
        RunReport::Killed,
    ] {
        assert!(run(what).is_empty());
    }
    for (report, expected) in [
        (
            Report::Discarded { watch: &key, version: 1, facet: Facet::Data },
            Some("twitcher_updates_discarded_total 1"),
        ),
        (
            Report::Superseded { watch: &key, total: 7, warn: true },
            Some("twitcher_updates_superseded_total 1"),
        ),
        (
            Report::StoreDisconnected { store: None, reason: "x" },
            Some("twitcher_store_disconnects_total{store=\"default\"} 1"),
        ),
        (Report::NodeChangeMissed { node, total: 7 }, Some("twitcher_resync_findings_total 1")),
        (
            Report::ConfigLoaded { file: "a.twc", added: 1, changed: 2, removed: 3 },
            Some("twitcher_config_loads_total{result=\"loaded\"} 1"),
        ),
        (
            Report::ConfigFailed { file: "a.twc", error: "a.twc: x", keeps_watches: true, is_partial: false },
            Some("twitcher_config_loads_total{result=\"failed\"} 1"),
        ),
        (Report::StoreConnected { store: None, what: "x", downtime: None }, None),
        (Report::ConfigReload { cause: ReloadCause::Signal("SIGHUP") }, None),
        (Report::ConfigWarning { file: None, warning: "x" }, None),
        (Report::NodeObserved { node }, None),
        (Report::NodeUnreadable { node, watches: &[&key], reason: "x" }, None),
        (Report::GaveUp { watch: &key, failures: 1, stopped: true }, None),
        (Report::Ledger { event: &LedgerEvent::Back }, None),
    ] {
        assert_eq!(counted(&[report]), Vec::from_iter(expected));
    }
}

#[test]
fn durations_are_in_seconds() {
    let metrics = Metrics::new().unwrap();
    let took = Duration::from_millis(2500);
    let what = ended(&ExitStatus::Exited(0), None, took);
    metrics.count(&Report::Run { run: name(&key("a.twc", "a"), &subject()), what });
    let text = metrics.encode(&Gauges::default());
    assert_eq!(values(&text, "twitcher_run_duration_seconds_sum"), ["twitcher_run_duration_seconds_sum 2.5"]);
    let bucket = |le| format!("twitcher_run_duration_seconds_bucket{{le=\"{le}\"}}");
    assert!(text.contains(&format!("{} 0\n", bucket("1"))));
    assert!(text.contains(&format!("{} 1\n", bucket("2.5"))));
    for limit in ["0.005", "3600"] {
        assert_eq!(values(&text, &bucket(limit)).len(), 1, "{limit}");
    }
}

#[test]
fn every_value_of_a_label_is_there_from_the_start() {
    let text = Metrics::new().unwrap().encode(&Gauges::default());
    for outcome in RunOutcome::NAMES {
        let line = format!("twitcher_runs_total{{outcome=\"{outcome}\"}} 0");
        assert_eq!(values(&text, &line), [&line]);
    }
    for condition in Condition::ALL {
        let line = format!("twitcher_watches{{state=\"{}\"}} 0", condition.as_str());
        assert_eq!(values(&text, &line), [&line]);
        assert_eq!(Condition::ALL[condition as usize], condition);
    }
    assert_eq!(values(&text, "twitcher_config_loads_total{").len(), 2);
    assert_eq!(values(&text, "twitcher_store_disconnects_total{store=\"default\"} 0").len(), 1);
    assert_eq!(values(&text, "twitcher_build_info{version=\"").len(), 1);
}

#[test]
fn gauges_show_the_daemon_as_it_is() {
    let (fine, bad, stopped) = (watch(0, false), watch(2, false), watch(0, true));
    let keys = [key("a.twc", "a"), key("a.twc", "a.twc-2"), key("b.twc", "b"), key("b.twc", "c")];
    let all = [(&fine, false), (&bad, false), (&stopped, false), (&fine, true)];
    let gauges = Gauges {
        services: [(service::Condition::Announced, 2), (service::Condition::Failing, 1)].into(),
        watches: WatchCounts::of(
            keys.iter().zip(all).map(|(key, (watch, unreadable))| (key, watch, unreadable)),
        ),
        running_actions: 3,
        max_actions: Some(4),
        waiting_for_place: 5,
        waiting_bytes: 6,
        stores: vec![("default".into(), true), ("other".into(), false)],
        store_restarts: vec![("default".into(), 2)],
        keeper_restarts: vec![("default".into(), 3)],
        nodes_unreadable: 1,
        config_errors: 4,
        ledger_usable: true,
        ledger_bytes: 8192,
        cache_bytes: 4096,
        degraded: vec!["metrics".to_owned()],
        ledger_outputs_dropped: 3,
        log_lines_dropped: 5,
    };
    let text = Metrics::new().unwrap().encode(&gauges);
    let expected = [
        "twitcher_cache_size_bytes 4096",
        "twitcher_config_errors 4",
        "twitcher_degraded{part=\"metrics\"} 1",
        "twitcher_ledger_outputs_dropped_total 3",
        "twitcher_ledger_size_bytes 8192",
        "twitcher_ledger_usable 1",
        "twitcher_log_lines_dropped_total 5",
        "twitcher_keeper_restarts_total{store=\"default\"} 3",
        "twitcher_nodes_unreadable 1",
        "twitcher_running_actions 3",
        "twitcher_max_actions 4",
        "twitcher_watches_waiting_for_place 5",
        "twitcher_services{state=\"announced\"} 2",
        "twitcher_services{state=\"failing\"} 1",
        "twitcher_services{state=\"conflict\"} 0",
        "twitcher_store_connected{store=\"default\"} 1",
        "twitcher_store_connected{store=\"other\"} 0",
        "twitcher_waiting_bytes 6",
        "twitcher_waiting_updates 0",
        "twitcher_watch_failures{watch=\"a.twc-2\"} 2",
        "twitcher_watch_failures{watch=\"b.twc:b\"} 0",
        "twitcher_watches_failing 2",
        "twitcher_watches{state=\"failed\"} 1",
        "twitcher_watches{state=\"stopped\"} 1",
        "twitcher_watches{state=\"unknown\"} 1",
        "twitcher_watches{state=\"unreadable\"} 1",
    ];
    for line in expected {
        assert_eq!(text.lines().filter(|other| *other == line).count(), 1, "{line}\n{text}");
    }
}

#[test]
fn of_many_failing_watches_the_worst_are_named_and_all_are_counted() {
    let watches: Vec<_> =
        (0..250).map(|number| (key("a.twc", &format!("w{number}")), watch(number, false))).collect();
    let counts = WatchCounts::of(watches.iter().map(|(key, watch)| (key, watch, false)));
    let text = Metrics::new().unwrap().encode(&Gauges { watches: counts, ..Gauges::default() });
    let named = values(&text, "twitcher_watch_failures{");
    assert_eq!(named.len(), MAX_FAILING);
    for number in 150..250 {
        assert!(named.contains(&&*format!("twitcher_watch_failures{{watch=\"a.twc:w{number}\"}} {number}")));
    }
    assert_eq!(values(&text, "twitcher_watches_failing"), ["twitcher_watches_failing 249"]);
}

#[test]
fn a_watch_s_name_cannot_forge_a_metric() {
    let (failing, evil) = (watch(1, false), key("a.twc", "\"} 1\ntwitcher_ledger_usable 9 \\"));
    let counts = WatchCounts::of([(&evil, &failing, false)].into_iter());
    let text = Metrics::new().unwrap().encode(&Gauges { watches: counts, ..Gauges::default() });
    let line = r#"twitcher_watch_failures{watch="a.twc:\"} 1\\ntwitcher_ledger_usable 9 \\"} 1"#;
    assert_eq!(values(&text, "twitcher_watch_failures{"), [line]);
    assert_eq!(values(&text, "twitcher_ledger_usable"), ["twitcher_ledger_usable 0"]);
}

#[test]
fn the_process_is_measured() {
    let text = Metrics::new().unwrap().encode(&Gauges::default());
    let value = |name: &str| -> f64 {
        let [line] = values(&text, &format!("{name} "))[..] else { panic!("{name} in {text}") };
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value("process_start_time_seconds");
    assert!((0.0..3600.0).contains(&age), "{age}");
    assert!(value("process_cpu_seconds_total") < 3600.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert!(value("process_open_fds") <= value("process_max_fds"));
    assert!(value("process_threads") >= 1.0);
}

#[test]
fn metrics_are_counted_and_read_by_several_threads() {
    let metrics = Metrics::new().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    metrics.count(&Report::ConfigFailed {
                        file: "a.twc",
                        error: "x",
                        keeps_watches: true,
                        is_partial: false,
                    });
                }
                metrics.encode(&Gauges::default())
            });
        }
    });
    let text = metrics.encode(&Gauges::default());
    assert!(text.contains("twitcher_config_loads_total{result=\"failed\"} 4000\n"));
}

#[test]
fn a_report_that_is_not_logged_is_counted_all_the_same() {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    let target = Target::Stream(LogStream::of("a file", path.as_file_mut().try_clone().unwrap()));
    let (log, writer) = Log::start(target, Level::Error, LogFormat::Text).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let reporter = Reporter::new(log, metrics.clone());
    reporter.report(&Report::StoreDisconnected { store: None, reason: "gone" });
    reporter.report(&Report::ConfigFailed {
        file: "a.twc",
        error: "a.twc: wrong",
        keeps_watches: true,
        is_partial: false,
    });
    drop(reporter);
    writer.finish();
    let text = metrics.encode(&Gauges::default());
    assert!(text.contains("twitcher_store_disconnects_total{store=\"default\"} 1\n"), "{text}");
    assert!(text.contains("twitcher_config_loads_total{result=\"failed\"} 1\n"), "{text}");
    let logged = std::fs::read_to_string(path.path()).unwrap();
    assert!(logged.contains("a.twc: wrong") && !logged.contains("gone"), "{logged}");
}
