//! `run --once` runs what is pending and ends. `run --dry-run` only reports what would run.

use std::fs;

use crate::harness::{Sandbox, Store, exec, on_every_server, on_every_store, watch};

on_every_store!(once_runs_what_is_pending_and_waits_for_it);
fn once_runs_what_is_pending_and_waits_for_it(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let action = exec(&format!("sleep 0.3; {}", journal.record()));
    sandbox.config(
        "app.twc",
        [watch("/n", &action, "run_on_load: CHANGED"), watch("/none", &action, "")].concat(),
    );
    sandbox.daemon().arg("--once").finish().expect(0);
    assert_eq!(journal.lines(), ["1"]);
    // Everything is done, so nothing runs.
    sandbox.daemon().arg("--once").finish().expect(0);
    assert_eq!(journal.lines(), ["1"]);
    sandbox.nodes.set("/n", "2");
    sandbox.daemon().arg("--once").finish().expect(0);
    assert_eq!(journal.lines(), ["1", "2"]);
}

#[test]
fn once_waits_for_retries_and_reports_the_failures_that_remain() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let action = exec(&format!("{}; [ $(wc -l < {}) -ge 3 ]", journal.record(), journal.path()));
    let retry = "retry: #{ attempts: 5, delay: 0.05 }, description: \"shaky\"";
    sandbox.config("app.twc", watch("/n", &action, retry));
    sandbox.daemon().arg("--once").finish().expect(0);
    assert_eq!(journal.lines(), ["1", "1", "1"]);

    sandbox.config("app.twc", watch("/n", &exec("exit 7"), "description: \"broken\""));
    sandbox.daemon().arg("--once").finish().expect(1).expect_said(&["broken", "exit code 7"]);
    sandbox.config("app.twc", "RegisterWatch(#{});");
    sandbox.daemon().arg("--once").finish().expect(1).expect_said(&["config: ", "app.twc", "znode"]);
}

on_every_server!(once_fails_if_its_store_is_away);
fn once_fails_if_its_store_is_away(store: Store) {
    let server = store.stopped_server();
    let sandbox = Sandbox::on_whole(&*server);
    sandbox.config("app.twc", watch("/n", &exec("true"), ""));
    let finished = sandbox.daemon().args(["--once", "--session-timeout", "0.5"]).finish();
    finished.expect(1).expect_said(&["store default: not connected"]);
}

on_every_store!(a_dry_run_says_what_would_run_and_why_and_runs_nothing);
fn a_dry_run_says_what_would_run_and_why_and_runs_nothing(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    for node in ["/always", "/changed", "/done"] {
        sandbox.nodes.set(node, "1");
    }
    let each = |znode: &str, keys: &str| watch(znode, &exec(&journal.record()), keys);
    let config = [
        each("/always", "description: \"always\""),
        each("/changed", "run_on_load: false, description: \"changed\""),
        each("/done", "run_on_load: CHANGED, description: \"done\""),
        each("/none", "description: \"absent\""),
    ];
    sandbox.config("app.twc", config.concat());
    let would = |daemon: crate::harness::Twitcher, code| {
        let said = daemon.arg("--dry-run").finish().expect(code).text();
        said.lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    // The dry run does not create a missing state directory.
    let none = sandbox.path("none");
    let first = would(sandbox.daemon_with_state(&none), 0);
    assert!(first[0].starts_with("app.twc:absent /none not run there is no such node"), "{first:?}");
    assert!(first[1].contains("always") && first[1].ends_with("run_on_load is true"), "{first:?}");
    assert!(first[2].contains("changed /changed not run"), "{first:?}");
    assert!(first[3].ends_with("it was not applied in this definition"), "{first:?}");
    assert!(!none.exists());

    sandbox.daemon().arg("--once").finish().expect(0);
    journal.wait_for(&["1", "1"]);
    sandbox.nodes.set("/changed", "2");
    let ledger = fs::read(sandbox.state().join("ledger.db")).unwrap();
    let later = would(sandbox.daemon(), 0);
    assert!(later[2].contains("run changed, version") && later[2].contains("changed since"), "{later:?}");
    assert!(later[3].contains("done /done not run version") && later[3].ends_with("is applied"), "{later:?}");
    assert_eq!(fs::read(sandbox.state().join("ledger.db")).unwrap(), ledger);
    journal.wait_for(&["1", "1"]);
}

on_every_store!(a_dry_run_disturbs_no_daemon_and_no_action);
fn a_dry_run_disturbs_no_daemon_and_no_action(sandbox: &Sandbox) {
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "1");
    let action = exec(&format!("{}; {}", journal.record(), gate.pass()));
    sandbox.config("app.twc", watch("/n", &action, "timeout: 3600, description: \"long\""));
    let daemon = sandbox.start();
    journal.wait_for(&["1"]);
    let said = sandbox.daemon().arg("--dry-run").finish().expect(0).text();
    assert!(said.contains("app.twc:long"), "{said}");
    gate.open();
    daemon.process();
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "2"]);
    assert_eq!(daemon.log_lines(&["long run 1: failed"]), [""; 0]);
}

on_every_server!(a_dry_run_fails_if_its_store_is_away);
fn a_dry_run_fails_if_its_store_is_away(store: Store) {
    let server = store.stopped_server();
    let sandbox = Sandbox::on_whole(&*server);
    sandbox.config("app.twc", watch("/n", &exec("true"), ""));
    let finished = sandbox.daemon().args(["--dry-run", "--session-timeout", "0.5"]).finish().expect(1);
    finished.expect_said(&["its store could not be asked", "store default: not connected"]);
}

on_every_store!(once_runs_an_update_also_after_a_failure);
fn once_runs_an_update_also_after_a_failure(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let action = format!("{}; [ -e {} ]", journal.record(), sandbox.path("mended").display());
    let keys = "run_on_load: false, description: \"shaky\"";
    sandbox.config("app.twc", watch("/n", &exec(&action), keys));
    sandbox.daemon().arg("--once").finish().expect(0);
    sandbox.nodes.set("/n", "2");
    sandbox.daemon().arg("--once").finish().expect(1);
    fs::write(sandbox.path("mended"), "").unwrap();
    sandbox.nodes.set("/n", "3");
    let said = sandbox.daemon().arg("--dry-run").finish().text();
    assert!(said.contains("shaky  /n    run"), "{said}");
    sandbox.daemon().arg("--once").finish().expect(0);
    assert_eq!(journal.lines(), ["2", "3"]);
}

on_every_server!(once_does_without_a_store_that_no_watch_uses);
fn once_does_without_a_store_that_no_watch_uses(store: Store) {
    let server = store.stopped_server();
    let sandbox = Sandbox::on_whole(&*server);
    let journal = sandbox.journal();
    let nodes = sandbox.path("local");
    fs::create_dir(&nodes).unwrap();
    fs::write(nodes.join("n"), "1").unwrap();
    fs::write(
        sandbox.configs().join("twitcher.toml"),
        format!("[stores.local]\nurl = \"dir:{}\"\n", nodes.display()),
    )
    .unwrap();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "store: \"local\""));
    sandbox.daemon().args(["--once", "--session-timeout", "0.5"]).finish().expect(0);
    assert_eq!(journal.lines(), ["1"]);
}

#[test]
fn a_dry_run_leaves_no_trace_and_refuses_a_ledger_that_it_may_not_read() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec("true"), "run_on_load: CHANGED, splay: 300"));
    let files = || {
        let mut names: Vec<_> =
            fs::read_dir(sandbox.state()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    sandbox.daemon_with_state(&sandbox.path("other")).arg("--dry-run").finish().expect(0).expect_said(&[
        // With `splay` it cannot say when, but that it would run.
        "run    load",
    ]);
    sandbox.config("app.twc", watch("/n", &exec("true"), "run_on_load: CHANGED"));
    sandbox.daemon().arg("--once").finish().expect(0);
    let before = files();
    sandbox.daemon().arg("--dry-run").finish().expect(0).expect_said(&["is applied"]);
    assert_eq!(files(), before);
    let copy = sandbox.copy_of_the_binary();
    fs::set_permissions(sandbox.state(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let stranger =
        sandbox.daemon().binary(&copy).under(["setpriv", "--reuid", "65534", "--clear-groups", "--"]);
    stranger.arg("--dry-run").finish().expect(1).expect_said(&["ledger.db", "Permission denied"]);
}
