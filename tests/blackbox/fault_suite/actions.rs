//! Actions that always fail, and nodes that change a thousand times a second.

use std::collections::HashSet;
use std::ops::Range;

use nix::sys::signal::Signal;

use crate::harness::{Daemon, Gate, Journal, Nodes, Sandbox, exec, kazoo, load, wait_for, wait_until, watch};

const DELAY: f64 = 0.05;
const MAX_DELAY: f64 = 0.2;

/// Both ends of a pause are read from a clock that ticks every 10 ms.
const TICK: f64 = 0.02;

/// More than a busy machine takes to start a shell. Without the cap the last pause would take minutes.
const SLACK: f64 = 30.0;

// "try a failed update again so many times; the delay doubles up to its maximum, jittered by half; a newer
// update supersedes"
#[test]
fn an_action_that_always_fails_is_tried_at_capped_pauses_and_never_again_after_a_newer_update() {
    let attempts = load(14, 100);
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    // The time is in seconds since boot, from a clock that nobody sets.
    let action = format!("v=$(cat); read -r up _ < /proc/uptime; {}; exit 1", journal.note("$v $up"));
    let retry = format!("retry: #{{ attempts: {attempts}, delay: {DELAY}, max_delay: {MAX_DELAY} }}");
    sandbox.nodes.set("/n", "old");
    sandbox.config("app.twc", watch("/n", &exec(&action), &format!("{retry}, description: \"failing\"")));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["failing", "trying again", &format!("({} of {attempts})", attempts / 2)]);
    sandbox.nodes.set("/n", "new");
    for number in 1..=attempts + 1 {
        wait_until(&format!("try {number} of the new content"), || tries(&journal, "new").len() >= number);
    }
    daemon.wait_for_log(&["failing", &format!("failed {} times in a row", attempts + 1)]);
    let (old, new) = (tries(&journal, "old"), tries(&journal, "new"));
    assert_eq!(new.len(), attempts + 1, "{:?}", journal.lines());
    assert!(old.last() < new.first(), "superseded for good: {:?}", journal.lines());
    assert_paused(&old);
    assert_paused(&new);
    assert_said(&daemon, attempts);
}

/// The times at which the action was tried with this content.
fn tries(journal: &Journal, content: &str) -> Vec<f64> {
    let of_this = |line: &str| line.strip_prefix(content)?.trim().parse().ok();
    journal.lines().iter().filter_map(|line| of_this(line)).collect()
}

/// Panics unless the pauses between the tries double up to the cap, jittered by half.
#[track_caller]
fn assert_paused(tries: &[f64]) {
    let mut pause = DELAY;
    for (number, pair) in tries.windows(2).enumerate() {
        let gap = pair[1] - pair[0];
        assert!(gap >= pause / 2.0 - TICK, "pause {number} of {tries:?} is too short");
        assert!(gap <= MAX_DELAY + SLACK, "pause {number} of {tries:?} is too long");
        pause = MAX_DELAY.min(pause * 2.0);
    }
}

/// Panics unless the log announces each retry of the last content, with its number and a pause within the
/// cap.
#[track_caller]
fn assert_said(daemon: &Daemon, attempts: usize) {
    let said = daemon.log_lines(&["failing", "trying again in "]);
    let last = &said[said.len() - attempts..];
    for (line, number) in last.iter().zip(1..) {
        assert!(line.ends_with(&format!("({number} of {attempts})")), "{last:#?}");
    }
    for line in &said {
        let mut pause = line.split("trying again in ").nth(1).expect("a pause").split([' ', ',']);
        let number: f64 = pause.next().and_then(|pause| pause.parse().ok()).expect("a number");
        let seconds = match pause.next() {
            Some("ms") => number / 1000.0,
            Some("s") => number,
            other => panic!("{other:?} is no unit: {line}"),
        };
        assert!(seconds <= MAX_DELAY, "{line}");
    }
}

const NODES: usize = 20;
const MAX_PARALLEL: usize = 3;

/// The number of changes in a second, a multiple of [`NODES`].
const FIRES: usize = 1000;

// "PARALLEL: one run for every observed update, at most `max_parallel` (64) at once; the rest wait in order,
// up to 1,024; beyond that the newest replaces the last waiting one, and is counted."
#[test]
fn a_thousand_fires_a_second_in_parallel_are_all_run_or_counted_and_keep_within_the_cap() {
    // The number of seconds: first while no run can end, then while runs end. In the full suite more updates
    // than may wait come in the former.
    let (closed, open) = load((1, 1), (25, 5));
    let sandbox = Sandbox::zookeeper();
    let gate = sandbox.gate();
    let journals: Vec<_> = (0..NODES).map(|n| sandbox.journal_named(&format!("journal-{n}"))).collect();
    (0..NODES).for_each(|n| sandbox.nodes.set(&format!("/n{n}"), "old"));
    let watches = journals.iter().enumerate().map(|(n, journal)| counting(n, journal, &gate));
    sandbox.config("app.twc", watches.collect::<String>());
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["configs loaded"]);
    let mut fired = 0;
    let mut fire = |fires| {
        fire(&sandbox, fired..fired + fires);
        fired += fires;
    };
    fire(closed * FIRES);
    // On a busy machine the daemon may have observed only the first and the last change.
    wait_until("as many runs as there may be", || {
        let full = |journal: &Journal| journal.lines().len() >= MAX_PARALLEL;
        journals.iter().all(full) || {
            fire(NODES);
            false
        }
    });
    gate.open();
    fire(open * FIRES);
    for (n, journal) in journals.iter().enumerate() {
        wait_for_rest(journal, fired - NODES + n);
    }
    // After the daemon's last line the log is complete.
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log(&[" stopped"]);
    assert!(
        daemon.log_lines(&["log lines dropped"]).is_empty(),
        "the log must be complete to be counted here"
    );
    for (n, journal) in journals.iter().enumerate() {
        assert_run_or_counted(&daemon, &format!("n{n}"), &journal.lines());
    }
}

/// A watch whose action journals `+ CONTENT`, waits at the gate, and journals `- CONTENT`.
fn counting(n: usize, journal: &Journal, gate: &Gate) -> String {
    let (start, end) = (journal.note("+ $v"), journal.note("- $v"));
    // Sixty actions that look at the gate all the time would make up most of the load.
    let pass = gate.pass().replace("sleep 0.05", "sleep 0.5");
    let action = exec(&format!("read -r v; {start}; {pass}; {end}"));
    let keys = format!("run_mode: PARALLEL, max_parallel: {MAX_PARALLEL}, description: \"n{n}\"");
    watch(&format!("/n{n}"), &action, &keys)
}

/// Sets the nodes to these values, one node after the other, a thousand values a second.
fn fire(sandbox: &Sandbox, values: Range<usize>) {
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let Range { start, end } = values;
    let script = format!(
        "import time\n\
         begun = time.monotonic()\n\
         fires = []\n\
         for value in range({start}, {end}):\n    \
             fires.append(zk.set_async('{root}/n%d' % (value % {NODES}), b'%d' % value))\n    \
             time.sleep(max(0, begun + (value - {start}) / {FIRES} - time.monotonic()))\n\
         for fire in fires:\n    fire.get(timeout=60)"
    );
    kazoo(address, &script);
}

/// The number of updates of a watch that were replaced while they waited, as the log counts them.
fn superseded(daemon: &Daemon, watch: &str) -> usize {
    let said = daemon.log_lines(&[&format!(":{watch}: too many updates wait")]);
    let Some(last) = said.last() else { return 0 };
    let count = last.rsplit_once('(').and_then(|(_, rest)| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count: {last}"))
}

/// Waits until the action has run with `last` and no run is left. The deadline starts anew at each run.
#[track_caller]
fn wait_for_rest(journal: &Journal, last: usize) {
    let at_rest =
        |lines: &[String]| lines.contains(&format!("- {last}")) && lines.len() == 2 * starts(lines).count();
    let mut before = 0;
    while !at_rest(&journal.lines()) {
        before = wait_for(&format!("the run with {last}, or any other"), || {
            let lines = journal.lines();
            (lines.len() > before || at_rest(&lines)).then_some(lines.len())
        });
    }
}

/// The contents with which the action of [`counting`] was started.
fn starts(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| line.strip_prefix("+ "))
}

/// Panics unless every observed update of the node was run once or counted, with at most [`MAX_PARALLEL`]
/// runs at once.
#[track_caller]
fn assert_run_or_counted(daemon: &Daemon, name: &str, lines: &[String]) {
    let running = lines.iter().scan(0, |running, line| {
        *running = if line.starts_with('+') { *running + 1 } else { *running - 1 };
        Some(*running)
    });
    assert_eq!(running.max(), Some(MAX_PARALLEL), "runs at once: the gate held as many as are allowed");
    let runs = starts(lines).count();
    assert_eq!(starts(lines).collect::<HashSet<_>>().len(), runs, "each content ran at most once");
    assert!(
        run_or_counted(daemon, name, lines),
        "not every update of {name} is among its {runs} runs or counted"
    );
}

/// Whether every observed update of the node of this name was run or counted by the watch of the same name.
pub(super) fn run_or_counted(daemon: &Daemon, name: &str, lines: &[String]) -> bool {
    let observed = daemon.log_lines(&[&format!(" /{name}: observed")]).len();
    // Each new session observes each node again, changed or not. On a busy machine a session may be lost.
    let again = daemon.log_lines(&["store: connected"]).len() - 1;
    let accounted = starts(lines).count() + superseded(daemon, name);
    (accounted..=accounted + again).contains(&observed)
}
