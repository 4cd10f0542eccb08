//! The processes of the stores are killed with SIGKILL at random moments, during updates of nodes of all
//! kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::oracle::alone;
use crate::harness::{
    Daemon, Journal, Process, Sandbox, exec, load, on_every_store, wait_for, wait_until, watch,
};

/// How many updates there are between two kills.
const UPDATES: u32 = 5;

/// The nodes that are set to rising numbers. The last two are parts of a tree that is watched whole.
const NUMBERED: [&str; 5] = ["/data", "/other", "/function", "/tree/a", "/tree/b"];

// "Nothing is lost", "never two at once", "nothing runs for nothing", "the death of its process is an outage"
on_every_store!(the_processes_of_a_store_that_die_again_and_again_lose_and_double_nothing);
fn the_processes_of_a_store_that_die_again_and_again_lose_and_double_nothing(sandbox: &Sandbox) {
    let kills = load(12_u64, 200);
    let began = Instant::now();
    let journal = sandbox.journal();
    let mut truth = Truth::new(sandbox);
    sandbox.config("app.twc", watches(sandbox, &journal));
    let daemon = sandbox.start();
    wait_until("the first runs", || truth.is_shown_by(&journal));

    let mut last = None;
    for _ in 0..kills {
        let while_away = fastrand::u32(0..=UPDATES);
        (0..while_away).for_each(|_| truth.update());
        let half = next_half(&daemon, last);
        // The test needs a random moment of its life, and so no condition: it starts, connects, reads.
        thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
        thread::scope(|scope| {
            scope.spawn(|| (while_away..UPDATES).for_each(|_| truth.update()));
            thread::sleep(Duration::from_micros(fastrand::u64(0..15_000)));
            half.signal(Signal::SIGKILL);
        });
        last = Some(half);
    }

    wait_until("the last contents to be the last that ran", || truth.is_shown_by(&journal));
    let runs = check(&journal.lines());
    wait_until("the store to be connected", || store(sandbox)["connected"] == true);
    // A process that is killed before it says that it is there is none that was there before.
    let connections = daemon.log_lines(&["connected to"]).len() as u64;
    let restarts = store(sandbox)["restarts"].as_u64().expect("a number");
    assert!((connections - 1..=kills).contains(&restarts), "{restarts} restarts, {connections} connections");
    assert_eq!(check(&journal.lines()), runs, "no run came after the last one");
    eprintln!(
        "{}: {kills} kills, {} updates, {runs} runs in {:.0?}",
        sandbox.nodes.url(),
        truth.number,
        began.elapsed()
    );
}

/// Waits for a process that serves the store, other than the last one.
#[track_caller]
fn next_half(daemon: &Daemon, last: Option<Process>) -> Process {
    wait_for("the process of the store", || match daemon.process().halves()[..] {
        [half] if half.is_alive() && last.is_none_or(|last| last.0 != half.0) => Some(half),
        _ => None,
    })
}

fn store(sandbox: &Sandbox) -> Value {
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    let mut status: Value = serde_json::from_str(&status).expect("JSON");
    status["daemon"]["stores"][0].take()
}

/// Watches whose runs each note `NODE CONTENT`, or that another run of theirs is going on.
fn watches(sandbox: &Sandbox, journal: &Journal) -> String {
    let action = |name: &str, script: &str| {
        let mine = sandbox.path(&format!("running-{name}")).display().to_string();
        exec(&alone(&mine, &journal.note(&format!("{name} OVERLAP")), &format!("sleep 0.02; {script}")))
    };
    let data = journal.note("$TWITCHER_ZNODE $(cat)");
    let children = journal.note("/children $(tr '\\n' '+')");
    let pieces = r#"s/.*"znode":"\([^"]*\)".*"text":"\([0-9][0-9]*\)".*/\1 \2/p"#;
    let tree = format!("sed -n '{pieces}' >> {}", journal.path());
    let append = format!("printf '%s\\n' \"$1\" >> {}", journal.path());
    let function =
        format!(r#"|event| {{ run(["/bin/sh", "-c", {append:?}, "sh", "/function " + event.text]); 0 }}"#);
    [
        watch("/data", &action("data", &data), ""),
        watch("/other", &action("other", &data), "run_mode: PARALLEL, max_parallel: 1"),
        watch("/function", &function, ""),
        watch("/children", &action("children", &children), "watch_type: WATCH_CHILDREN"),
        watch("/tree", &action("tree", &tree), "watch_type: WATCH_TREE"),
    ]
    .concat()
}

/// What the nodes say.
struct Truth<'a> {
    sandbox: &'a Sandbox,
    number: u32,
    contents: BTreeMap<&'static str, String>,
}

impl<'a> Truth<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        let mut it = Self { sandbox, number: 0, contents: BTreeMap::new() };
        NUMBERED.iter().for_each(|node| it.set(node));
        sandbox.nodes.set("/children/0", "");
        it.contents.insert("/children", "0+".to_owned());
        it
    }

    fn set(&mut self, node: &'static str) {
        self.number += 1;
        self.sandbox.nodes.set(node, self.number.to_string());
        self.contents.insert(node, self.number.to_string());
    }

    fn update(&mut self) {
        if let Some(node) = NUMBERED.get(fastrand::usize(0..=NUMBERED.len())) {
            return self.set(node);
        }
        self.number += 1;
        let new = format!("{}+", self.number);
        let before = self.contents.insert("/children", new.clone()).expect("it always has a child");
        let child = |line: &str| format!("/children/{}", line.trim_end_matches('+'));
        self.sandbox.nodes.set(&child(&new), "");
        self.sandbox.nodes.remove(&child(&before));
    }

    /// Whether the last run of each node was with what it says.
    fn is_shown_by(&self, journal: &Journal) -> bool {
        let lines = journal.lines();
        let last: BTreeMap<_, _> = lines.iter().filter_map(|line| line.split_once(' ')).collect();
        self.contents.iter().all(|(node, content)| last.get(node) == Some(&content.as_str()))
    }
}

/// Panics if two runs of a watch overlapped, or if a node's content ran twice or after a later one. Returns
/// the number of runs.
fn check(lines: &[String]) -> usize {
    let mut contents = BTreeMap::<_, Vec<&str>>::new();
    for line in lines {
        let (node, content) = line.split_once(' ').expect("a node and its content");
        assert_ne!(content, "OVERLAP", "two runs at once of {node}");
        contents.entry(node).or_default().push(content);
    }
    for (node, contents) in contents {
        let number = |content: &&str| -> u32 { content.parse().expect("a number") };
        match node {
            "/children" => {
                let distinct: BTreeSet<_> = contents.iter().collect();
                assert_eq!(distinct.len(), contents.len(), "each list was there once: {contents:?}");
            }
            _ => assert!(
                contents.iter().map(number).is_sorted_by(|a, b| a < b),
                "{node} ran with {contents:?}"
            ),
        }
    }
    lines.len()
}
