//! "running as root, every config file and every directory above it is owned by root and not writable by
//! group or others; regular files only ..., opened without following links out of the tree; otherwise
//! refused, with the `chown`/`chmod` that cures it"

mod allowed;
mod links;
mod settings;

use std::fs;
use std::os::unix::fs::lchown;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, mknod};
use serde_json::Value;

use crate::harness::{self, Journal, Sandbox, exec, require_root, set_mode, wait_for, wait_until, watch};
use crate::reload::{self, saying};

const NOBODY: u32 = 65534;

/// The time between full scans. A change that is loaded sooner was noticed by itself.
const RESCAN: Duration = Duration::from_secs(60);

fn sandbox() -> (Sandbox, Journal) {
    require_root();
    reload::sandbox()
}

fn give_away(path: &Path) {
    lchown(path, Some(NOBODY), None).expect("change the owner");
}

/// Runs the command that a refusal names as its remedy.
#[track_caller]
fn cure(refusal: &str) {
    let remedy = refusal.split_once("refused; to fix it, run `");
    let command = remedy.and_then(|(_, rest)| Some(rest.split_once('`')?.0));
    let command = command.unwrap_or_else(|| panic!("no cure in {refusal:?}"));
    let done = harness::command("/bin/sh").args(["-c", command]).status().expect("run a shell");
    assert!(done.success(), "{command}");
}

/// The part of `status --json` about the daemon.
fn status(sandbox: &Sandbox) -> Value {
    let text = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    serde_json::from_str::<Value>(&text).expect("JSON")["daemon"].clone()
}

/// Waits until this many files and directories are not loaded, and returns them with the reasons.
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

// "POSIX ACLs": the group bits of the mode contain the ACL's mask, and so what any named user may do.
#[test]
fn a_file_that_an_acl_makes_writable_is_not_trusted() {
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

// "what was loaded before stays (a file that fails keeps its last good watches)", "`twitcher reload` /
// `status` / `status --check` show these as config errors"
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
        let cure_named = "refused; to fix it, run `chmod go-w";
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

// "regular files only"
#[test]
fn a_file_that_is_not_regular_is_refused_and_its_kind_is_named() {
    let (sandbox, journal) = sandbox();
    let file = |name: &str| sandbox.configs().join(name);
    nix::unistd::mkfifo(&file("pipe.twc"), Mode::S_IRWXU).expect("make a pipe");
    let _listener = UnixListener::bind(file("socket.twc")).expect("make a socket");
    set_mode(&file("socket.twc"), 0o700);
    let null = nix::sys::stat::makedev(1, 3);
    let device = mknod(&file("device.twc"), SFlag::S_IFCHR, Mode::S_IRWXU, null);
    let mut expected = vec![("pipe.twc", "a named pipe"), ("socket.twc", "a socket")];
    // A container may not be allowed to create a device.
    expected.extend(device.is_ok().then_some(("device.twc", "a device")));
    expected.sort_unstable();
    sandbox.config("app.twc", saying(&journal, "good"));
    let _daemon = sandbox.start();
    let errors = wait_for_errors(&sandbox, expected.len());
    for ((name, error), (path, kind)) in errors.iter().zip(&expected) {
        let path = file(path);
        let said = format!("not a regular file, but {kind}; refused; to fix it, run `rm {}`", path.display());
        assert_eq!(error, &format!("{}: {said}, or rename it", path.display()), "{name}");
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
    // An untrusted directory of the module fails them, too.
    set_mode(&sandbox.configs().join("lib"), 0o777);
    let errors = wait_for_errors(&sandbox, 2);
    assert_eq!(errors[1].0, "lib/", "{errors:?}");
    cure(&errors[1].1);
    wait_for_errors(&sandbox, 0);
    drop(daemon);
}

// "An action can't ... write its state": the daemon warns if an administrator let others write there by
// mistake.
#[test]
fn a_state_directory_that_others_can_change_brings_a_warning() {
    let sandbox = Sandbox::directory();
    let state = sandbox.state();
    fs::create_dir_all(&state).expect("make it");
    set_mode(&state, 0o777);
    let daemon = sandbox.start();
    let cure = format!("`chmod go-w {}`", state.display());
    daemon.wait_for_log(&[&state.display().to_string(), "writable by its group or others", &cure]);
}
