//! "`run_on_delete: true` runs with the event `deleted` and empty stdin": a member that is gone does not stay
//! with the action for good.

use crate::harness::{Daemon, Journal, Sandbox, exec, on_every_store, wait_until, watch};

/// Journals event and version, and everything that the action reads.
fn script(journal: &Journal) -> String {
    journal.note("$TWITCHER_EVENT $TWITCHER_VERSION [$(tr '\\n' ' ')]")
}

/// The lines of `journal` without the versions of nodes that exist.
fn lines(journal: &Journal) -> Vec<String> {
    let shorten = |line: &String| {
        let (event, rest) = line.split_once(' ').unwrap();
        let (version, content) = rest.split_once(' ').unwrap();
        if event == "deleted" { format!("{event} {version} {content}") } else { format!("{event} {content}") }
    };
    journal.lines().iter().map(shorten).collect()
}

#[track_caller]
fn wait_for_lines(journal: &Journal, expected: &[&str]) {
    wait_until(&format!("{expected:?}"), || lines(journal) == expected);
}

fn state(sandbox: &Sandbox) -> String {
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["watches"][0]["state"].as_str().unwrap().to_owned()
}

fn debugging(sandbox: &Sandbox) -> Daemon {
    sandbox.daemon().arg("--debug").start()
}

on_every_store!(a_deletion_runs_once_also_over_restarts);
fn a_deletion_runs_once_also_over_restarts(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "1");
    let journal = sandbox.journal();
    sandbox.config(
        "app.twc",
        watch("/n", &exec(&script(&journal)), "run_on_delete: true, run_on_load: CHANGED"),
    );
    let mut daemon = debugging(sandbox);
    wait_for_lines(&journal, &["load [1]"]);
    sandbox.nodes.remove("/n");
    wait_for_lines(&journal, &["load [1]", "deleted -1 []"]);
    wait_until("the end of the run", || state(sandbox) == "absent");
    daemon.kill();

    let mut daemon = debugging(sandbox);
    daemon.wait_for_log(&["/n", "observed"]);
    sandbox.nodes.set("/n", "2");
    wait_for_lines(&journal, &["load [1]", "deleted -1 []", "created [2]"]);
    wait_until("the end of the run", || state(sandbox) == "idle");
    assert_eq!(daemon.stop(), Some(0));

    sandbox.nodes.remove("/n");
    let _daemon = debugging(sandbox);
    wait_for_lines(&journal, &["load [1]", "deleted -1 []", "created [2]", "deleted -1 []"]);
    sandbox.operator(["history"]).finish().expect(0).expect_said(&["deleted"]);
}

on_every_store!(a_deletion_that_a_killed_daemon_did_not_see_end_runs_again);
fn a_deletion_that_a_killed_daemon_did_not_see_end_runs_again(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "1");
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    let script = format!("{}; [ $TWITCHER_EVENT = load ] || {}", script(&journal), gate.pass());
    sandbox.config("app.twc", watch("/n", &exec(&script), "run_on_delete: true, run_on_load: false"));
    sandbox.nodes.set("/n", "1");
    let mut daemon = debugging(sandbox);
    daemon.wait_for_log(&["/n", "observed"]);
    sandbox.nodes.remove("/n");
    wait_for_lines(&journal, &["deleted -1 []"]);
    daemon.kill();
    gate.open();
    let _daemon = debugging(sandbox);
    wait_for_lines(&journal, &["deleted -1 []", "deleted -1 []"]);
    wait_until("the end of the run", || state(sandbox) == "absent");
}

// The last member leaves, and then its container node goes.
on_every_store!(the_last_member_and_its_container_node_leave_nothing_behind);
fn the_last_member_and_its_container_node_leave_nothing_behind(sandbox: &Sandbox) {
    sandbox.nodes.make("/members");
    sandbox.nodes.set("/members/one", "");
    let journal = sandbox.journal();
    let keys = "watch_type: WATCH_CHILDREN, run_on_delete: true";
    sandbox.config("app.twc", watch("/members", &exec(&script(&journal)), keys));
    let _daemon = sandbox.start();
    wait_for_lines(&journal, &["load [one ]"]);
    sandbox.nodes.remove("/members/one");
    wait_for_lines(&journal, &["load [one ]", "children []"]);
    sandbox.nodes.remove("/members");
    wait_for_lines(&journal, &["load [one ]", "children []", "deleted -1 []"]);
    sandbox.nodes.set("/members/two", "");
    journal.wait_for_line_where("the new member", |line| line.ends_with("[two ]"));
}

on_every_store!(the_deletion_of_a_tree_has_no_lines_and_its_recreation_has_all);
fn the_deletion_of_a_tree_has_no_lines_and_its_recreation_has_all(sandbox: &Sandbox) {
    sandbox.nodes.set("/t/a", "1");
    let journal = sandbox.journal();
    let script =
        journal.note("$TWITCHER_EVENT $(grep -o '\"znode\":\"[^\"]*\",\"event\":\"[a-z]*\"' | tr -d '\\n')");
    sandbox.config("app.twc", watch("/t", &exec(&script), "watch_type: WATCH_TREE, run_on_delete: true"));
    let _daemon = sandbox.start();
    journal.wait_for_line_where("the first run", |line| line.starts_with("load") && line.contains("/t/a"));
    sandbox.twitcher(["rm", "/t", "--recursive", "--store", &sandbox.nodes.url()]).finish().expect(0);
    journal.wait_for_line_where("the deletion", |line| line == "deleted ");
    sandbox.nodes.set("/t/b", "2");
    let event = r#""znode":"/t/b","event":"created""#;
    let line = journal.wait_for_line_where("the re-creation", |line| line.contains(event));
    assert!(!line.contains("/t/a"), "{line}");
}

#[test]
fn a_function_is_told_of_a_deletion() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let journal = sandbox.journal();
    let note = journal.note("$0 $1 $2 $3");
    let action = format!(
        "|event| run([`sh`, `-c`, {note:?}, event.event, `${{event.version < 0}}`, event.text, \
         `${{event.data.len}}`]).code"
    );
    sandbox.config("app.twc", watch("/n", &action, "run_on_delete: true"));
    let _daemon = sandbox.start();
    journal.wait_for(&["load false 1 1"]);
    sandbox.nodes.remove("/n");
    journal.wait_for(&["load false 1 1", "deleted true  0"]);
}

// "Without it `status` says `deleted` (not `absent`) of what had been applied, and the log says it once."
on_every_store!(without_the_key_a_deletion_is_shown_and_logged_once);
fn without_the_key_a_deletion_is_shown_and_logged_once(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "1");
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), "run_on_load: CHANGED"));
    let mut daemon = sandbox.start();
    journal.wait_for(&["load 1"]);
    wait_until("the end of the run", || state(sandbox) == "idle");
    sandbox.nodes.remove("/n");
    wait_until("the deletion", || state(sandbox) == "deleted");
    daemon.wait_for_log(&["/n was deleted", "run_on_delete"]);
    sandbox.operator(["status", "--check"]).finish().expect(0);
    assert_eq!(daemon.stop(), Some(0));

    let daemon = debugging(sandbox);
    daemon.wait_for_log(&["/n", "observed"]);
    wait_until("the deletion", || state(sandbox) == "deleted");
    assert_eq!(daemon.log_lines(&["was deleted"]).len(), 0, "it was said already");
    // The new key runs what was not run.
    let keys = "run_on_load: CHANGED, run_on_delete: true";
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), keys));
    journal.wait_for(&["load 1", "deleted "]);
}

on_every_store!(an_operator_can_run_a_deletion_again_and_a_dry_run_announces_one);
fn an_operator_can_run_a_deletion_again_and_a_dry_run_announces_one(sandbox: &Sandbox) {
    sandbox.nodes.set("/n", "1");
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    let mut daemon = sandbox.start();
    journal.wait_for(&["load 1"]);
    sandbox.nodes.remove("/n");
    journal.wait_for(&["load 1", "deleted "]);
    wait_until("the end of the run", || state(sandbox) == "absent");
    sandbox.operator(["trigger", "app.twc-1"]).finish().expect(0).expect_said(&["for the deletion"]);
    journal.wait_for(&["load 1", "deleted ", "deleted "]);
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["load 1", "deleted ", "deleted ", "created 2"]);
    wait_until("the end of the run", || state(sandbox) == "idle");
    assert_eq!(daemon.stop(), Some(0));
    sandbox.nodes.remove("/n");
    sandbox
        .daemon()
        .arg("--dry-run")
        .finish()
        .expect(0)
        .expect_said(&["deleted", "the node was deleted since"]);
    sandbox.daemon().arg("--once").finish().expect(0);
    journal.wait_for(&["load 1", "deleted ", "deleted ", "created 2", "deleted "]);
}
