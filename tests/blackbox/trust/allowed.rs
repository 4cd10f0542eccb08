//! Cases in which untrusted configs are allowed, and what `check` says about them.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use super::{NOBODY, give_away, sandbox, status, wait_for_errors};
use crate::harness::{Twitcher, set_mode, wait_until};
use crate::reload::saying;

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
    let told = "files that users other than root can change are loaded too (--allow-untrusted)";
    let config = sandbox.configs().display().to_string();
    daemon.wait_for_log(&["WARNING", &format!("{config}: {told}")]);
    daemon.wait_for_log(&[
        "WARNING",
        "/team: writable by its group or others",
        "; to fix it, run `chmod go-w ",
    ]);
    daemon.wait_for_log(&["WARNING", "/team/app.twc: owned by uid 65534", "; to fix it, run `chown root "]);
    assert_eq!(wait_for_errors(&sandbox, 0), []);
    assert_eq!(status(&sandbox)["untrusted_allowed"], true);
    let said = "UNTRUSTED CONFIGS ALLOWED: users other than root may decide what root runs";
    sandbox.operator(["status"]).finish().expect(0).expect_said(&[said]);

    drop(daemon);
    let _daemon = sandbox.start();
    wait_for_errors(&sandbox, 2);
    assert_eq!(status(&sandbox)["untrusted_allowed"], false);
    assert!(!sandbox.operator(["status"]).finish().expect(0).text().contains("UNTRUSTED"));
}

#[test]
fn devel_allows_untrusted_configs() {
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

// "`twitcher check`: without PATH, or with paths inside the config directory ..., judges as the daemon
// (error, exit 1, unless --allow-untrusted); other paths get a warning."
#[test]
fn check_trusts_files_of_the_config_directory_as_the_daemon_does() {
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
            finished.expect_said(&[&refused, "refused; to fix it, run `chmod go-w "]);
            assert_eq!(finished.stderr.matches("refused").count(), 1, "once: {}", finished.stderr);
            check(paths, &["--allow-untrusted"], &configs).expect(0).expect_said(&["ok, 1 watch"]);
            let elsewhere = check(paths, &["--allow_untrusted"], &sandbox.root().join("elsewhere"));
            assert!(paths.is_empty() || elsewhere.code == Some(1) || elsewhere.code == Some(0));
        }
        // A daemon with another config directory would not load the file, so `check` only warns.
        let finished = check(&[&configs], &[], &link.join("none")).expect(0);
        finished.expect_said(&[
            &format!("warning: {refused}"),
            "; to fix it, run `chmod go-w ",
            "ok, 1 watch",
        ]);
        set_mode(spoiled, 0o755);
    }
}

// "Without root, actions run as the caller": changed configs give nobody further privileges.
#[test]
fn without_root_any_config_is_trusted() {
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
