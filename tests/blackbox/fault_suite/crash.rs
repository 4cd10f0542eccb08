//! The daemon is killed with SIGKILL at random moments, during updates.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::oracle::alone;
use crate::harness::{Journal, Sandbox, ZooKeeper, exec, load, wait_until, watch};

const NODES: [(&str, &str); 4] =
    [("/queue-1", "QUEUE"), ("/queue-2", "QUEUE"), ("/discard-1", "DISCARD"), ("/discard-2", "DISCARD")];

// "Nothing is lost ... and a crash of the daemon do not break this." "Never two at once in QUEUE and DISCARD,
// not even across a restart or `kill -9` of the daemon."
#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let sandbox = Sandbox::on(ZooKeeper::shared());
    let journal = sandbox.journal();
    let watches = NODES.map(|(node, mode)| {
        let keys = format!("run_mode: {mode}, run_on_load: false");
        sandbox.nodes.set(node, "0");
        watch(node, &exec(&action(&journal, &sandbox, node)), &keys)
    });
    sandbox.config("app.twc", watches.concat());
    let mut daemon = sandbox.daemon().arg("--debug").start();
    for (node, _) in NODES {
        daemon.wait_for_log(&[node, "observed"]);
    }

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for value in 1.. {
                for (node, _) in NODES {
                    sandbox.nodes.set(node, value.to_string());
                }
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _done = SetAtLast(&done);
        for _ in 0..load(12, 100) {
            let begun = journal.lines().len();
            // The kill comes after some runs, or before the first one has begun.
            let more = fastrand::usize(0..12);
            wait_until("the daemon to be up and at work", || journal.lines().len() >= begun + more);
            // The test needs a random moment and so no condition.
            thread::sleep(Duration::from_micros(fastrand::u64(0..30_000)));
            daemon.kill();
            daemon = sandbox.start();
        }
    });

    for (node, mode) in NODES {
        wait_until(&format!("the last content of {node} to be the last that ran"), || {
            let content = String::from_utf8(sandbox.nodes.get(node).expect("the node")).expect("a number");
            let lines = journal.lines();
            let ends = format!("ends {node} ");
            let is_last =
                lines.iter().rfind(|line| line.starts_with(&ends)) == Some(&format!("{ends}{content}"));
            if !is_last && mode == "DISCARD" && !runs(&lines, node) {
                // DISCARD may have ignored the content. The next one comes while nothing runs.
                let next: u64 = content.parse().expect("a number");
                sandbox.nodes.set(node, (next + 1).to_string());
            }
            is_last
        });
    }
    check(&journal.lines());
}

/// Sets the flag when it is dropped, also if the test fails: the scope waits for its threads.
struct SetAtLast<'a>(&'a AtomicBool);

impl Drop for SetAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A script that notes its beginning and its end, and whether another run of its watch is running.
fn action(journal: &Journal, sandbox: &Sandbox, node: &str) -> String {
    let lock = sandbox.path(&format!("lock{}", node.replace('/', "-")));
    let script = format!(
        "content=$(cat); {}; sleep 0.02; {}",
        journal.note(&format!("begins {node} $content ${{TWITCHER_RUN_ID%-*}}")),
        journal.note(&format!("ends {node} $content")),
    );
    alone(&lock.display().to_string(), &journal.note(&format!("two {node}")), &script)
}

/// Whether the action of `node` is running.
fn runs(lines: &[String], node: &str) -> bool {
    let mut of_node = lines.iter().filter(|line| line.split(' ').nth(1) == Some(node));
    of_node.next_back().is_some_and(|line| line.starts_with("begins"))
}

/// Panics unless each node's contents ran in order and one at a time, and each content once per daemon.
fn check(lines: &[String]) {
    let mut last: HashMap<&str, (u64, &str)> = HashMap::new();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["two", node] => panic!("two at once of {node}:\n{}", lines.join("\n")),
            ["begins", node, content, daemon] => {
                let content = content.parse().expect("a number");
                let before = last.insert(node, (content, daemon));
                let (earlier, then) = before.unwrap_or((0, ""));
                assert!(
                    content > earlier || (content == earlier && *daemon != then),
                    "{node} ran with {content} after {earlier}:\n{}",
                    lines.join("\n")
                );
            }
            ["ends", ..] => {}
            _ => panic!("an unexpected line: {line:?}"),
        }
    }
}
