//! "running as root, every config file and every directory above it is owned by root and not writable by group or others;
//! regular files only ..., opened without following links out of the tree; otherwise refused, with the `chown`/`chmod` that
//! cures it"

use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, mknod};
use serde_json::Value;

use crate::harness::{
    self, Daemon, Journal, Sandbox, Twitcher, exec, require_root, set_mode, wait_for, wait_until, watch,
};
use crate::reload::{self, saying};

const NOBODY: u32 = 65534;

/// Unasked looks lie this far apart: what comes sooner was noticed.
const RESCAN: Duration = Duration::from_secs(60);

fn sandbox() -> (Sandbox, Journal) {
    require_root();
    reload::sandbox()
}

fn give_away(path: &Path) {
    lchown(path, Some(NOBODY), None).expect("change the owner");
}

/// Runs the command that a refusal names.
#[track_caller]
fn cure(refusal: &str) {
    let command = refusal.split_once("refused until `").and_then(|(_, rest)| Some(rest.split_once('`')?.0));
    let command = command.unwrap_or_else(|| panic!("no cure in {refusal:?}"));
    let done = harness::command("/bin/sh").args(["-c", command]).status().expect("run a shell");
    assert!(done.success(), "{command}");
}

/// What `status --json` says of the daemon.
fn status(sandbox: &Sandbox) -> Value {
    let text = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    serde_json::from_str::<Value>(&text).expect("JSON")["daemon"].clone()
}

/// The files and directories that are not loaded, with the reason, once there are so many.
#[track_caller]
fn wait_for_errors(sandbox: &Sandbox, count: usize) -> Vec<(String, String)> {
    wait_until("the daemon to answer", || {
        sandbox.operator(["status"]).finish().code == Some(0) && status(sandbox)["state"] == "running"
    });
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    wait_for(&format!("{count} config errors"), || {
        let errors = status(sandbox)["config_errors"].as_array().expect("a list").clone();
        let errors: Vec<_> =
            errors.iter().map(|error| (text(&error["file"]), text(&error["error"]))).collect();
        (errors.len() == count).then_some(errors)
    })
}

/// The command with another config directory than the sandbox's own.
fn with_configs(sandbox: &Sandbox, command: Twitcher, configs: &Path) -> Twitcher {
    let command = command.arg("--config-path").arg(configs).arg("--state-dir").arg(sandbox.state());
    let command = command.arg("--control-socket").arg(sandbox.control_socket());
    command.args(["--log-to-stdout", "--store", &sandbox.nodes.url()])
}

fn start_in(sandbox: &Sandbox, configs: &Path) -> Daemon {
    with_configs(sandbox, sandbox.twitcher(["run"]), configs).start()
}

#[test]
fn each_refusal_names_the_cure_and_once_cured_the_file_loads_at_once() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 9] = [
        ("team/app.twc", give_away, "owned by uid 65534, who"),
        ("team/app.twc", |path| set_mode(path, 0o664), "writable by its group or others, who"),
        ("team/app.twc", |path| set_mode(path, 0o646), "writable by its group or others, who"),
        (
            "team/app.twc",
            |path| {
                give_away(path);
                set_mode(path, 0o666);
            },
            "owned by uid 65534 and writable by its group or others, who",
        ),
        ("team", give_away, "owned by uid 65534, who"),
        ("team", |path| set_mode(path, 0o775), "writable by its group or others, who"),
        ("team", |path| set_mode(path, 0o1777), "writable by its group or others, who"),
        ("", give_away, "owned by uid 65534, who"),
        ("", |path| set_mode(path, 0o1777), "writable by its group or others, who"),
    ];
    for (name, spoil, wrong) in cases {
        let (sandbox, journal) = sandbox();
        sandbox.config("team/app.twc", saying(&journal, "team"));
        let spoiled = sandbox.configs().join(name);
        let spoiled = if name.is_empty() { sandbox.configs() } else { spoiled };
        spoil(&spoiled);
        let daemon = sandbox.start();
        let refusal = daemon.wait_for_log(&[&format!("{}: {wrong} could decide", spoiled.display())]);
        assert_eq!(journal.lines(), [""; 0], "{refusal}");
        let cured = Instant::now();
        cure(&refusal);
        journal.wait_for(&["team content"]);
        assert!(cured.elapsed() < RESCAN / 2, "{name}: {:?}", cured.elapsed());
        assert!(wait_for_errors(&sandbox, 0).is_empty());
        assert_eq!(daemon.log_lines(&["refused"]).len(), 1, "said once");
    }
}

// "POSIX ACLs": whoever an ACL names is in the mask, and that is in the group's bits.
#[test]
fn whom_an_acl_lets_write_is_not_trusted() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "acl"));
    let path = sandbox.configs().join("app.twc");
    let done = harness::command("setfacl").args(["-m", &format!("u:{NOBODY}:rw")]).arg(&path).status();
    if !done.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no setfacl here, or no ACL on this file system");
        return;
    }
    let daemon = sandbox.start();
    let refusal = daemon.wait_for_log(&["app.twc: writable by its group or others"]);
    cure(&refusal);
    journal.wait_for(&["acl content"]);
}

// "what was loaded before stays (a file that fails keeps its last good watches)", "`twitcher reload` / `status` / `status
// --check` show these as config errors"
#[test]
fn what_was_loaded_before_stays_and_operators_are_told() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "good"));
    sandbox.config("other.twc", watch("/other", &exec("true"), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["good content"]);
    let (file, configs) = (sandbox.configs().join("app.twc"), sandbox.configs());
    for (round, spoiled, named) in [("1", &file, "app.twc"), ("2", &configs, "./")] {
        set_mode(spoiled, 0o777);
        let errors = wait_for_errors(&sandbox, 1);
        let said = format!("{}: writable by its group or others", spoiled.display());
        assert!(errors[0].0 == named && errors[0].1.starts_with(&said), "{errors:?}");
        fs::write(&file, saying(&journal, "evil")).expect("write the config");
        let cure_named = "refused until `chmod go-w";
        sandbox.operator(["reload"]).finish().expect(1).expect_said(&[&said, cure_named]);
        let checked = sandbox.operator(["status", "--check"]).finish();
        assert_eq!(checked.code, Some(1));
        checked.expect_said(&[&said, cure_named]);
        sandbox.operator(["status"]).finish().expect(0).expect_said(&["NOT LOADED", &said]);
        sandbox.nodes.set("/n", round);
        journal.wait_for_last(&format!("good {round}"));
        fs::write(&file, saying(&journal, "good")).expect("write the config");
        cure(&errors[0].1);
        wait_for_errors(&sandbox, 0);
        sandbox.operator(["reload"]).finish().expect(0);
        sandbox.operator(["status", "--check"]).finish().expect(0);
    }
    assert_eq!(journal.lines(), ["good content", "good 1", "good 2"]);
    assert_eq!(daemon.log_lines(&["other.twc"]).len(), 1, "loaded once, and never removed");
}

// "every directory above it", "(a sticky directory owned by root, like `/tmp`, is accepted above a root-owned one)"
#[test]
fn directories_above_are_judged_and_sticky_ones_of_root_accepted() {
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
fn a_config_directory_behind_links_is_judged_by_what_they_lead_through() {
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
    // Where only the owner of a link can replace it, its owner is who matters.
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

// "a symlink inside the tree, Kubernetes style `app.twc -> ..data/app.twc`, may pass through directories whose names start
// with a dot, which must be judged too"
#[test]
fn links_that_stay_in_the_tree_work_and_what_they_pass_is_judged() {
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
    // Also by the directory's own name, and in a directory that is a link.
    sandbox.config("..v2/team/more.twc", saying(&journal, "more"));
    symlink(configs.join("..v2/team"), configs.join("team")).expect("make a link");
    journal.wait_for_line("more content");
    wait_for_errors(&sandbox, 0);
}

#[test]
fn links_that_lead_out_are_refused_until_what_they_point_to_is_there() {
    let (sandbox, journal) = sandbox();
    let (configs, outside) = (sandbox.configs(), sandbox.root().join("outside"));
    fs::create_dir(&outside).expect("make a directory");
    fs::write(outside.join("a.twc"), saying(&journal, "outside")).expect("write a config");
    symlink(outside.join("a.twc"), configs.join("absolute.twc")).expect("make a link");
    symlink("../outside/a.twc", configs.join("relative.twc")).expect("make a link");
    // Out, and in again.
    symlink("../configs/good.twc", configs.join("returning.twc")).expect("make a link");
    symlink(&outside, configs.join("directory")).expect("make a link");
    // None of these is a config.
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
        assert!(
            error.starts_with(&said) && error.contains("what it points to is there in its place"),
            "{error}"
        );
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

// "regular files only"
#[test]
fn what_is_no_regular_file_is_refused_by_its_kind() {
    let (sandbox, journal) = sandbox();
    let file = |name: &str| sandbox.configs().join(name);
    nix::unistd::mkfifo(&file("pipe.twc"), Mode::S_IRWXU).expect("make a pipe");
    let _listener = UnixListener::bind(file("socket.twc")).expect("make a socket");
    set_mode(&file("socket.twc"), 0o700);
    let null = nix::sys::stat::makedev(1, 3);
    let device = mknod(&file("device.twc"), SFlag::S_IFCHR, Mode::S_IRWXU, null);
    let mut expected = vec![("pipe.twc", "a named pipe"), ("socket.twc", "a socket")];
    // A container may not be allowed to make one.
    expected.extend(device.is_ok().then_some(("device.twc", "a device")));
    expected.sort_unstable();
    sandbox.config("app.twc", saying(&journal, "good"));
    let _daemon = sandbox.start();
    let errors = wait_for_errors(&sandbox, expected.len());
    for ((name, error), (path, kind)) in errors.iter().zip(&expected) {
        let path = file(path);
        let said = format!("not a regular file, but {kind}; refused until `rm {}`", path.display());
        assert_eq!(error, &format!("{}: {said}, or another name", path.display()), "{name}");
        cure(error);
    }
    wait_for_errors(&sandbox, 0);
    journal.wait_for(&["good content"]);
}

#[test]
fn an_untrusted_module_fails_its_importers_until_it_is_cured() {
    let (sandbox, journal) = sandbox();
    sandbox.config("lib/word.rhai", r#"fn word() { "one" }"#);
    let action = exec(&journal.note("WORD $(cat)")).replace("WORD", "\" + w::word() + \"");
    sandbox.config("app.twc", format!("import \"lib/word\" as w;\n{}", watch("/n", &action, "")));
    let daemon = sandbox.start();
    journal.wait_for(&["one content"]);
    let module = sandbox.configs().join("lib/word.rhai");
    fs::write(&module, r#"fn word() { "two" }"#).expect("write the module");
    set_mode(&module, 0o666);
    let errors = wait_for_errors(&sandbox, 1);
    let said = "cannot import \"lib/word\": lib/word.rhai: writable by its group or others";
    assert!(errors[0].0 == "app.twc" && errors[0].1.contains(said), "{errors:?}");
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["one content", "one new"]);
    cure(&errors[0].1);
    journal.wait_for(&["one content", "one new", "two new"]);
    // The same of its directory.
    set_mode(&sandbox.configs().join("lib"), 0o777);
    let errors = wait_for_errors(&sandbox, 2);
    assert_eq!(errors[1].0, "lib/", "{errors:?}");
    cure(&errors[1].1);
    wait_for_errors(&sandbox, 0);
    drop(daemon);
}

// "The same for `twitcher.toml`, 0600 when it holds secrets"
#[test]
fn an_untrusted_settings_file_stops_daemon_and_clients_with_the_cure() {
    let (sandbox, _journal) = sandbox();
    let (configs, file) = (sandbox.configs(), sandbox.configs().join("twitcher.toml"));
    let socket = format!("[control]\nsocket = {:?}\n", sandbox.control_socket());
    let store = format!("store = {:?}\n{socket}", sandbox.nodes.url());
    let secret = format!("{store}[[auth]]\nscheme = \"digest\"\ncredentials = \"a:b\"\n");
    type Spoil = fn(&Path);
    let cases: [(&str, &Path, Spoil, &str); 5] = [
        (&store, &file, give_away, "chown root"),
        (&store, &file, |path| set_mode(path, 0o620), "chmod go-w"),
        (&store, &configs, |path| set_mode(path, 0o775), "chmod go-w"),
        (&secret, &file, |path| set_mode(path, 0o640), "chmod 600"),
        (&secret, &file, |path| set_mode(path, 0o604), "chmod 600"),
    ];
    for (text, spoiled, spoil, command) in cases {
        fs::write(&file, text).expect("write the settings");
        set_mode(&file, 0o600);
        spoil(spoiled);
        let run = || {
            let daemon = sandbox.daemon_without_store();
            [
                daemon.arg("--once"),
                sandbox.daemon_without_store().arg("--dry-run"),
                sandbox.twitcher(["get", "/n"]).env("TWITCHER_CONFIG_PATH", &configs),
                // Its credentials would go there.
                sandbox.client(["get", "/n"]).env("TWITCHER_CONFIG_PATH", &configs),
                sandbox.twitcher(["check"]).env("TWITCHER_CONFIG_PATH", &configs),
            ]
        };
        let said = format!("`{command} {}`", spoiled.display());
        let mut refusal = String::new();
        for command in run() {
            let finished = command.finish().expect(1);
            finished.expect_said(&[&said]);
            refusal = finished.stderr;
        }
        let status = || {
            let status = sandbox.twitcher(["status"]).with_default_socket();
            status.env("TWITCHER_CONFIG_PATH", &configs).finish().expect(1)
        };
        assert!(status().stderr.contains(&said), "{text}");
        // Where nothing is asked of the file, it does not matter.
        assert!(!sandbox.operator(["status"]).finish().expect(1).stderr.contains("refused"));
        cure(&refusal);
        for command in run() {
            command.finish().expect(0);
        }
        assert!(!status().stderr.contains("refused"));
    }
    // Without secrets, everybody may read it. With the flag, it is as it was, and said.
    fs::write(&file, &store).expect("write the settings");
    set_mode(&file, 0o644);
    sandbox.daemon_without_store().arg("--once").finish().expect(0);
    fs::write(&file, &secret).expect("write the settings");
    set_mode(&file, 0o646);
    let finished = sandbox.daemon_without_store().args(["--once", "--allow-untrusted"]).finish().expect(0);
    finished.expect_said(&[
        "WARNING",
        "twitcher.toml: writable by its group or others",
        "holds secrets that",
    ]);
}

// In a directory that others can write, a settings file that is not there says nothing, and the rest is refused.
#[test]
fn without_settings_an_untrusted_directory_is_an_error_of_the_configs_alone() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "app"));
    set_mode(&sandbox.configs(), 0o777);
    sandbox.client(["get", "/n"]).env("TWITCHER_CONFIG_PATH", sandbox.configs()).finish().expect(0);
    for flag in ["--once", "--dry-run"] {
        sandbox.daemon().arg(flag).finish().expect(1).expect_said(&["configs: writable", "chmod go-w"]);
    }
    assert_eq!(journal.lines(), [""; 0]);
    sandbox.daemon().args(["--once", "--allow_untrusted"]).finish().expect(0);
    assert_eq!(journal.lines(), ["app content"]);
}

/// Puts the two of each pair in each other's place, again and again while it works, and leaves them as they were.
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
                    // No faster than the kernel can tell of it.
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
fn what_is_swapped_while_the_daemon_reads_is_never_the_evil_one() {
    let (sandbox, journal) = sandbox();
    let (configs, outside) = (sandbox.configs(), sandbox.root().join("outside"));
    let evil = saying(&journal, "evil");
    fs::create_dir(&outside).expect("make a directory");
    fs::write(outside.join("app.twc"), &evil).expect("write a config");
    let mut pairs = Vec::new();
    for n in 0..5 {
        // A file and another's, a file and a link, a directory and a link, a directory and another's.
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
            // Whether all of it can be loaded just then is up to chance.
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
    assert!(!daemon.log_lines(&["refused"]).is_empty(), "some were met");
}

// "`--allow-untrusted` ... (... implied by --devel) allows it for development ... and says so in `status`"
#[test]
fn what_is_allowed_is_loaded_with_warnings_and_status_says_so() {
    let (sandbox, journal) = sandbox();
    let outside = sandbox.root().join("outside.twc");
    fs::write(&outside, saying(&journal, "outside")).expect("write a config");
    symlink(&outside, sandbox.configs().join("link.twc")).expect("make a link");
    sandbox.config("team/app.twc", saying(&journal, "team"));
    set_mode(&sandbox.configs().join("team"), 0o777);
    give_away(&sandbox.configs().join("team/app.twc"));
    let daemon = sandbox.daemon().arg("--allow-untrusted").start();
    wait_until("both to run", || journal.lines().len() == 2);
    let told = "what others than root can change is loaded as well (--allow-untrusted)";
    let config = sandbox.configs().display().to_string();
    daemon.wait_for_log(&["WARNING", &format!("{config}: {told}")]);
    daemon.wait_for_log(&["WARNING", "/team: writable by its group or others", "; `chmod go-w "]);
    daemon.wait_for_log(&["WARNING", "/team/app.twc: owned by uid 65534", "; `chown root "]);
    assert_eq!(wait_for_errors(&sandbox, 0), []);
    assert_eq!(status(&sandbox)["untrusted_allowed"], true);
    let said = "UNTRUSTED CONFIGS ALLOWED: others than root may decide what root runs";
    sandbox.operator(["status"]).finish().expect(0).expect_said(&[said]);

    drop(daemon);
    let _daemon = sandbox.start();
    wait_for_errors(&sandbox, 2);
    assert_eq!(status(&sandbox)["untrusted_allowed"], false);
    assert!(!sandbox.operator(["status"]).finish().expect(0).text().contains("UNTRUSTED"));
}

#[test]
fn devel_allows_it_too() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "devel"));
    set_mode(&sandbox.configs(), 0o777);
    let devel = sandbox.twitcher(["run", "--devel", "--store", &sandbox.nodes.url()]);
    let devel = devel.arg("--config-path").arg(sandbox.configs());
    let _daemon = devel.arg("--control-socket").arg(sandbox.control_socket()).start();
    journal.wait_for(&["devel content"]);
    wait_for_errors(&sandbox, 0);
    assert_eq!(status(&sandbox)["untrusted_allowed"], true);
}

// "`twitcher check`: without PATH, or with paths inside the config directory ..., judges as the daemon (error, exit 1, unless
// --allow-untrusted); other paths get a warning."
#[test]
fn check_judges_as_the_daemon_what_lies_in_the_config_directory() {
    let (sandbox, journal) = sandbox();
    sandbox.config("team/app.twc", format!("import \"../word\" as w;\n{}", saying(&journal, "x")));
    sandbox.config("word.rhai", "");
    let (configs, link) = (sandbox.configs(), sandbox.root().join("link"));
    let (team, file) = (configs.join("team"), configs.join("team/app.twc"));
    symlink(&configs, &link).expect("make a link");
    let check = |paths: &[&Path], flags: &[&str], config_path: &Path| {
        let command = sandbox.twitcher(["check"]).env("TWITCHER_CONFIG_PATH", config_path);
        let command = flags.iter().fold(command, Twitcher::arg);
        paths.iter().fold(command, Twitcher::arg).finish()
    };
    let inside: [&[&Path]; 5] = [&[], &[&configs], &[&team], &[&file], &[&link.join("team")]];
    for paths in inside {
        check(paths, &[], &configs).expect(0).expect_said(&["app.twc: ok, 1 watch"]);
    }
    for (spoiled, mode) in [(&file, 0o666), (&team, 0o777), (&configs, 0o777)] {
        set_mode(spoiled, mode);
        let refused = format!("{}: writable by its group or others", spoiled.display());
        for paths in inside {
            let finished = check(paths, &[], &configs).expect(1);
            finished.expect_said(&[&refused, "refused until `chmod go-w "]);
            assert_eq!(finished.stderr.matches("refused").count(), 1, "once: {}", finished.stderr);
            check(paths, &["--allow-untrusted"], &configs).expect(0).expect_said(&["ok, 1 watch"]);
            let elsewhere = check(paths, &["--allow_untrusted"], &sandbox.root().join("elsewhere"));
            assert!(paths.is_empty() || elsewhere.code == Some(0), "{elsewhere:?}");
        }
        // The daemon of another config directory does not load it.
        let finished = check(&[&configs], &[], &link.join("none")).expect(0);
        finished.expect_said(&[&format!("warning: {refused}"), "; `chmod go-w ", "ok, 1 watch"]);
        set_mode(spoiled, 0o755);
    }
}

// "Without root, actions run as the caller": who can change the configs can do no more than that.
#[test]
fn without_root_nobody_is_judged() {
    let (sandbox, journal) = sandbox();
    let outside = sandbox.root().join("outside.twc");
    fs::write(&outside, saying(&journal, "outside")).expect("write a config");
    symlink(&outside, sandbox.configs().join("link.twc")).expect("make a link");
    sandbox.config("app.twc", saying(&journal, "app"));
    set_mode(&sandbox.configs().join("app.twc"), 0o666);
    set_mode(&sandbox.configs(), 0o777);
    chown(sandbox.state(), Some(NOBODY), None).expect("give the state away");
    let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--pdeathsig", "KILL"];
    let daemon = sandbox.daemon().binary(&sandbox.copy_of_the_binary());
    let daemon = daemon.under(["setpriv"]).under(user).under(["--"]).start();
    wait_until("both to run", || journal.lines().len() == 2);
    assert!(daemon.log_lines(&["writable by"]).is_empty());
    assert!(daemon.log_lines(&["untrusted"]).is_empty());
}

// "An action can't ... write its state": nor may others whom an administrator let in by mistake do it unnoticed.
#[test]
fn a_state_directory_that_others_can_change_is_warned_of() {
    let sandbox = Sandbox::directory();
    let state = sandbox.state();
    fs::create_dir_all(&state).expect("make it");
    set_mode(&state, 0o777);
    let daemon = sandbox.start();
    let cure = format!("`chmod go-w {}`", state.display());
    daemon.wait_for_log(&[&state.display().to_string(), "writable by its group or others", &cure]);
}
