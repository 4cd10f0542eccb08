//! Tests of watches that run themselves in circles.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Sandbox, exec, on_every_store, wait_until, watch};

/// Waits until the daemon has notified this run of an update.
const WAIT: &str = r#"until [ "$seen" ]; do sleep 0.1; done"#;

/// A watch that sets a node during each run, until the file `stop` is there. Each run waits for the next
/// update: a busy daemon may otherwise see an update long after the run that caused it, and then does not
/// suspect the action.
fn setting(sandbox: &Sandbox, name: &str, node: &str, set: &str, more: &str) -> String {
    let (stop, new) = (sandbox.path("stop"), sandbox.path(&format!("{name}.new")));
    let (stop, new, set) = (stop.display(), new.display(), sandbox.root().join("nodes").join(set));
    let set = format!("echo $$ > {new} && mv {new} {}", set.display());
    let action =
        format!("seen=; trap seen=yes USR1; exec 2> /dev/null; [ -e {stop} ] || {{ {set}; {WAIT}; }}; true");
    watch(node, &exec(&action), &format!("description: {name:?}, notify_signal: \"USR1\", {more}"))
}

#[test]
fn operators_are_told_once_of_an_action_that_sets_its_own_node_and_when_it_is_over() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let calm = setting(&sandbox, "calm", "/calm", "calm", "min_interval: 0.5");
    sandbox.config("app.twc", [setting(&sandbox, "own", "/n", "n", ""), calm].concat());
    sandbox.nodes.set("/calm", "1");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["WARNING", "app.twc:own: runs in circles", "times a second", "/n", "min_interval"]);
    let check = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.text().starts_with("app.twc:own: runs in circles"), "{check:?}");
    std::fs::write(sandbox.path("stop"), "").expect("stop");
    daemon.wait_for_log(&["app.twc:own: no longer runs in circles, after "]);
    sandbox.operator(["status", "--check"]).finish().expect(0);
    assert_eq!(daemon.log_lines(&["runs in circles", "times a second"]).len(), 1);
}

#[test]
fn operators_are_told_of_actions_that_set_the_node_of_each_other() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/a", "1");
    sandbox.nodes.set("/b", "1");
    let watches = [setting(&sandbox, "a", "/a", "b", ""), setting(&sandbox, "b", "/b", "a", "")];
    sandbox.config("app.twc", watches.concat());
    let daemon = sandbox.start();
    let told = daemon.wait_for_log(&["runs in circles with app.twc:"]);
    assert!(told.contains("app.twc:a") && told.contains("app.twc:b") && told.contains("/a"), "{told}");
}

// Nearly every update arrives while the action runs or a moment later, as in a circle.
on_every_store!(a_watch_that_others_keep_busy_is_no_circle);
fn a_watch_that_others_keep_busy_is_no_circle(sandbox: &Sandbox) {
    sandbox.nodes.set("/slow", "0");
    sandbox.nodes.set("/fast", "0");
    let (slow, fast) = (sandbox.journal_named("slow"), sandbox.journal_named("fast"));
    let slow_action = exec(&format!("{}; sleep 0.05", slow.record()));
    let watches = [watch("/slow", &slow_action, ""), watch("/fast", &exec(&fast.record()), "")];
    sandbox.config("app.twc", watches.concat());
    let daemon = sandbox.start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for (node, pause) in [("/slow", 10), ("/fast", 3)] {
            let (nodes, is_over) = (&sandbox.nodes, &is_over);
            scope.spawn(move || {
                for value in 1.. {
                    nodes.set(node, value.to_string());
                    thread::sleep(Duration::from_millis(pause));
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        wait_until("many runs", || slow.lines().len() > 150 && fast.lines().len() > 150);
        let check = sandbox.operator(["status", "--check"]).finish();
        is_over.store(true, Ordering::Relaxed);
        check.expect(0);
    });
    assert!(daemon.log_lines(&["in circles"]).is_empty());
}
