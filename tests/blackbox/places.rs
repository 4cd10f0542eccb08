//! Configs and directory stores behind links, behind mounts, and where the kernel announces no change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::reload::saying;
use crate::harness::{Daemon, Journal, Sandbox, command, exec, require_root, set_mode, wait_until, watch};

/// Without events, a change would be seen after this many seconds, which no test waits.
const NEVER: &str = "rescan_interval = 3600\n";

/// Lets `link` lead to `target` in one step, like `ln -sfn` and `mv -T`.
fn switch(link: &Path, target: &str) {
    let new = link.with_extension("new");
    symlink(target, &new).expect("make a link");
    fs::rename(new, link).expect("replace the link");
}

/// Makes `app/releases/NAME/DIRECTORY` below the sandbox's root.
fn release(sandbox: &Sandbox, name: &str, directory: &str) -> std::path::PathBuf {
    let path = sandbox.root().join("app/releases").join(name).join(directory);
    fs::create_dir_all(&path).expect("create the release");
    path
}

// "A config change takes effect within 1 s", also if it is made above the config directory.
#[test]
fn a_switched_link_on_the_way_to_the_configs_is_seen() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    for name in ["1", "2", "3"] {
        let configs = release(&sandbox, name, "twc");
        fs::write(configs.join("a.twc"), saying(&journal, name)).expect("write the config");
        fs::write(configs.join("twitcher.toml"), NEVER).expect("write the settings");
        set_mode(&configs.join("twitcher.toml"), 0o600);
    }
    // configs -> app/stage/twc, app/stage -> current, app/current -> releases/1
    let app = sandbox.root().join("app");
    symlink("releases/1", app.join("current")).expect("make a link");
    symlink("current", app.join("stage")).expect("make a link");
    fs::remove_dir(sandbox.configs()).expect("remove the directory");
    symlink(app.join("stage/twc"), sandbox.configs()).expect("make a link");
    let _daemon = sandbox.start();
    journal.wait_for(&["1 content"]);
    switch(&app.join("current"), "releases/2");
    journal.wait_for(&["1 content", "2 content"]);
    // A directory on the way is replaced, and then a file of the release changes.
    fs::rename(app.join("releases"), app.join("old")).expect("move the releases");
    release(&sandbox, "2", "twc");
    fs::write(app.join("releases/2/twc/a.twc"), saying(&journal, "new")).expect("write the config");
    journal.wait_for(&["1 content", "2 content", "new content"]);
    fs::write(app.join("releases/2/twc/a.twc"), saying(&journal, "newer")).expect("write the config");
    journal.wait_for(&["1 content", "2 content", "new content", "newer content"]);
}

#[test]
fn a_switched_link_to_a_module_is_seen() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.settings(NEVER);
    for name in ["1", "2"] {
        sandbox.config(&format!(".releases/{name}/lib.rhai"), format!("fn word() {{ \"{name}\" }}"));
    }
    symlink(".releases/1", sandbox.configs().join(".current")).expect("make a link");
    symlink(".current/lib.rhai", sandbox.configs().join("lib.rhai")).expect("make a link");
    let action = format!("Exec(`{}`)", journal.note("${lib::word()} $(cat)"));
    sandbox.config("app.twc", format!("import \"lib\" as lib;\n{}", watch("/n", &action, "")));
    let _daemon = sandbox.start();
    journal.wait_for(&["1 content"]);
    switch(&sandbox.configs().join(".current"), ".releases/2");
    journal.wait_for(&["1 content", "2 content"]);
    sandbox.config(".releases/2/lib.rhai", "fn word() { \"3\" }");
    journal.wait_for(&["1 content", "2 content", "3 content"]);
}

#[test]
fn a_switched_link_on_the_way_to_a_directory_store_is_seen() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.settings(NEVER);
    for name in ["1", "2"] {
        fs::write(release(&sandbox, name, "nodes").join("n"), name).expect("write the node");
    }
    let app = sandbox.root().join("app");
    symlink("releases/1", app.join("current")).expect("make a link");
    fs::remove_dir(sandbox.root().join("nodes")).expect("remove the directory");
    symlink("app/current/nodes", sandbox.root().join("nodes")).expect("make a link");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let _daemon = sandbox.start();
    journal.wait_for(&["1"]);
    switch(&app.join("current"), "releases/2");
    journal.wait_for(&["1", "2"]);
    fs::write(app.join("releases/2/nodes/n"), "3").expect("write the node");
    journal.wait_for(&["1", "2", "3"]);
    // The link leads nowhere for a moment.
    fs::remove_file(app.join("current")).expect("remove the link");
    symlink("releases/1", app.join("current")).expect("make a link");
    journal.wait_for_last("1");
}

// A hundred hosts that have their configs below a busy directory must not compute for nothing.
#[test]
fn files_of_strangers_beside_the_way_wake_nobody_and_hide_no_switched_link() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.settings(NEVER);
    for name in ["1", "2"] {
        fs::write(release(&sandbox, name, "nodes").join("n"), name).expect("write the node");
    }
    let root = sandbox.root().to_owned();
    symlink("app/releases/1", root.join("current")).expect("make a link");
    fs::remove_dir(root.join("nodes")).expect("remove the directory");
    symlink("current/nodes", root.join("nodes")).expect("make a link");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["1"]);
    let mut files = 0;
    let mut disturb = || {
        fs::write(root.join("stranger"), "content").expect("write a file");
        fs::remove_file(root.join("stranger")).expect("remove it");
        files += 1;
    };
    let (began, before) = (Instant::now(), daemon.process().wakeups());
    while began.elapsed() < Duration::from_secs(3) {
        disturb();
        // So that no two files can share a wakeup.
        thread::sleep(Duration::from_millis(2));
    }
    let (took, wakeups) = (began.elapsed().as_secs(), daemon.process().wakeups() - before);
    // All threads together have some five in a second without strangers, and five more at first.
    assert!(wakeups < 30 + 10 * took, "{wakeups} wakeups in {took} s beside {files} files");
    switch(&root.join("current"), "app/releases/2");
    wait_until("the new content", || {
        disturb();
        journal.lines() == ["1", "2"]
    });
}

/// Runs a command in the mount and user namespaces of the daemon.
#[track_caller]
fn within(daemon: &Daemon, namespaces: &[&str], script: &str) {
    let target = format!("--target={}", daemon.process().0);
    let done = command("nsenter").arg(target).args(namespaces).args(["sh", "-c", script]).status();
    assert!(done.expect("run nsenter").success(), "{script}");
}

// A mount gives no event, and neither does a network file system.
#[test]
fn what_no_event_tells_is_seen_after_the_rescan_interval() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.settings("rescan_interval = 1\n");
    sandbox.nodes.set("/n/a", "1");
    sandbox.config("sub/a.twc", watch("/n/a", &exec(&journal.record()), ""));
    let daemon = sandbox.daemon().under(["unshare", "--mount"]).start();
    journal.wait_for(&["1"]);
    let (nodes, configs) = (sandbox.root().join("nodes/n"), sandbox.configs().join("sub"));
    let other = sandbox.root().join("other");
    fs::create_dir(&other).expect("create a directory");
    fs::write(other.join("a"), "2").expect("write a node");
    within(&daemon, &["--mount"], &format!("mount --bind {} {}", other.display(), nodes.display()));
    journal.wait_for(&["1", "2"]);
    fs::write(other.join("a.twc"), watch("/n/a", &exec(&journal.note("new $(cat)")), "")).expect("write");
    within(&daemon, &["--mount"], &format!("mount --bind {} {}", other.display(), configs.display()));
    journal.wait_for(&["1", "2", "new 2"]);
}

// "A config change takes effect within 1 s": without inotify, the configs are polled.
#[test]
fn configs_are_polled_where_inotify_cannot_start() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.settings(NEVER);
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", saying(&journal, "one"));
    let limit = |most: u32| format!("echo {most} > /proc/sys/user/max_inotify_instances");
    let script = format!("{}; exec \"$@\"", limit(0));
    let daemon =
        sandbox.daemon().under(["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"]).start();
    journal.wait_for(&["one content"]);
    let check = || sandbox.operator(["status", "--check"]).finish();
    let done = check();
    assert_eq!(done.code, Some(1), "{done:#?}");
    done.expect_said(&["configs: ", "cannot follow changes", "fs.inotify.max_user_instances"]);
    sandbox.config("app.twc", saying(&journal, "two"));
    journal.wait_for(&["one content", "two content"]);
    within(&daemon, &["--user"], &limit(9));
    wait_until("the check to be well", || check().code == Some(0));
    sandbox.config("app.twc", saying(&journal, "three"));
    journal.wait_for(&["one content", "two content", "three content"]);
}

// The store and the configs say so alike: both find changes late.
#[test]
fn a_directory_without_watches_of_the_kernel_is_a_problem_and_still_followed() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let script = "echo 0 > /proc/sys/user/max_inotify_watches; exec \"$@\"";
    let _daemon =
        sandbox.daemon().under(["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]).start();
    journal.wait_for(&["1"]);
    let problem = "changes in store default: cannot watch ";
    let check = || sandbox.operator(["status", "--check"]).finish();
    wait_until("the store to say so", || check().text().contains(problem));
    let checked = check();
    assert_eq!(checked.code, Some(1));
    checked.expect_said(&["configs: ", "looking every second", "then restart the daemon"]);
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "2"]);
}

// "A broken config file ... hurts only its own watch": thousands of directories would overflow a stack.
#[test]
fn directories_that_are_nested_too_deep_are_refused_by_name() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    // Paths of this length need steps.
    let deep = "for n in $(seq 2000); do mkdir d && cd d || exit 1; done";
    let made = command("sh").args(["-c", deep]).current_dir(sandbox.configs()).status();
    assert!(made.expect("run sh").success());
    sandbox.config("good.twc", saying(&journal, "good"));
    sandbox.config(&format!("{}ok.twc", "d/".repeat(60)), saying(&journal, "deep"));
    let said = "more than 64 directories deep";
    sandbox.twitcher(["check"]).arg(sandbox.configs()).finish().expect(1).expect_said(&["/d/d/d", said]);
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["/d/d/d", said]);
    journal.wait_for_line("good content");
    journal.wait_for_line("deep content");
    assert!(daemon.is_running());
    let removed = command("rm").args(["-rf", "d"]).current_dir(sandbox.configs()).status();
    assert!(removed.expect("run rm").success());
    wait_until("the check to be well", || {
        sandbox.operator(["status", "--check"]).finish().text() == "ok: 1 watch\n"
    });
}

/// A watch of `/n` whose function writes the content to this file.
fn writing(path: &Path, journal: &Journal) -> String {
    let note = journal.note("done");
    let body = format!("write_file({:?}, event.data); run({note:?});", path.display().to_string());
    watch("/n", &format!("|event| {{ {body} }}"), "")
}

// "write_file(path, text or blob) (atomic)": the link stays, and its target is made.
#[test]
fn write_file_makes_the_target_of_a_link() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    fs::create_dir(sandbox.path("current")).expect("create a directory");
    symlink("current/second", sandbox.path("first")).expect("make a link");
    symlink("../real", sandbox.path("current/second")).expect("make a link");
    sandbox.config("app.twc", writing(&sandbox.path("first"), &journal));
    let _daemon = sandbox.start();
    journal.wait_for(&["done"]);
    assert_eq!(sandbox.read_text("real"), "content");
    assert!(sandbox.path("first").is_symlink() && sandbox.path("current/second").is_symlink());
    assert!(!sandbox.path("real").is_symlink());
}

// A container's file is often a mount point: it can be written, but not replaced.
#[test]
fn write_file_writes_a_mounted_file_in_place_and_says_so() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    for name in ["source", "mounted"] {
        fs::write(sandbox.path(name), "a longer content than the next").expect("write a file");
    }
    sandbox.nodes.set("/n", "new");
    sandbox.config("app.twc", writing(&sandbox.path("mounted"), &journal));
    let (source, mounted) = (sandbox.path("source"), sandbox.path("mounted"));
    let mount = format!("mount --bind {} {} && exec \"$@\"", source.display(), mounted.display());
    let daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &mount, "sh"]).start();
    journal.wait_for(&["done"]);
    assert_eq!(sandbox.read_text("source"), "new");
    daemon.wait_for_log(&["mounted is written in place", "busy"]);
    let left = fs::read_dir(sandbox.path("")).expect("list").count();
    assert_eq!(left, 3, "the journal and the two files");
}
