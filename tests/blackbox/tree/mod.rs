//! `WATCH_TREE`: "a node and everything below it".

mod keys;
mod outages;
mod payload;
mod unreadable;
mod updates;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::{Daemon, Journal, Sandbox, exec, wait_until, watch};

/// The journal of a tree watch's runs and their payloads.
struct Trace(Journal);

impl Trace {
    fn new(sandbox: &Sandbox) -> Self {
        Self(sandbox.journal())
    }

    /// The shell command that notes a run's event and payload in one line.
    fn note(&self) -> String {
        self.0.note("$TWITCHER_EVENT $(tr '\\n' ' ')")
    }

    fn runs(&self) -> Vec<Run> {
        let text = fs::read_to_string(self.0.path()).expect("read the journal");
        // A shell writes long lines in pieces, so that the last one may be incomplete.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(Run::parse).collect()
    }

    /// Waits until the runs are exactly these, written as [`Run::text`] does.
    #[track_caller]
    fn wait_for(&self, expected: &[&str]) {
        wait_until(&format!("the runs {expected:?} in {}", self.0.path()), || {
            let runs: Vec<_> = self.runs().iter().map(Run::text).collect();
            assert_eq!(runs, expected.get(..runs.len()).unwrap_or(expected), "must come to {expected:?}");
            runs.len() == expected.len()
        });
    }

    /// Waits until a copy of the tree that is kept by the changes of all runs has these nodes and texts.
    #[track_caller]
    fn wait_for_mirror(&self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(node, text)| ((*node).into(), (*text).into())).collect();
        wait_until(&format!("the runs in {} to add up to {expected:?}", self.0.path()), || {
            mirror(&self.runs()) == expected
        });
    }
}

struct Run {
    event: String,
    changes: Vec<Value>,
}

impl Run {
    fn parse(line: &str) -> Self {
        let (event, changes) = line.split_once(' ').expect("the event and what changed");
        let changes = serde_json::Deserializer::from_str(changes).into_iter();
        Self { event: event.to_owned(), changes: changes.map(|change| change.expect("JSON")).collect() }
    }

    /// Returns the run as `changed: created /t/a=text, deleted /t/b`.
    fn text(&self) -> String {
        let changes = self.changes.iter().map(|change| {
            let text = change["text"].as_str().map_or(String::new(), |text| format!("={text}"));
            format!("{} {}{text}", string(change, "event"), string(change, "znode"))
        });
        format!("{}: {}", self.event, changes.collect::<Vec<_>>().join(", "))
    }
}

fn string<'a>(change: &'a Value, key: &str) -> &'a str {
    change[key].as_str().unwrap_or_else(|| panic!("{key} in {change}"))
}

/// The nodes and texts of a copy of the tree that is kept by the changes of all runs.
fn mirror(runs: &[Run]) -> BTreeMap<String, String> {
    let mut nodes = BTreeMap::new();
    for change in runs.iter().flat_map(|run| &run.changes) {
        let node = string(change, "znode").to_owned();
        match string(change, "event") {
            "deleted" => drop(nodes.remove(&node)),
            _ => drop(nodes.insert(node, string(change, "text").to_owned())),
        }
    }
    nodes
}

/// A watch on the tree at `/t`.
fn tree(action: &str, more: &str) -> String {
    watch("/t", action, &format!("watch_type: WATCH_TREE, {more}"))
}

/// Starts a daemon that notes what changes in `/t`, where `/t/a` contains `1`.
#[track_caller]
fn started(sandbox: &Sandbox) -> (Daemon, Trace) {
    let trace = Trace::new(sandbox);
    sandbox.nodes.make("/t");
    sandbox.nodes.set("/t/a", "1");
    sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
    let daemon = sandbox.daemon().arg("--debug").start();
    trace.wait_for(&["load: load /t=, load /t/a=1"]);
    (daemon, trace)
}

/// The number of times that the daemon has observed the tree.
fn observations(daemon: &Daemon) -> usize {
    daemon.log_lines(&["/t (tree): observed"]).len()
}

/// Does something to the tree and waits until the daemon has seen it.
#[track_caller]
fn observe(daemon: &Daemon, act: impl FnOnce()) {
    let so_far = observations(daemon);
    act();
    wait_until("the tree to be observed", || observations(daemon) > so_far);
}
