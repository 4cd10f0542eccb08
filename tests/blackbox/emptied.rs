//! Configs that say nothing any more: a file or directory that was emptied keeps its last good watches, and
//! nothing that does not work looks well.

use std::fs;

use crate::harness::{Daemon, Journal, Sandbox, exec, wait_until, watch};

/// A watch of `/n` that journals content that was not applied before.
fn recording(journal: &Journal) -> String {
    watch("/n", &exec(&journal.record()), r#"description: "records", run_on_load: CHANGED"#)
}

/// Waits until `status --check` exits with this code and its output contains each of these.
#[track_caller]
fn wait_for_check(sandbox: &Sandbox, code: i32, parts: &[&str]) {
    wait_until(&format!("status --check to exit with {code} and say {parts:?}"), || {
        let done = sandbox.operator(["status", "--check"]).finish();
        done.code == Some(code) && parts.iter().all(|part| done.text().contains(part))
    });
}

fn started(sandbox: &Sandbox, journal: &Journal) -> Daemon {
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", recording(journal));
    let daemon = sandbox.start();
    journal.wait_for(&["one"]);
    daemon
}

// "A file that fails keeps its last good watches; a removed file removes its watches": an emptied file is one
// that fails.
#[test]
fn an_emptied_config_keeps_its_watches_until_it_is_mended_or_removed() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let daemon = started(&sandbox, &journal);
    let file = sandbox.configs().join("app.twc");
    let mut lines = vec!["one".to_owned()];
    let dead = format!("if false {{ {} }}", recording(&journal));
    let none = format!("for n in [] {{ {} }}", recording(&journal));
    for (n, text) in ["", "// nothing\n/* here */\n", "\n \n", &dead, &none].into_iter().enumerate() {
        fs::write(&file, text).expect("empty the config");
        wait_for_check(&sandbox, 1, &["app.twc: registers no watch any more", "remove the file"]);
        sandbox.nodes.set("/n", n.to_string());
        lines.push(n.to_string());
        journal.wait_for(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        // It is mended, and nothing runs for that.
        sandbox.config("app.twc", recording(&journal));
        wait_for_check(&sandbox, 0, &["ok: 1 watch"]);
    }
    fs::write(&file, "").expect("empty the config");
    daemon.wait_for_log(&["app.twc: registers no watch any more"]);
    sandbox.remove_config("app.twc");
    wait_for_check(&sandbox, 0, &["ok: 0 watches: no .twc file in", "registers one"]);
    assert_eq!(journal.lines(), lines);
}

// The ledger knows what the last daemon ran, so that a restart makes nothing look well.
#[test]
fn a_config_that_was_emptied_while_no_daemon_ran_is_told_of() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let mut daemon = started(&sandbox, &journal);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.config("app.twc", "// The disk was full.");
    sandbox.config("other.twc", "// This one never had a watch.");
    let mut daemon = sandbox.start();
    let said = "app.twc: registers no watch, but the last daemon ran 1 watch of it (\"records\")";
    wait_for_check(&sandbox, 1, &[said]);
    // There are no watches that could stay.
    assert!(daemon.wait_for_log(&["not loaded"]).ends_with("  not loaded"));
    // It is mended: the watch goes on where it stood.
    sandbox.config("app.twc", recording(&journal));
    wait_for_check(&sandbox, 0, &["ok: 1 watch"]);
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert_eq!(daemon.stop(), Some(0));
    // It is removed: the watch is gone, and an empty file of this name is nothing to tell of.
    sandbox.config("app.twc", "");
    let mut daemon = sandbox.start();
    wait_for_check(&sandbox, 1, &[said]);
    sandbox.remove_config("app.twc");
    wait_for_check(&sandbox, 0, &["ok: 0 watches"]);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.config("app.twc", "");
    let daemon = sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    wait_for_check(&sandbox, 0, &["ok: 0 watches"]);
    assert_eq!(journal.lines(), ["one", "two"]);
}

// An unmounted file system, or a link to a release without configs, leaves such a directory.
#[test]
fn an_empty_directory_in_the_place_of_the_configs_removes_nothing() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let _daemon = started(&sandbox, &journal);
    let (configs, aside) = (sandbox.configs(), sandbox.root().join("aside"));
    fs::create_dir(sandbox.root().join("empty")).expect("create a directory");
    fs::rename(&configs, &aside).expect("move the configs");
    fs::rename(sandbox.root().join("empty"), &configs).expect("put an empty directory there");
    wait_for_check(&sandbox, 1, &["another directory than before, and empty"]);
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    fs::remove_dir(&configs).expect("remove the empty directory");
    fs::rename(&aside, &configs).expect("move the configs back");
    wait_for_check(&sandbox, 0, &["ok: 1 watch"]);
    // Nobody but the operator removed the file this time.
    sandbox.remove_config("app.twc");
    wait_for_check(&sandbox, 0, &["ok: 0 watches"]);
}

// `check` says what the daemon would not load.
#[test]
fn check_warns_of_what_registers_nothing_or_twice() {
    let sandbox = Sandbox::directory();
    let check = |path: &str| {
        let path = sandbox.configs().join(path);
        let configs = sandbox.configs();
        sandbox.twitcher(["check"]).arg(path).env("TWITCHER_CONFIG_PATH", configs).finish().expect(0)
    };
    check("").expect_said(&["configs: nothing to check: no file in it ends in .twc"]);
    let text = watch("/n", &exec("true"), "");
    for name in ["upper.TWC", "text.twc.txt", "space.twc ", "zero.twc\u{200b}", ".hidden/a.twc", "good.twc"] {
        sandbox.config(name, &text);
    }
    sandbox.config("copy.twc", &text);
    sandbox.config("empty.twc", "");
    let done = check("");
    for name in ["upper.TWC", "text.twc.txt", "space.twc ", "zero.twc\\u{200b}"] {
        done.expect_said(&[&format!("{name}: not loaded, because its name does not end in .twc")]);
    }
    done.expect_said(&[
        "empty.twc: registers no watch",
        "good.twc: registers a watch of /n that",
        "copy.twc registers, too; its action runs twice",
    ]);
    check(".hidden/a.twc")
        .expect_said(&["the daemon does not load it: a name in its path starts with a dot"]);
    check("upper.TWC").expect_said(&["the daemon does not load it: its name does not end in .twc"]);
}
