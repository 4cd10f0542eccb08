//! The payload of a run: on stdin, as a function's event, after failed runs, and when all nodes are new.

use std::fs;

use super::{Trace, observe, tree};
use crate::harness::{Sandbox, exec, on_every_store, wait_until, watch};

// "stdin: one JSON object a line, each ended by a newline, sorted by path"
#[test]
fn stdin_is_a_line_of_json_for_each_node() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/t", "root");
    sandbox.nodes.set("/t/b", b"\xff\0");
    sandbox.nodes.set("/t/a/deep", "a \"b\"\n\u{e9}");
    let out = sandbox.path("stdin");
    let copy = format!("cat > {0}.new && mv {0}.new {0}", out.display());
    sandbox.config("app.twc", tree(&exec(&copy), ""));
    let _daemon = sandbox.start();
    let stdin_is = |expected: &[&str]| {
        let expected: String = expected.iter().flat_map(|line| [line, "\n"]).collect();
        wait_until(&format!("stdin to be {expected}"), || {
            sandbox.has("stdin") && sandbox.read_text("stdin") == expected
        });
    };
    stdin_is(&[
        r#"{"znode":"/t","event":"load","version":0,"size":4,"text":"root"}"#,
        r#"{"znode":"/t/a","event":"load","version":0,"size":0,"text":""}"#,
        "{\"znode\":\"/t/a/deep\",\"event\":\"load\",\"version\":0,\"size\":8,\
         \"text\":\"a \\\"b\\\"\\n\u{e9}\"}",
        "{\"znode\":\"/t/b\",\"event\":\"load\",\"version\":0,\"size\":2,\
         \"text\":\"\u{fffd}\\u0000\",\"base64\":\"/wA=\"}",
    ]);
    sandbox.nodes.set("/t/b", "text");
    stdin_is(&[r#"{"znode":"/t/b","event":"changed","version":1,"size":4,"text":"text"}"#]);
    sandbox.nodes.set("/t/a-b", "new");
    stdin_is(&[r#"{"znode":"/t/a-b","event":"created","version":0,"size":3,"text":"new"}"#]);
    sandbox.nodes.remove("/t/b");
    stdin_is(&[r#"{"znode":"/t/b","event":"deleted"}"#]);
}

// "what changed during a failing or running action is ... never lost"
on_every_store!(the_changes_of_failed_runs_are_given_to_the_next_run_again);
fn the_changes_of_failed_runs_are_given_to_the_next_run_again(sandbox: &Sandbox) {
    let trace = Trace::new(sandbox);
    let good = sandbox.path("good");
    sandbox.nodes.set("/t/a", "1");
    fs::write(&good, "").expect("let it succeed");
    let action = format!("{}; test -e {}", trace.note(), good.display());
    sandbox.config("app.twc", tree(&exec(&action), ""));
    let daemon = sandbox.daemon().arg("--debug").start();
    let mut ends = 0;
    let mut ended = |how: &str| {
        ends += 1;
        wait_until("the run to end", || daemon.log_lines(&["app.twc-1", " after "]).len() == ends);
        let last = daemon.log_lines(&["app.twc-1", " after "]).pop().expect("just now");
        assert!(last.contains(how), "{last}");
    };
    ended("ended");
    fs::remove_file(&good).expect("let it fail");
    sandbox.nodes.set("/t/a", "2");
    ended("failed");
    sandbox.nodes.set("/t/b", "2");
    ended("failed");
    // The node is as it was before, but failed runs may have acted on its creation.
    sandbox.nodes.remove("/t/b");
    ended("failed");
    fs::write(&good, "").expect("let it succeed");
    sandbox.nodes.set("/t/c", "2");
    ended("ended");
    sandbox.nodes.set("/t/c", "3");
    ended("ended");
    trace.wait_for(&[
        "load: load /t=, load /t/a=1",
        "changed: changed /t/a=2",
        "changed: changed /t/a=2, created /t/b=2",
        "changed: changed /t/a=2, deleted /t/b",
        "changed: changed /t/a=2, deleted /t/b, created /t/c=2",
        "changed: changed /t/c=3",
    ]);
}

// "QUEUE collapses; a run gets the latest tree." "Nothing runs for nothing": a tree that is again as the
// action has succeeded with starts no run.
on_every_store!(changes_during_a_run_are_given_to_one_further_run_and_changes_undone_meanwhile_to_none);
fn changes_during_a_run_are_given_to_one_further_run_and_changes_undone_meanwhile_to_none(sandbox: &Sandbox) {
    let trace = Trace::new(sandbox);
    let gates = [sandbox.gate_named("gate-1"), sandbox.gate_named("gate-2")];
    sandbox.nodes.set("/t/a", "1");
    let count = trace.0.path();
    let action = format!(
        "{}; case $(wc -l < {count}) in 1) {} ;; 2) {} ;; esac",
        trace.note(),
        gates[0].pass(),
        gates[1].pass()
    );
    sandbox.config("app.twc", tree(&exec(&action), ""));
    let daemon = sandbox.daemon().arg("--debug").start();
    let first = "load: load /t=, load /t/a=1";
    trace.wait_for(&[first]);
    observe(&daemon, || sandbox.nodes.set("/t/b", "1"));
    observe(&daemon, || sandbox.nodes.set("/t/a", "2"));
    observe(&daemon, || sandbox.nodes.set("/t/a", "3"));
    gates[0].open();
    let second = "changed: changed /t/a=3, created /t/b=1";
    trace.wait_for(&[first, second]);
    observe(&daemon, || sandbox.nodes.set("/t/c", "1"));
    observe(&daemon, || sandbox.nodes.remove("/t/c"));
    gates[1].open();
    daemon.wait_for_log(&["app.twc-1", "not started: nothing has changed"]);
    sandbox.nodes.set("/t/a", "4");
    trace.wait_for(&[first, second, "changed: changed /t/a=4"]);
}

// "Where that is not known (... after a restart of the daemon, after a redefinition ...) every node is listed
// with event `load`"
on_every_store!(after_a_restart_or_a_redefinition_the_whole_tree_is_given);
fn after_a_restart_or_a_redefinition_the_whole_tree_is_given(sandbox: &Sandbox) {
    let trace = Trace::new(sandbox);
    sandbox.nodes.set("/t/a", "1");
    let define = |more: &str| {
        sandbox.config("app.twc", tree(&exec(&trace.note()), &format!("run_on_load: CHANGED, {more}")));
    };
    define("");
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    assert_eq!(daemon.stop(), Some(0));
    // Nothing has changed, so the version of the tree is the same.
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["/t (tree): observed"]);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.nodes.set("/t/b", "2");
    sandbox.nodes.remove("/t/a");
    let daemon = sandbox.daemon().arg("--debug").start();
    let runs = ["load: load /t=, load /t/a=1", "load: load /t=, load /t/b=2"];
    trace.wait_for(&runs);
    daemon.wait_for_log(&["app.twc-1", "ended"]);
    define("timeout: 60");
    trace.wait_for(&[runs[0], runs[1], runs[1]]);
    wait_until("it to end", || daemon.log_lines(&["app.twc-1", "ended"]).len() == 2);
    sandbox.nodes.set("/t/b", "3");
    trace.wait_for(&[runs[0], runs[1], runs[1], "changed: changed /t/b=3"]);
}

// "Function actions: the event gets `changes`"
on_every_store!(a_function_is_given_the_changes);
fn a_function_is_given_the_changes(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.make("/t");
    sandbox.nodes.set("/t/a", b"a\xff");
    let body = format!(
        r#"let said = event.event + `:`;
           for change in event.changes {{
               said += ` ${{change.event}} ${{change.znode}}`;
               if change.event != `deleted` {{ said += ` ${{change.size}} ${{change.data}}`; }}
           }}
           let noted = run([`/bin/sh`, `-c`, `printf '%s\n' "$1" >> {}`, `sh`, said]);"#,
        journal.path()
    );
    sandbox.config("app.twc", tree(&format!("|event| {{ {body} }}"), ""));
    let _daemon = sandbox.start();
    let load = "load: load /t 0 [] load /t/a 2 [61ff]";
    journal.wait_for(&[load]);
    sandbox.nodes.remove("/t/a");
    journal.wait_for(&[load, "changed: deleted /t/a"]);
}

on_every_store!(a_trigger_is_given_the_whole_tree);
fn a_trigger_is_given_the_whole_tree(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/t/a", "1");
    let action = exec(&format!("cat >> {}", journal.path()));
    sandbox.config("app.twc", watch("/t", &action, "watch_type: WATCH_TREE, description: \"tree\""));
    let _daemon = sandbox.start();
    wait_until("the load", || journal.lines().len() == 2);
    sandbox.operator(["trigger", "tree"]).finish().expect(0);
    wait_until("the trigger", || journal.lines().len() == 4);
    assert!(journal.lines().iter().all(|line| line.contains("\"event\":\"load\"")), "{:?}", journal.lines());
}
