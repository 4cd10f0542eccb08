//! `RegisterService`: members of services that a daemon announces.

mod directory;
mod drain;
mod faults;
mod keeper;
mod operators;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::wait::throughout;
use crate::harness::{
    Daemon, Process, Sandbox, exec, on_every_store, require_root, wait_for, wait_until, watch,
};

const MEMBER: &str = "/services/web/h:1";

/// The text of a `RegisterService` call for [`MEMBER`]. `more` has further entries of the map.
fn service(more: &str) -> String {
    format!("RegisterService(#{{ service: \"/services/web\", address: \"h:1\", {more} }});\n")
}

/// The same with a check that succeeds while there is a file `well`.
fn checked(sandbox: &Sandbox, more: &str) -> String {
    let script = format!("echo checking; test -e {} || {{ echo no file; exit 3; }}", well(sandbox));
    service(&format!("check: {}, interval: 0.1, {more}", exec(&script)))
}

fn well(sandbox: &Sandbox) -> String {
    sandbox.path("well").display().to_string()
}

fn set_well(sandbox: &Sandbox, is_well: bool) {
    if is_well {
        std::fs::write(well(sandbox), "").expect("write a file");
    } else {
        std::fs::remove_file(well(sandbox)).expect("remove a file");
    }
}

fn data(sandbox: &Sandbox, member: &str) -> Option<Value> {
    let data = sandbox.nodes.get(member).filter(|data| !data.is_empty())?;
    Some(serde_json::from_slice(&data).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&data))))
}

#[track_caller]
fn wait_for_member(sandbox: &Sandbox) -> Value {
    wait_for("the member", || data(sandbox, MEMBER))
}

#[track_caller]
fn wait_for_absence(sandbox: &Sandbox) {
    wait_until("the member to go", || sandbox.nodes.get(MEMBER).is_none());
}

/// The service in `status --json`.
fn look_at(sandbox: &Sandbox, name: &str) -> Value {
    let status = sandbox.operator(["status", "--json"]).finish().stdout;
    // The daemon may not answer yet.
    let status = serde_json::from_slice::<Value>(&status).unwrap_or_default();
    let services = status["daemon"]["services"].as_array().cloned().unwrap_or_default();
    services.into_iter().find(|service| service["service"] == name).unwrap_or(Value::Null)
}

#[track_caller]
fn wait_for_state(sandbox: &Sandbox, name: &str, state: &str) -> Value {
    wait_for(state, || Some(look_at(sandbox, name)).filter(|service| service["state"] == state))
}

/// How often the log has this.
fn said(daemon: &Daemon, what: &str) -> usize {
    daemon.log_lines(&[what]).len()
}

// "A member is announced within one round trip of its check succeeding `rise` times; it is withdrawn as soon
// as `fall` checks failed"
on_every_store!(a_member_is_there_while_its_check_succeeds);
fn a_member_is_there_while_its_check_succeeds(sandbox: &Sandbox) {
    set_well(sandbox, true);
    sandbox.config("web.twc", checked(sandbox, "data: #{ weight: 10 }, rise: 2, fall: 2"));
    let mut daemon = sandbox.start();
    let announced = wait_for_member(sandbox);
    assert_eq!(announced["weight"], json!(10));
    assert_eq!(announced["pid"], json!(daemon.process().0));
    let it = wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!((&it["member"], &it["check"]), (&json!(MEMBER), &json!("passed")), "{it}");
    for turn in 1..3 {
        set_well(sandbox, false);
        wait_for_absence(sandbox);
        let it = wait_for_state(sandbox, "web.twc-1", "failing");
        assert_eq!(it["error"], json!("exit code 3: no file"), "{it}");
        set_well(sandbox, true);
        wait_for_member(sandbox);
        // "the log says each turn once, with the check's last output"
        assert_eq!(said(&daemon, "web.twc-1: fails its check: exit code 3: no file"), turn);
    }
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!(said(&daemon, "announced /services/web/h:1"), 3);
    assert_eq!(said(&daemon, "checking"), 0, "what a check prints is not logged");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// "without one the member is there while the daemon is"; "A changed `data` is written in place"; "it is
// withdrawn as soon as ... the file is removed, the definition changes its name"
on_every_store!(a_changed_definition_moves_its_member_and_changed_data_does_not);
fn a_changed_definition_moves_its_member_and_changed_data_does_not(sandbox: &Sandbox) {
    sandbox.config("web.twc", service("data: #{ weight: 1 }"));
    let mut daemon = sandbox.start();
    assert_eq!(wait_for_member(sandbox)["weight"], json!(1));
    sandbox.config("web.twc", service("data: #{ weight: 2 }"));
    let mut seen = 0;
    wait_until("the new data", || {
        // A reader that is faster than a file is written meets no data, but never no file.
        assert!(sandbox.nodes.get(MEMBER).is_some(), "the member was gone");
        seen += 1;
        data(sandbox, MEMBER).is_some_and(|data| data["weight"] == json!(2))
    });
    assert!(seen > 0);
    let moved = "RegisterService(#{ service: \"/services/web\", address: \"h:2\" });\n";
    sandbox.config("web.twc", moved);
    wait_until("the new member", || data(sandbox, "/services/web/h:2").is_some());
    wait_for_absence(sandbox);
    sandbox.config("other.twc", service(""));
    wait_for_member(sandbox);
    sandbox.remove_config("web.twc");
    wait_until("the member to go", || sandbox.nodes.get("/services/web/h:2").is_none());
    assert!(data(sandbox, MEMBER).is_some());
    assert_eq!(daemon.stop(), Some(0));
}

// Nobody turned, so nothing is written: who puts a service before others that have no description, or gives
// one another description, moves no member.
on_every_store!(another_place_or_name_in_a_file_moves_no_member);
fn another_place_or_name_in_a_file_moves_no_member(sandbox: &Sandbox) {
    let named = |address: &str, more: &str| {
        format!("RegisterService(#{{ service: \"/services/web\", address: \"{address}\", {more} }});\n")
    };
    sandbox.config("web.twc", named("h:1", "") + &*named("h:2", ""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-2", "announced");
    let former = ["h:1", "h:2"].map(|address| data(sandbox, &format!("/services/web/{address}")));
    // The first has a check now, which never succeeds.
    let failing = named("h:0", &format!("check: {}", exec("false")));
    sandbox.config("web.twc", failing + &*named("h:1", "") + &*named("h:2", "description: \"two\""));
    daemon.wait_for_log(&["web.twc-2: service is called web.twc:two from now on"]);
    wait_for_state(sandbox, "web.twc:two", "announced");
    wait_for_state(sandbox, "web.twc-2", "announced");
    wait_for_state(sandbox, "web.twc-1", "failing");
    let now = ["h:1", "h:2"].map(|address| data(sandbox, &format!("/services/web/{address}")));
    assert_eq!(now, former);
    assert_eq!((said(&daemon, "withdrew"), said(&daemon, "cannot announce")), (0, 0));
    assert_eq!(said(&daemon, ": announced"), 2);
    assert_eq!(daemon.stop(), Some(0));
}

// "it is withdrawn as soon as ... the daemon stops (before it waits for actions)"
on_every_store!(a_daemon_that_stops_withdraws_before_it_waits_for_actions);
fn a_daemon_that_stops_withdraws_before_it_waits_for_actions(sandbox: &Sandbox) {
    let gate = sandbox.gate();
    sandbox.nodes.set("/n", "1");
    let journal = sandbox.journal();
    let action = exec(&format!("trap '' TERM; {}; {}", journal.note("runs"), gate.pass()));
    sandbox.config("web.twc", [service(""), watch("/n", &action, "")].concat());
    let mut daemon = sandbox.start();
    journal.wait_for(&["runs"]);
    wait_for_member(sandbox);
    let began = Instant::now();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    wait_for_absence(sandbox);
    assert!(began.elapsed() < Duration::from_secs(5), "its session expired");
    assert!(daemon.is_running(), "it waits for its action");
    gate.open();
    assert_eq!(daemon.wait_for_exit(), Some(0));
}

// "After `kill -9` and a restart within the session timeout the member is never seen twice and never lost"
on_every_store!(a_killed_daemon_is_followed_by_one_that_takes_its_member_over);
fn a_killed_daemon_is_followed_by_one_that_takes_its_member_over(sandbox: &Sandbox) {
    set_well(sandbox, true);
    // The next daemon does not wait for its checks.
    sandbox.config("web.twc", checked(sandbox, "rise: 2"));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    daemon.kill();
    let mut next = sandbox.start();
    let pid = json!(next.process().0);
    wait_until("the next daemon's member", || {
        assert!(sandbox.nodes.get(MEMBER).is_some(), "the member was gone");
        data(sandbox, MEMBER).is_some_and(|data| data["pid"] == pid)
    });
    wait_for_state(sandbox, "web.twc-1", "announced");
    // The end of the former session does not take it along.
    throughout(Duration::from_secs(3), || assert!(sandbox.nodes.get(MEMBER).is_some()));
    assert_eq!(next.stop(), Some(0));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// "a check that cannot be started ... is not a failed check, keeps the last verdict and is said once"
#[test]
fn a_check_that_cannot_be_started_keeps_the_verdict_and_is_said_once() {
    let sandbox = &Sandbox::directory();
    let program = sandbox.executable("check", "#!/bin/sh\nexit 0\n");
    let check = format!("check: Exec([{:?}]), interval: 0.1, fall: 1", program.display().to_string());
    sandbox.config("web.twc", service(&check));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    std::fs::rename(&program, program.with_extension("away")).expect("rename the check");
    daemon.wait_for_log(&["web.twc-1: the check cannot be started", "the last verdict stays"]);
    throughout(Duration::from_secs(1), || assert!(sandbox.nodes.get(MEMBER).is_some()));
    assert_eq!(said(&daemon, "the check cannot be started"), 1);
    std::fs::rename(program.with_extension("away"), &program).expect("rename the check");
    daemon.wait_for_log(&["web.twc-1: its check starts again"]);
    assert_eq!(said(&daemon, "withdrew"), 0);
    assert_eq!(daemon.stop(), Some(0));
}

// "a check that takes longer is killed and has failed"
#[test]
fn a_check_that_takes_too_long_is_killed_with_its_group() {
    let sandbox = &Sandbox::directory();
    let pid = sandbox.path("pid");
    let script = format!("echo connecting; sleep 1000 & echo $! > {}; wait", pid.display());
    let check = format!("check: {}, interval: 0.1, timeout: 0.3, fall: 1", exec(&script));
    sandbox.config("web.twc", service(&check));
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["web.twc-1: fails its check: timed out after 0.3 s: connecting"]);
    let it = wait_for_state(sandbox, "web.twc-1", "failing");
    assert_eq!(it["error"], json!("timed out after 0.3 s: connecting"));
    sandbox.remove_config("web.twc");
    daemon.wait_for_log(&["web.twc: removed"]);
    let left: i32 = sandbox.read_text("pid").trim().parse().expect("a number");
    wait_until("the group to be gone", || !Process(left).is_alive());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_check_has_the_identity_and_the_environment_that_an_action_is_promised() {
    require_root();
    let sandbox = &Sandbox::directory();
    let names = "TWITCHER_SERVICE TWITCHER_MEMBER TWITCHER_PORT";
    let script = format!(
        "for name in {names}; do eval echo $name=\\$$name; done > {0}.new; id -un >> {0}.new; mv {0}.new {0}",
        sandbox.path("seen").display()
    );
    let keys = format!("port: 80, check: {}, uid: \"nobody\", cwd: \"/tmp\"", exec(&script));
    sandbox.config("web.twc", service(&keys));
    let mut daemon = sandbox.start();
    wait_until("the check", || sandbox.has("seen"));
    let seen = sandbox.read_text("seen");
    let expected = "TWITCHER_SERVICE=/services/web\nTWITCHER_MEMBER=h:1\nTWITCHER_PORT=80\nnobody\n";
    assert_eq!(seen, expected);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_function_can_be_a_check() {
    let sandbox = &Sandbox::directory();
    let check = "check: |event| if event.event == \"check\" && event.znode == \"/services/web/h:1\" \
                 { run(\"exit 0\").code } else { 1 }, interval: 0.2";
    sandbox.config("web.twc", service(check));
    let mut daemon = sandbox.start();
    wait_for_member(sandbox);
    assert_eq!(daemon.stop(), Some(0));
}

// "What another living host holds under the same name is left alone: a `conflict`, said once, shown in
// `status`, tried again when it goes."
on_every_store!(what_another_daemon_holds_is_a_conflict_until_it_goes);
fn what_another_daemon_holds_is_a_conflict_until_it_goes(sandbox: &Sandbox) {
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let state = sandbox.root().join("other");
    std::fs::create_dir(&state).expect("create a directory");
    let mut other = sandbox.daemon_with_state(&state).start();
    other.wait_for_log(&[
        "web.twc-1: cannot announce /services/web/h:1",
        "it is announced when that one goes; `twitcher get /services/web/h:1` shows",
    ]);
    let pid = json!(daemon.process().0);
    throughout(Duration::from_secs(1), || assert_eq!(wait_for_member(sandbox)["pid"], pid));
    assert_eq!(daemon.stop(), Some(0));
    let pid = json!(other.process().0);
    wait_until("the other member", || data(sandbox, MEMBER).is_some_and(|data| data["pid"] == pid));
    assert_eq!(said(&other, "cannot announce"), 1);
    assert_eq!(other.stop(), Some(0));
}

// "It heals: deleted or overwritten by somebody, ... it is back within 1 s of the daemon knowing."
on_every_store!(a_member_that_somebody_removes_is_back);
fn a_member_that_somebody_removes_is_back(sandbox: &Sandbox) {
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    sandbox.nodes.remove(MEMBER);
    wait_for_member(sandbox);
    assert_eq!(said(&daemon, "announced /services/web/h:1"), 1, "it was renewed");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn two_files_with_one_member_announce_it_once_after_the_other() {
    let sandbox = &Sandbox::directory();
    sandbox.config("a.twc", service("data: #{ of: \"a\" }"));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "a.twc-1", "announced");
    sandbox.config("b.twc", service("data: #{ of: \"b\" }"));
    let it = wait_for_state(sandbox, "b.twc-1", "conflict");
    assert_eq!(it["error"], json!("service a.twc-1 of this daemon"), "{it}");
    let checked = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(checked.code, Some(1));
    assert!(
        checked.text().contains("b.twc-1: conflict: service a.twc-1 of this daemon has /services/web/h:1")
    );
    sandbox.remove_config("a.twc");
    wait_until("the other's data", || data(sandbox, MEMBER).is_some_and(|data| data["of"] == "b"));
    wait_for_state(sandbox, "b.twc-1", "announced");
    assert_eq!(daemon.stop(), Some(0));
}
