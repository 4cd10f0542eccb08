//! The directory of a `dir:` store, and the chroot of a ZooKeeper: what is seen if they are not there.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Daemon, Journal, Sandbox, command, exec, require_root, wait_until, watch};

/// Without events, a change would be seen after this many seconds, which no test waits.
const NEVER: &str = "rescan_interval = 3600\n";

fn root(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().join("nodes")
}

/// Journals the event and the content of `/n`, also when it is deleted.
fn watching_deletion(sandbox: &Sandbox) -> Journal {
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    journal
}

/// Returns what `status --check` prints, or nothing if all is well.
fn problems(sandbox: &Sandbox) -> String {
    let done = sandbox.operator(["status", "--check"]).finish();
    assert!(matches!(done.code, Some(0 | 1)), "{done:?}");
    if done.code == Some(0) { String::new() } else { done.text() }
}

#[track_caller]
fn expect_outage(sandbox: &Sandbox, said: &str) {
    wait_until("the outage in the check", || problems(sandbox).contains(said));
    let problems = problems(sandbox);
    assert!(problems.starts_with("store default: not connected: cannot use"), "{problems}");
    sandbox.operator(["status"]).finish().expect(0).expect_said(&["NOT CONNECTED", said]);
}

/// Says that the store is there, and that nothing ran meanwhile.
#[track_caller]
fn expect_back(sandbox: &Sandbox, daemon: &Daemon, journal: &Journal, lines: &[&str]) {
    wait_until("the check to be well", || problems(sandbox).is_empty());
    assert_eq!(daemon.log_lines(&["not connected"]).len(), 1, "it is said once");
    sandbox.nodes.set("/n", "last");
    let expected: Vec<_> = lines.iter().copied().chain(["changed last"]).collect();
    journal.wait_for(&expected);
}

// "Nothing is lost" and "Nothing runs for nothing": a store that is away deletes no node.
#[test]
fn a_directory_that_is_moved_away_is_an_outage_and_no_node_is_deleted() {
    let sandbox = Sandbox::directory();
    sandbox.settings(NEVER);
    sandbox.nodes.set("/n", "content");
    let journal = watching_deletion(&sandbox);
    let daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    let aside = sandbox.root().join("aside");
    fs::rename(root(&sandbox), &aside).expect("move the store away");
    expect_outage(&sandbox, "create it, or mount its file system");
    fs::rename(&aside, root(&sandbox)).expect("move the store back");
    expect_back(&sandbox, &daemon, &journal, &["load content"]);
}

#[test]
fn a_directory_that_is_removed_is_an_outage_and_what_it_has_when_it_is_back_runs() {
    let sandbox = Sandbox::directory();
    sandbox.settings(NEVER);
    sandbox.nodes.set("/n", "content");
    sandbox.nodes.set("/gone", "content");
    let journal = watching_deletion(&sandbox);
    let gone = sandbox.journal_named("gone");
    sandbox.config("gone.twc", watch("/gone", &exec(&gone.record_event()), "run_on_delete: true"));
    let _daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    gone.wait_for(&["load content"]);
    fs::remove_dir_all(root(&sandbox)).expect("remove the store");
    expect_outage(&sandbox, "create it, or mount its file system");
    // Another directory, which is still to be filled.
    fs::create_dir(root(&sandbox)).expect("create the store");
    expect_outage(&sandbox, "is empty, and another one than before");
    assert_eq!((journal.lines().len(), gone.lines().len()), (1, 1));
    sandbox.nodes.set("/n", "content");
    // Now there is a store, and it does not have the other node.
    gone.wait_for(&["load content", "deleted "]);
    journal.wait_for(&["load content", "created content"]);
    wait_until("the check to be well", || problems(&sandbox).is_empty());
}

// At boot, a file system may be mounted late.
#[test]
fn a_directory_that_is_missing_at_the_start_is_an_outage_until_it_is_there() {
    let sandbox = Sandbox::directory();
    sandbox.settings(NEVER);
    sandbox.nodes.set("/n", "content");
    let journal = sandbox.journal();
    let policy = "run_on_delete: true, run_on_load: CHANGED";
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), policy));
    let mut daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    wait_until("the end of the run", || {
        sandbox.operator(["status"]).finish().text().lines().any(|line| line.contains("success"))
    });
    assert_eq!(daemon.stop(), Some(0));
    let aside = sandbox.root().join("aside");
    fs::rename(root(&sandbox), &aside).expect("move the store away");
    let daemon = sandbox.start();
    expect_outage(&sandbox, "create it, or mount its file system");
    fs::rename(&aside, root(&sandbox)).expect("move the store back");
    expect_back(&sandbox, &daemon, &journal, &["load content"]);
}

// The mount point of a file system that is mounted late looks like a store in which every node was deleted.
#[test]
fn an_empty_mount_point_at_the_start_is_an_outage_and_the_cache_has_an_answer() {
    let sandbox = Sandbox::directory();
    sandbox.settings(NEVER);
    sandbox.nodes.set("/n", "content");
    let journal = sandbox.journal();
    let policy = "run_on_delete: true, run_on_load: CHANGED";
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), policy));
    let mut daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    wait_until("the end of the run", || {
        sandbox.operator(["status"]).finish().text().lines().any(|line| line.contains("success"))
    });
    assert_eq!(daemon.stop(), Some(0));
    let aside = sandbox.root().join("aside");
    fs::rename(root(&sandbox), &aside).expect("move the store away");
    fs::create_dir(root(&sandbox)).expect("leave a mount point");
    let daemon = sandbox.start();
    expect_outage(&sandbox, "is empty, and another one than before; is its file system not mounted?");
    let url = sandbox.nodes.url();
    let found = sandbox.operator(["get", "--cached", "/n", "--store", &url]).finish().expect(0);
    assert_eq!(found.text(), "content");
    found.expect_said(&["was last known to be current"]);
    fs::rename(&aside, root(&sandbox)).expect("mount the store over the empty directory");
    expect_back(&sandbox, &daemon, &journal, &["load content"]);
}

// It is the directory that the last daemon knew.
#[test]
fn a_directory_that_is_emptied_while_no_daemon_runs_is_no_outage() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let journal = watching_deletion(&sandbox);
    let mut daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    wait_until("the end of the run", || {
        sandbox.operator(["status"]).finish().text().lines().any(|line| line.contains("success"))
    });
    assert_eq!(daemon.stop(), Some(0));
    sandbox.nodes.remove("/n");
    let daemon = sandbox.start();
    journal.wait_for(&["load content", "deleted "]);
    assert_eq!(problems(&sandbox), "");
    assert!(daemon.log_lines(&["not connected"]).is_empty());
}

#[test]
fn a_file_in_place_of_the_directory_is_an_outage() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let journal = watching_deletion(&sandbox);
    let _daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    let aside = sandbox.root().join("aside");
    fs::rename(root(&sandbox), &aside).expect("move the store away");
    fs::write(root(&sandbox), "no directory").expect("write a file");
    wait_until("the reason in the check", || problems(&sandbox).contains("Not a directory"));
    fs::remove_file(root(&sandbox)).expect("remove the file");
    fs::rename(&aside, root(&sandbox)).expect("move the store back");
    wait_until("the check to be well", || problems(&sandbox).is_empty());
    sandbox.nodes.set("/n", "last");
    journal.wait_for(&["load content", "changed last"]);
}

/// Runs a command in the mount namespace of the daemon.
#[track_caller]
fn within(daemon: &Daemon, script: &str) {
    let target = format!("--target={}", daemon.process().0);
    let done = command("nsenter").arg(target).args(["--mount", "sh", "-c", script]).status();
    assert!(done.expect("run nsenter").success(), "{script}");
}

// A mount point without its file system looks like a store in which every node was deleted.
#[test]
fn a_directory_whose_file_system_is_unmounted_is_an_outage_until_it_is_mounted_again() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.settings("rescan_interval = 1\n");
    let disk = sandbox.root().join("disk");
    fs::create_dir(&disk).expect("create a directory");
    fs::write(disk.join("n"), "content").expect("write a node");
    let journal = watching_deletion(&sandbox);
    let (disk, nodes) = (disk.display(), root(&sandbox));
    let nodes = nodes.display();
    let mount = format!("mount --bind {disk} {nodes}");
    let script = format!("{mount} && exec \"$@\"");
    let daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &script, "sh"]).start();
    journal.wait_for(&["load content"]);
    within(&daemon, &format!("umount -l {nodes}"));
    expect_outage(&sandbox, "is its file system not mounted?");
    within(&daemon, &mount);
    wait_until("the check to be well", || problems(&sandbox).is_empty());
    within(&daemon, &format!("echo last > {disk}/n"));
    journal.wait_for(&["load content", "changed last"]);
}

// The file system as a whole: the kernel tells of its unmount, and its device is another one when it is back.
#[test]
fn a_file_system_that_is_gone_is_an_outage() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.settings(NEVER);
    let journal = watching_deletion(&sandbox);
    let nodes = root(&sandbox);
    let nodes = nodes.display();
    let mount = |content: &str| format!("mount -t tmpfs tmpfs {nodes} && echo {content} > {nodes}/n");
    let script = format!("{} && exec \"$@\"", mount("content"));
    let daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &script, "sh"]).start();
    journal.wait_for(&["load content"]);
    within(&daemon, &format!("umount {nodes}"));
    expect_outage(&sandbox, "is its file system not mounted?");
    within(&daemon, &mount("new"));
    journal.wait_for(&["load content", "changed new"]);
    wait_until("the check to be well", || problems(&sandbox).is_empty());
}

// "A missing node (or missing parents) is a normal state": emptied in place, the store is still there.
#[test]
fn a_directory_that_is_emptied_in_place_is_no_outage() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let journal = watching_deletion(&sandbox);
    let daemon = sandbox.start();
    journal.wait_for(&["load content"]);
    sandbox.nodes.remove("/n");
    journal.wait_for(&["load content", "deleted "]);
    assert_eq!(problems(&sandbox), "");
    assert!(daemon.log_lines(&["not connected"]).is_empty());
}

// A chroot that is misspelled would have every watch wait for ever.
#[test]
fn a_missing_chroot_is_said_until_it_is_there() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), "run_on_delete: true"));
    let daemon = sandbox.daemon_on(&format!("{}/typo", sandbox.nodes.url())).start();
    daemon.wait_for_log(&["WARNING", "chroot", "/typo does not exist", "twitcher set"]);
    let problem = problems(&sandbox);
    assert!(problem.starts_with("store default: the chroot ") && problem.contains("/typo"), "{problem}");
    sandbox.operator(["status"]).finish().expect(0).expect_said(&["DEGRADED", "/typo does not exist"]);
    sandbox.nodes.set("/typo/n", "new");
    journal.wait_for_line_where("the new node", |line| line.ends_with(" new"));
    wait_until("the check to be well", || problems(&sandbox).is_empty());
    // It is a node like any other, and the server knows that it is gone.
    sandbox.nodes.remove("/typo/n");
    sandbox.nodes.remove("/typo");
    journal.wait_for_last("deleted ");
    wait_until("the chroot in the check", || problems(&sandbox).contains("/typo does not exist"));
    assert_eq!(daemon.log_lines(&["not connected"]).len(), 0);
}
