//! "One bad thing stays one bad thing."

use std::fs;

use crate::harness::{Sandbox, command, exec, require_root, wait_until, watch};

/// Configs that must fail: a name, the text, and a word that the error must contain.
const BAD_CONFIGS: [(&str, &str, &str); 14] = [
    ("loop", "loop { }", "loop.twc"),
    ("memory", r#"let x = "x"; loop { x += x; }"#, "memory.twc"),
    ("memory-list", "let x = []; loop { x.push([x]); }", "memory-list.twc"),
    ("recursion", "fn f(n) { f(n + 1) + 1 } f(0);", "recursion.twc"),
    ("sleep", "sleep(3600);", "sleep"),
    ("sleep-float", "sleep(3600.0);", "sleep"),
    ("syntax", "RegisterWatch(#{ znode: ", "syntax.twc:1:"),
    (
        "user",
        r#"RegisterWatch(#{ znode: "/n", action: Exec("true"), uid: "no-such-user" });"#,
        "no-such-user",
    ),
    ("relative", r#"RegisterWatch(#{ znode: "n", action: Exec("true") });"#, "relative.twc:1:1"),
    ("timeout", r#"RegisterWatch(#{ znode: "/n", action: Exec("true"), timeout: -1 });"#, "timeout.twc:1:1"),
    ("signal", r#"RegisterWatch(#{ znode: "/n", action: Exec("true"), notify_signal: 99 });"#, "99"),
    ("empty", r#"RegisterWatch(#{ znode: "/n", action: Exec([]) });"#, "empty.twc:1:"),
    ("throws", r#"throw "thrown words";"#, "thrown words"),
    ("unknown", "NoSuchFunction();", "NoSuchFunction"),
];

/// Arrays nested deeply enough to overflow the stack of an interpreter without a limit.
fn nested() -> String {
    format!("let x = {}{};", "[".repeat(100_000), "]".repeat(100_000))
}

fn bad_configs() -> Vec<(&'static str, String, &'static str)> {
    let fixed = BAD_CONFIGS.map(|(name, text, said)| (name, text.to_owned(), said));
    fixed.into_iter().chain([("nested", nested(), "nested.twc")]).collect()
}

// "Evaluating a config ... ends within 2 s whatever the script does", "exit 1 and show where".
#[test]
fn check_refuses_every_bad_config_and_says_which() {
    for (name, text, said) in bad_configs() {
        let sandbox = Sandbox::directory();
        sandbox.config(&format!("{name}.twc"), &text);
        let finished = sandbox.twitcher(["check"]).arg(sandbox.configs()).finish();
        finished.expect(1).expect_said(&[&format!("{name}.twc"), said]);
    }
}

// "A broken config file ... hurts only its own watch, and is said once, clearly, with the file".
#[test]
fn bad_configs_hurt_no_good_one() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    let bad = bad_configs();
    for (name, text, _) in &bad {
        sandbox.config(&format!("{name}.twc"), text);
    }
    sandbox.config("zzz-good.twc", watch("/n", &exec(&journal.record()), ""));
    let mut daemon = sandbox.start();
    journal.wait_for(&["one"]);
    for (name, _, said) in &bad {
        daemon.wait_for_log(&[&format!("{name}.twc"), said]);
    }
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert!(daemon.is_running());
}

// A config that registers nothing is no error: files that are switched off look like that.
#[test]
fn a_config_that_registers_nothing_is_valid() {
    let sandbox = Sandbox::directory();
    for (name, text) in [("empty.twc", ""), ("comment.twc", "// Nothing yet."), ("value.twc", "let x = 1;")] {
        sandbox.config(name, text);
    }
    sandbox.twitcher(["check"]).arg(sandbox.configs()).finish().expect(0);
}

// The file is not UTF-8.
#[test]
fn a_config_that_is_no_text_is_refused() {
    let sandbox = Sandbox::directory();
    fs::write(sandbox.configs().join("junk.twc"), b"\xff\xfe\0\0").expect("write junk");
    sandbox.twitcher(["check"]).arg(sandbox.configs()).finish().expect(1).expect_said(&["junk.twc"]);
}

// "a full or read-only state directory": if it cannot be made at all, the daemon either goes on without it or
// ends with an error that names it.
#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let state = sandbox.path("journal").join("state");
    let mut daemon = sandbox.daemon_with_state(&state).start();
    daemon.wait_for_log(&[&state.display().to_string()]);
    wait_until("it to go on, or to end with 1", || {
        journal.count("content") == 1 || (!daemon.is_running() && daemon.wait_for_exit() == Some(1))
    });
}

// "a full or read-only state directory" hurts no run.
#[test]
fn a_read_only_state_directory_stops_no_action() {
    with_state_mounted("-o ro,size=64k");
}

#[test]
fn a_full_state_directory_stops_no_action() {
    with_state_mounted("-o size=4k,nr_inodes=1");
}

/// Runs a daemon whose state directory is a file system of its own, mounted with these options.
#[track_caller]
fn with_state_mounted(options: &str) {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let mount = format!("mount -t tmpfs {options} tmpfs {} && exec \"$@\"", sandbox.state().display());
    let mut daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &mount, "sh"]).start();
    journal.wait_for(&["one"]);
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    assert!(daemon.is_running());
}

// "no descriptors left": "A command that cannot be started is an error of that run ..., never a crash, never
// a stuck watch."
#[test]
fn a_daemon_without_descriptors_says_so_and_recovers() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "one");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), r#"description: "starved""#));
    let mut daemon = sandbox.start();
    journal.wait_for(&["one"]);
    let process = daemon.process();
    let limit = |number: &str| {
        let done = command("prlimit")
            .args([&format!("--pid={}", process.0), &format!("--nofile={number}:")])
            .status();
        assert!(done.expect("run prlimit").success());
    };
    // The limit allows stdin, stdout and stderr, so that the daemon can open nothing more.
    limit("3");
    sandbox.nodes.set("/n", "two");
    daemon.wait_for_log(&["starved", "open files"]);
    limit("1000");
    // "Nothing is lost": the run starts as soon as that is possible.
    journal.wait_for(&["one", "two"]);
    sandbox.nodes.set("/n", "three");
    journal.wait_for(&["one", "two", "three"]);
    assert!(daemon.is_running());
}

// To read one of these files would never end.
#[test]
fn pipes_and_devices_among_configs_and_nodes_block_nobody() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let nodes = sandbox.root().join("nodes");
    for (directory, suffix) in [(sandbox.configs(), ".twc"), (nodes, "")] {
        let pipe = directory.join(format!("pipe{suffix}"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("make a pipe");
        for device in ["zero", "tty"] {
            let link = directory.join(format!("{device}{suffix}"));
            std::os::unix::fs::symlink(format!("/dev/{device}"), link).expect("make a link");
        }
        fs::create_dir(directory.join(format!("directory{suffix}"))).expect("make a directory");
    }
    sandbox.nodes.set("/n", "one");
    let bad: String =
        ["/pipe", "/zero", "/tty"].map(|node| watch(node, &exec(&journal.record()), "")).concat();
    sandbox.config("app.twc", [bad, watch("/n", &exec(&journal.record()), "")].concat());
    let mut daemon = sandbox.start();
    journal.wait_for(&["one"]);
    sandbox.nodes.set("/n", "two");
    journal.wait_for(&["one", "two"]);
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("reloaded")), ""));
    journal.wait_for(&["one", "two", "reloaded"]);
    assert!(daemon.is_running());
}

// "a script can loop, exhaust memory or overflow its stack and the daemon only logs it": the same holds if
// somebody kills the evaluator.
#[test]
fn a_killed_evaluator_is_replaced() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    let daemon = sandbox.start();
    for n in 0..3 {
        sandbox.config("app.twc", watch("/n", &exec(&journal.note(&n.to_string())), ""));
        journal.wait_for_line(&n.to_string());
        for child in daemon.process().children().into_iter().filter(|child| child.is_alive()) {
            child.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
