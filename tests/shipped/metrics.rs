//! The metrics, and what depends on their names: the alerts, the dashboard and the document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use twitcher::ledger::RunOutcome;
use twitcher::metrics::{Gauges, Metrics, WatchCounts};
use twitcher::model::{Policy, WatchKey};
use twitcher::watch::{Condition, Snapshot, Watch};

use super::{command, here};

const RULES: &str = "packaging/prometheus/twitcher.rules.yml";
const DASHBOARD: &str = "packaging/grafana/twitcher.json";

/// The metrics in the text format, with a value of each.
fn encoding() -> String {
    let failing = Watch::new(Policy::UNLOADED.into(), Snapshot { failures: 1, ..Snapshot::default() });
    let key = WatchKey { file: "git.twc".into(), description: "a \"quoted\" \\ name, ü".into() };
    let gauges = Gauges {
        watches: WatchCounts::of([(&key, &failing, false)].into_iter()),
        stores: vec![("default".into(), true)],
        store_restarts: vec![("default".into(), 1)],
        keeper_restarts: vec![("default".into(), 1)],
        degraded: vec!["log".into()],
        ..Gauges::default()
    };
    Metrics::new().expect("metrics").encode(&gauges)
}

/// The type of each metric by its name.
fn types(encoding: &str) -> BTreeMap<&str, &str> {
    encoding.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// The one that `tests/run` has unpacked, or the machine's own.
fn promtool() -> Command {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("promtool/usr/bin/promtool");
    command(if unpacked.exists() { unpacked.as_os_str() } else { "promtool".as_ref() })
}

/// Panics unless promtool accepts this.
fn expect_accepted(mut command: Command, stdin: &str) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("this test needs promtool: run tests/run");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{stdin}", String::from_utf8_lossy(&said));
}

fn check_rules(path: &Path) {
    let mut command = promtool();
    command.args(["check", "rules", "--lint-fatal"]).arg(path);
    expect_accepted(command, "");
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(here(DASHBOARD)).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

#[test]
fn promtool_accepts_the_metrics() {
    let mut command = promtool();
    command.args(["check", "metrics"]);
    expect_accepted(command, &encoding());
}

#[test]
fn promtool_accepts_the_alerts() {
    check_rules(&here(RULES));
}

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    let mut command = promtool();
    command.args(["test", "rules"]).arg(here("packaging/prometheus/twitcher.rules.test.yml"));
    expect_accepted(command, "");
}

#[test]
fn each_alert_has_its_severity_its_instance_and_a_remedy() {
    let rules = fs::read_to_string(here(RULES)).unwrap();
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), 10);
    for alert in alerts {
        for part in
            [" for: ", " severity: ", " summary: ", " description: ", "$labels.instance", "`twitcher "]
        {
            assert!(alert.contains(part), "{part} is not in {alert}");
        }
    }
}

#[test]
fn the_alerts_and_the_dashboard_name_metrics_that_exist() {
    let encoding = encoding();
    let types = types(&encoding);
    for file in [RULES, "packaging/prometheus/twitcher.rules.test.yml", DASHBOARD] {
        let text = fs::read_to_string(here(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: BTreeSet<_> =
            words.filter(|word| word.starts_with("twitcher_") || word.starts_with("process_")).collect();
        assert!(names.len() >= 5, "{file}: {names:?}");
        for name in names {
            let histogram = name.strip_suffix("_bucket").and_then(|name| types.get(name));
            assert!(types.contains_key(name) || histogram == Some(&"histogram"), "{file}: no metric {name}");
        }
    }
}

#[test]
fn the_document_lists_all_metrics_with_their_labels() {
    let document = fs::read_to_string(here("docs/operations.md")).unwrap();
    let (_, section) = document.split_once("\n## Metrics\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    let listed: BTreeMap<_, _> = rows.iter().map(|row| (row[1].trim_matches('`'), row[2])).collect();
    let encoding = encoding();
    assert_eq!(listed, types(&encoding));
    for row in &rows {
        let values = encoding
            .lines()
            .filter_map(|line| line.strip_prefix(row[1].trim_matches('`'))?.strip_prefix('{'));
        let labels: BTreeSet<_> = values.filter_map(|labels| Some(labels.split_once('=')?.0)).collect();
        let listed: BTreeSet<_> = row[3].split('`').skip(1).step_by(2).collect();
        assert_eq!(listed, labels, "{}", row[1]);
        assert_ne!(row[4], "", "{}: says nothing", row[1]);
    }
    for state in Condition::ALL.map(Condition::as_str) {
        assert!(section.contains(&format!("`{state}`")), "{state}");
    }
    let outcomes = RunOutcome::NAMES.join(", ");
    assert!(section.contains(&format!("`outcome`: {outcomes} |")), "{outcomes}");
}

#[test]
fn the_panels_of_the_dashboard_do_not_overlap() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for panel in panels(&dashboard) {
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "{}: another panel has its id",
            panel["title"]
        );
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect(key));
        assert!(w > 0 && h > 0 && x + w <= 24, "{}: outside of the grid", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(cell, &panel["title"]);
            assert!(other.is_none(), "{} covers {}", panel["title"], other.unwrap());
        }
    }
}

#[test]
fn every_query_of_the_dashboard_parses_and_uses_the_chosen_job_and_instance() {
    let dashboard = dashboard();
    let mut rules = Vec::new();
    for panel in panels(&dashboard) {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}: shows nothing", panel["title"]);
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            for chosen in ["job=~\"$job\"", "instance=~\"$instance\""] {
                assert!(expr.contains(chosen), "{}: {expr}", panel["title"]);
            }
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            // Grafana replaces these variables.
            let expr = expr.replace("$__rate_interval", "5m").replace("$__range", "1h");
            rules.push(json!({ "record": format!("query:{}", rules.len()), "expr": expr }));
        }
    }
    // This version of promtool parses queries only as parts of rules. JSON is valid YAML.
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("queries.yml");
    let group = json!({ "groups": [{ "name": "queries", "rules": rules }] });
    fs::write(&file, group.to_string()).unwrap();
    check_rules(&file);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
}
