//! Members in a directory store whose place is not as it should be.

use super::{data, look_at, said, service, wait_for_member, wait_for_state};
use crate::harness::{Sandbox, command, exec, wait_until, watch};

// As for watches, a directory that is missing is an outage: its name may be a mistake, or its file system is
// not mounted.
#[test]
fn a_directory_that_is_missing_is_said_and_not_made_and_the_member_comes_with_it() {
    let sandbox = &Sandbox::directory();
    let missing = sandbox.path("missing");
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.daemon_on(&format!("dir:{}", missing.display())).start();
    let name = missing.display().to_string();
    daemon.wait_for_log(&["web.twc-1: cannot announce", &name, "create it, or mount its file system"]);
    let it = wait_for_state(sandbox, "web.twc-1", "waiting");
    assert!(it["error"].as_str().is_some_and(|error| error.contains("create it")), "{it}");
    assert!(!missing.exists());
    std::fs::create_dir(&missing).expect("create the directory");
    let member = missing.join("services/web/h:1");
    wait_until("the member", || member.exists());
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!(said(&daemon, "cannot announce"), 1);
    // It goes away and comes back, as a file system does.
    let away = sandbox.path("away");
    std::fs::rename(&missing, &away).expect("take it away");
    wait_for_state(sandbox, "web.twc-1", "waiting");
    assert!(!missing.exists());
    std::fs::rename(&away, &missing).expect("put it back");
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert!(member.exists());
    assert_eq!(daemon.stop(), Some(0));
    assert!(!member.exists());
}

// Others would not see a member there, and who watches would take the mount point for the store, with all
// nodes deleted.
#[test]
fn no_member_is_written_into_an_empty_mount_point() {
    let sandbox = &Sandbox::directory();
    let (nodes, aside) = (sandbox.root().join("nodes"), sandbox.root().join("aside"));
    sandbox.nodes.set("/n", "content");
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    wait_for_state(sandbox, "web.twc-1", "announced");
    std::fs::rename(&nodes, &aside).expect("take it away");
    std::fs::create_dir(&nodes).expect("leave a mount point");
    let is_left_alone = || {
        wait_until("the member to wait", || {
            let it = look_at(sandbox, "web.twc-1");
            it["state"] == "waiting"
                && it["error"].as_str().is_some_and(|error| error.contains("not mounted?"))
        });
        assert_eq!(std::fs::read_dir(&nodes).expect("list it").count(), 0);
    };
    is_left_alone();
    // The next daemon knows which directory it was.
    daemon.kill();
    let mut daemon = sandbox.start();
    is_left_alone();
    std::fs::rename(&aside, &nodes).expect("mount it over the empty directory");
    wait_for_state(sandbox, "web.twc-1", "announced");
    journal.wait_for(&["load content", "load content"]);
    sandbox.nodes.set("/n", "last");
    journal.wait_for(&["load content", "load content", "changed last"]);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.nodes.get("/services/web/h:1"), None);
}

// The command in the message removes the node, and then the member comes.
#[test]
fn a_node_that_nobody_holds_is_a_conflict_with_the_command_that_ends_it() {
    let sandbox = &Sandbox::directory();
    sandbox.nodes.set("/services/web/h:1", "{}");
    sandbox.config("web.twc", service("data: #{ weight: 1 }"));
    let mut daemon = sandbox.start();
    let line = daemon.wait_for_log(&["web.twc-1: cannot announce", "a node that is no member has it"]);
    wait_for_state(sandbox, "web.twc-1", "conflict");
    assert_eq!(data(sandbox, "/services/web/h:1"), Some(serde_json::json!({})));
    let remedy = line.split('`').nth(1).expect("a command").to_owned();
    assert_eq!(remedy, "twitcher rm /services/web/h:1");
    let remedy = remedy.replacen("twitcher", env!("CARGO_BIN_EXE_twitcher"), 1);
    let shell = command("/bin/sh").args(["-c", &remedy]).env("TWITCHER_STORE", sandbox.nodes.url()).status();
    assert!(shell.expect("start a shell").success(), "{remedy}");
    wait_until("the member", || wait_for_member(sandbox)["weight"] == 1);
    assert_eq!(daemon.stop(), Some(0));
}
