//! Servers that forget the daemon, and nodes that are deleted and created again.

use super::remote::Remote;
use crate::harness::{Gate, Journal, Nodes, Sandbox, Store, exec, kazoo, load, on_every_server, watch};

/// A node whose action waits at a gate.
struct Held {
    node: &'static str,
    journal: Journal,
    gate: Gate,
}

impl Held {
    /// Creates the node, which contains `before`, and its watch. To be called before the daemon starts.
    fn new(sandbox: &Sandbox, node: &'static str) -> Self {
        let name = node.trim_start_matches('/');
        let journal = sandbox.journal_named(name);
        let gate = sandbox.gate_named(&format!("gate-of-{name}"));
        let script = format!(
            "content=$(cat); {begin}; {wait}; {end}",
            begin = journal.note("begin $TWITCHER_EVENT $content"),
            wait = gate.pass(),
            end = journal.note("end $content"),
        );
        sandbox.nodes.set(node, "before");
        sandbox.config(&format!("{name}.twc"), watch(node, &exec(&script), ""));
        Self { node, journal, gate }
    }

    /// Waits until the first run has begun, and panics at any other.
    fn has_begun(&self) {
        self.journal.wait_for(&["begin load before"]);
    }

    /// Opens the gate and waits until the run has ended.
    fn end(&self) {
        self.gate.open();
        self.journal.wait_for_line("end before");
    }
}

/// Lets the server forget the daemon while actions run, makes these changes in the meantime, and expects
/// these further runs, whether the run from before the outage ends during it or after it.
fn expire_during_runs(store: Store, changes: &[&str], runs: &[&str]) {
    let it = Remote::new(store);
    let ends_during = Held::new(&it.sandbox, "/ends-during");
    let ends_after = Held::new(&it.sandbox, "/ends-after");
    let both = [&ends_during, &ends_after];
    let set_both = |content: &str| both.iter().for_each(|held| it.sandbox.nodes.set(held.node, content));
    let _daemon = it.start();
    both.iter().for_each(|held| held.has_begun());

    it.expire();
    for change in changes {
        set_both(change);
    }
    ends_during.end();
    it.reconnect();
    let caught_up = [&["begin load before", "end before"], runs].concat();
    ends_during.journal.wait_for(&caught_up);
    // While the other run goes on, nothing else has begun.
    ends_after.has_begun();
    ends_after.end();
    both.iter().for_each(|held| held.journal.wait_for(&caught_up));

    // A run too many would come before the runs of this change.
    set_both("after");
    let all = [caught_up.as_slice(), &["begin changed after", "end after"]].concat();
    both.iter().for_each(|held| held.journal.wait_for(&all));
}

// "Nothing is lost. ... session expiry ... do not break this." and QUEUE's "updates that come meanwhile
// collapse into one further run with the most recent content"
on_every_server!(changes_while_a_session_expires_during_a_run_start_one_further_run);
fn changes_while_a_session_expires_during_a_run_start_one_further_run(store: Store) {
    expire_during_runs(store, &["first", "second"], &["begin changed second", "end second"]);
}

// "Nothing runs for nothing. A reconnect ... starts no action."
on_every_server!(a_session_that_expires_during_a_run_starts_none);
fn a_session_that_expires_during_a_run_starts_none(store: Store) {
    expire_during_runs(store, &[], &[]);
}

/// Deletes and re-creates `/n` this often. On ZooKeeper that happens every other time in one transaction, so
/// that nobody can see it missing. (etcd has no such transaction.)
fn recreate(it: &Remote, times: usize, content: &str) {
    let Nodes::ZooKeeper { address, root } = &it.sandbox.nodes else {
        return (0..times).for_each(|_| {
            it.sandbox.nodes.remove("/n");
            it.sandbox.nodes.set("/n", content);
        });
    };
    let script = format!(
        "for time in range({times}):\n    \
             if time % 2 == 0:\n        \
                 zk.delete('/n')\n        \
                 zk.create('/n', b'{content}')\n    \
             else:\n        \
                 both = zk.transaction()\n        \
                 both.delete('/n')\n        \
                 both.create('/n', b'{content}')\n        \
                 assert both.commit() == [True, '/n']"
    );
    kazoo(&format!("{address}{root}"), &script);
}

// "re-creation runs, also with equal bytes, as `created`, also when the deletion itself went unseen",
// "Nothing is lost. ... deletion and re-creation ... do not break this.", "One change starts one run at
// most": single re-creations run exactly once, those of a burst at most once each, those of an outage once
// together, and the last one always.
on_every_server!(recreations_with_equal_bytes_run_as_created_and_none_twice);
fn recreations_with_equal_bytes_run_as_created_and_none_twice(store: Store) {
    let (awaited, burst, outage) = load((4, 4, 7), (12, 13, 25));
    let it = Remote::new(store);
    let journal = it.sandbox.journal();
    it.sandbox.nodes.set("/n", "same");
    it.sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), ""));
    let _daemon = it.start();
    let mut expected = vec!["load same"];
    journal.wait_for(&expected);

    for _ in 0..awaited {
        it.sandbox.nodes.remove("/n");
        it.sandbox.nodes.set("/n", "same");
        expected.push("created same");
        journal.wait_for(&expected);
    }

    recreate(&it, burst, "same");
    recreate(&it, 1, "landmark");
    let lines = journal.wait_for_last("created landmark");
    let of_burst = &lines[expected.len()..lines.len() - 1];
    assert!(of_burst.len() <= burst, "{burst} re-creations: {of_burst:?}");
    assert!(of_burst.iter().all(|line| line == "created same"), "{of_burst:?}");

    let mut expected: Vec<_> = lines.iter().map(String::as_str).collect();
    recreate(&it, 1, "same");
    expected.push("created same");
    journal.wait_for(&expected);
    it.expire();
    recreate(&it, outage, "same");
    it.reconnect();
    expected.push("created same");
    journal.wait_for(&expected);
    recreate(&it, 1, "final");
    expected.push("created final");
    journal.wait_for(&expected);
}
