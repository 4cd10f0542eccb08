//! Tests of which symbolic links the daemon follows, and which directories it checks on the way.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;

use super::{RESCAN, cure, give_away, sandbox, wait_for_errors};
use crate::harness::{Daemon, Sandbox, Twitcher, exec, set_mode, wait_until, watch};
use crate::reload::saying;

/// The command with another config directory than the sandbox's.
fn with_configs(sandbox: &Sandbox, command: Twitcher, configs: &Path) -> Twitcher {
    let command = command.arg("--config-path").arg(configs).arg("--state-dir").arg(sandbox.state());
    let command = command.arg("--control-socket").arg(sandbox.control_socket());
    command.args(["--log-to-stdout", "--store", &sandbox.nodes.url()])
}

fn start_in(sandbox: &Sandbox, configs: &Path) -> Daemon {
    with_configs(sandbox, sandbox.twitcher(["run"]), configs).start()
}

// "every directory above it", "(a sticky directory owned by root, like `/tmp`, is accepted above a root-owned
// one)"
#[test]
fn directories_above_are_checked_and_sticky_ones_of_root_accepted() {
    let (sandbox, journal) = sandbox();
    let above = sandbox.root().join("above");
    let configs = above.join("between/configs");
    fs::create_dir_all(&configs).expect("make the directories");
    fs::write(configs.join("a.twc"), saying(&journal, "a")).expect("write a config");
    fs::write(configs.join("b.twc"), saying(&journal, "b")).expect("write a config");
    set_mode(&above, 0o777);
    let daemon = start_in(&sandbox, &configs);
    let errors = wait_for_errors(&sandbox, 1);
    let expected = format!("{}: {}: writable by its group or others", configs.display(), above.display());
    assert!(errors[0].0 == "./" && errors[0].1.starts_with(&expected), "{errors:?}");
    sandbox.operator(["reload"]).finish().expect(1);
    assert_eq!((journal.lines(), daemon.log_lines(&["refused"]).len()), (vec![], 1));

    give_away(&above);
    set_mode(&above, 0o1777);
    sandbox.operator(["reload"]).finish().expect(1).expect_said(&[": owned by uid 65534, who"]);
    assert_eq!(journal.lines(), [""; 0]);

    chown(&above, Some(0), None).expect("give it to root");
    sandbox.operator(["reload"]).finish().expect(0);
    wait_until("both to run", || journal.lines().len() == 2);
}

// "If the config directory's own path goes through symlinks, judge what is really passed."
#[test]
fn every_directory_on_the_way_to_a_config_directory_behind_links_is_checked() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "app"));
    let public = sandbox.root().join("public");
    fs::create_dir(&public).expect("make a directory");
    symlink("../configs", public.join("link")).expect("make a link");
    set_mode(&public, 0o777);
    let entrance = sandbox.root().join("entrance");
    symlink("public/link", &entrance).expect("make a link");
    let daemon = start_in(&sandbox, &entrance);
    daemon.wait_for_log(&[&format!("{}: writable by its group or others", public.display()), "chmod go-w"]);
    // In a sticky directory only its owner can replace the link, so the daemon checks the link's owner.
    set_mode(&public, 0o1777);
    give_away(&public.join("link"));
    daemon.signal(Signal::SIGHUP);
    let refusal = daemon.wait_for_log(&[&format!("{}: owned by uid 65534", public.join("link").display())]);
    assert!(refusal.contains("`chown -h root "), "{refusal}");
    cure(&refusal);
    assert_eq!(journal.lines(), [""; 0]);
    daemon.signal(Signal::SIGHUP);
    journal.wait_for(&["app content"]);
}

// "a symlink inside the tree, Kubernetes style `app.twc -> ..data/app.twc`, may pass through directories
// whose names start with a dot, which must be judged too"
#[test]
fn links_within_the_tree_work_and_the_directories_they_pass_are_checked() {
    let (sandbox, journal) = sandbox();
    let configs = sandbox.configs();
    for version in ["1", "2"] {
        sandbox.config(&format!("..v{version}/app.twc"), saying(&journal, version));
    }
    symlink("..v1", configs.join("..data")).expect("make a link");
    symlink("..data/app.twc", configs.join("app.twc")).expect("make a link");
    let daemon = sandbox.start();
    journal.wait_for(&["1 content"]);
    symlink("..v2", configs.join("..new")).expect("make a link");
    set_mode(&configs.join("..v2"), 0o775);
    fs::rename(configs.join("..new"), configs.join("..data")).expect("replace the link");
    let directory = configs.join("..v2");
    let refusal = daemon.wait_for_log(&["app.twc: ", &format!("{}: writable", directory.display())]);
    assert_eq!(journal.lines(), ["1 content"]);
    let cured = Instant::now();
    cure(&refusal);
    journal.wait_for(&["1 content", "2 content"]);
    assert!(cured.elapsed() < RESCAN / 2, "{:?}", cured.elapsed());
    // Links by the target directory's own name and links to directories work, too.
    sandbox.config("..v2/team/more.twc", saying(&journal, "more"));
    symlink(configs.join("..v2/team"), configs.join("team")).expect("make a link");
    journal.wait_for_line("more content");
    wait_for_errors(&sandbox, 0);
}

#[test]
fn links_that_lead_out_are_refused_until_their_targets_take_their_place() {
    let (sandbox, journal) = sandbox();
    let (configs, outside) = (sandbox.configs(), sandbox.root().join("outside"));
    fs::create_dir(&outside).expect("make a directory");
    fs::write(outside.join("a.twc"), saying(&journal, "outside")).expect("write a config");
    symlink(outside.join("a.twc"), configs.join("absolute.twc")).expect("make a link");
    symlink("../outside/a.twc", configs.join("relative.twc")).expect("make a link");
    // This one leads out of the tree and back in.
    symlink("../configs/good.twc", configs.join("returning.twc")).expect("make a link");
    symlink(&outside, configs.join("directory")).expect("make a link");
    // This one is no config.
    symlink("/etc/hostname", configs.join("README")).expect("make a link");
    sandbox.config("good.twc", watch("/good", &exec(&journal.note("good")), ""));
    sandbox.nodes.set("/good", "");
    let daemon = sandbox.start();
    let errors = wait_for_errors(&sandbox, 4);
    let names: Vec<_> = errors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["absolute.twc", "directory/", "relative.twc", "returning.twc"]);
    for (name, error) in &errors {
        let name = name.trim_end_matches('/');
        let said = format!("{}: a link that leads out of the config directory", configs.join(name).display());
        assert!(error.starts_with(&said) && error.contains("to fix it, replace it by its target"), "{error}");
    }
    assert_eq!(journal.lines(), ["good"]);
    fs::remove_file(configs.join("directory")).expect("remove the link");
    fs::rename(&outside, configs.join("directory")).expect("what it points to");
    for name in ["absolute.twc", "relative.twc", "returning.twc"] {
        fs::remove_file(configs.join(name)).expect("remove a link");
    }
    journal.wait_for(&["good", "outside content"]);
    wait_for_errors(&sandbox, 0);
    assert!(daemon.log_lines(&["README"]).is_empty());
}

/// Swaps the two of each pair again and again during `work`, and leaves them as they were.
fn swapping(pairs: &[(PathBuf, PathBuf)], work: impl FnOnce()) {
    let (working, done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let swap = |(one, other): &(PathBuf, PathBuf)| {
                renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).expect("swap");
            };
            loop {
                for pair in pairs {
                    swap(pair);
                    // Without the pause the swaps would outrun the kernel's notifications.
                    let pause = done.recv_timeout(Duration::from_micros(500));
                    swap(pair);
                    if pause == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
            }
        });
        work();
        drop(working);
    });
}

// "Checked on the opened descriptor, not on the path (no race)"
#[test]
fn of_files_swapped_while_the_daemon_reads_it_never_loads_the_evil_one() {
    let (sandbox, journal) = sandbox();
    let (configs, outside) = (sandbox.configs(), sandbox.root().join("outside"));
    let evil = saying(&journal, "evil");
    fs::create_dir(&outside).expect("make a directory");
    fs::write(outside.join("app.twc"), &evil).expect("write a config");
    let mut pairs = Vec::new();
    for n in 0..5 {
        // Swapped are a file and another user's, a file and a link, a directory and a link, and a directory
        // and one that others can write to.
        for kind in ["file", "link", "into", "of"] {
            let (place, aside) = (format!("{kind}{n}"), configs.join(format!(".{kind}{n}")));
            let name = if kind == "file" || kind == "link" {
                format!("{place}.twc")
            } else {
                format!("{place}/app.twc")
            };
            sandbox.config(&name, saying(&journal, &format!("good {kind}{n}")));
            match kind {
                "file" => {
                    fs::write(&aside, &evil).expect("write a config");
                    give_away(&aside);
                }
                "link" => symlink(outside.join("app.twc"), &aside).expect("make a link"),
                "into" => symlink(&outside, &aside).expect("make a link"),
                _ => {
                    fs::create_dir(&aside).expect("make a directory");
                    fs::write(aside.join("app.twc"), &evil).expect("write a config");
                    set_mode(&aside, 0o777);
                }
            }
            let place = configs.join(name.split('/').next().expect("a name"));
            pairs.push((place, aside));
        }
    }
    let daemon = sandbox.start();
    wait_until("all to run", || journal.lines().len() == pairs.len());
    swapping(&pairs, || {
        for _ in 0..20 {
            // Chance decides whether everything can be loaded just then.
            sandbox.operator(["reload"]).finish();
        }
    });
    wait_for_errors(&sandbox, 0);
    sandbox.nodes.set("/n", "end");
    wait_until("all to run again", || {
        journal.lines().iter().filter(|line| line.ends_with(" end")).count() == pairs.len()
    });
    let wrong: Vec<_> = journal.lines().into_iter().filter(|line| !line.starts_with("good")).collect();
    assert_eq!(wrong, [""; 0]);
    assert!(!daemon.log_lines(&["refused"]).is_empty(), "some evil ones were seen");
}
