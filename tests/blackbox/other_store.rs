//! Settings that cannot be read: no command goes to a default store or daemon instead.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::harness::{Sandbox, Twitcher, require_root, set_mode};

const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// Each way in which the settings cannot be read: what the error names, the remedy, and whether only users
/// other than root cannot read them.
type Spoil = fn(configs: &Path);
const WAYS: [(&str, &str, Spoil, bool); 9] = [
    (
        "twitcher.toml",
        "repair the link",
        |configs| {
            fs::remove_file(configs.join("twitcher.toml")).unwrap();
            symlink("twitcher.toml", configs.join("twitcher.toml")).unwrap();
        },
        false,
    ),
    (
        "twitcher.toml: not a regular file",
        "repair the file",
        |configs| {
            fs::remove_file(configs.join("twitcher.toml")).unwrap();
            mkfifo(&configs.join("twitcher.toml"), Mode::from_bits_truncate(0o644)).unwrap();
        },
        false,
    ),
    (
        "twitcher.toml: larger than 1 MiB",
        "repair the file",
        |configs| {
            let file = fs::File::options().write(true).open(configs.join("twitcher.toml")).unwrap();
            file.set_len(1 << 40).unwrap();
        },
        false,
    ),
    (
        "twitcher.toml",
        "make it readable for this user (its secrets can",
        |configs| set_mode(&configs.join("twitcher.toml"), 0o600),
        true,
    ),
    ("configs", "make it readable for this user", |configs| set_mode(configs, 0o700), true),
    (
        "twitcher.toml",
        "repair the link",
        |configs| {
            fs::remove_file(configs.join("twitcher.toml")).unwrap();
            symlink("nowhere", configs.join("twitcher.toml")).unwrap();
        },
        false,
    ),
    (
        "twitcher.toml",
        "repair the file",
        |configs| {
            fs::remove_file(configs.join("twitcher.toml")).unwrap();
            fs::create_dir(configs.join("twitcher.toml")).unwrap();
        },
        false,
    ),
    ("configs", "correct TWITCHER_CONFIG_PATH", |configs| fs::remove_dir_all(configs).unwrap(), false),
    (
        "configs",
        "correct TWITCHER_CONFIG_PATH",
        |configs| {
            fs::remove_dir_all(configs).unwrap();
            fs::write(configs, "").unwrap();
        },
        false,
    ),
];

// "A settings file that is there and cannot be read is an error of every command that needs a store, unless
// `--store` is given"
#[test]
fn a_command_that_cannot_read_its_settings_goes_to_no_other_store_or_daemon() {
    require_root();
    for (named, remedy, spoil, only_others) in WAYS {
        let sandbox = Sandbox::directory();
        let (configs, copy) = (sandbox.configs(), sandbox.copy_of_the_binary());
        sandbox.nodes.set("/n", "content");
        let socket = sandbox.root().join("here.sock");
        let settings = format!("store = {:?}\n[control]\nsocket = {socket:?}\n", sandbox.nodes.url());
        fs::write(configs.join("twitcher.toml"), settings).unwrap();
        let as_user = |command: Twitcher| {
            let command = command.binary(&copy).env("TWITCHER_CONFIG_PATH", &configs);
            if only_others { command.under(NOBODY) } else { command }
        };
        let get = || as_user(sandbox.twitcher(["get", "/n"]));
        let status = || as_user(sandbox.twitcher(["status"]).with_default_socket());
        assert_eq!(get().finish().expect(0).text(), "content");
        status().finish().expect(1).expect_said(&["here.sock", "does the daemon run?"]);

        spoil(&configs);
        for command in [
            &["get", "/n"][..],
            &["set", "/n", "x"],
            &["poke", "/n"],
            &["ls", "/"],
            &["rm", "/n"],
            &["rm", "--recursive", "/n"],
            &["watch", "/n", "--count", "1"],
            &["get", "/n", "--store", "default"],
        ] {
            let whole = command.iter().fold(sandbox.twitcher([]), |whole, word| whole.arg(word));
            let refused = as_user(whole).finish().expect(1);
            refused.expect_said(&[named, "unknown which store", remedy, "--store", "TWITCHER_STORE"]);
        }
        for command in [
            &["status"][..],
            &["reload"],
            &["history"],
            &["logs", "1"],
            &["trigger", "w"],
            &["pause", "w"],
            &["resume", "w"],
            &["kill", "w"],
        ] {
            let whole = command.iter().fold(sandbox.twitcher([]), |whole, word| whole.arg(word));
            let refused = as_user(whole.with_default_socket()).finish().expect(1);
            refused.expect_said(&[named, "unknown which daemon", remedy, "--control-socket"]);
        }
        // These need no settings.
        let url = sandbox.nodes.url();
        assert_eq!(get().args(["--store", &url]).finish().expect(0).text(), "content");
        assert_eq!(get().env("TWITCHER_STORE", &url).finish().expect(0).text(), "content");
        let elsewhere = sandbox.root().join("elsewhere.sock");
        status().env("TWITCHER_CONTROL_SOCKET", &elsewhere).finish().expect(1).expect_said(&["elsewhere"]);
        assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"content"[..]));
    }
}

// A daemon goes to no default store either.
#[test]
fn a_daemon_that_cannot_read_its_settings_does_not_start() {
    for (named, _, spoil, only_others) in WAYS {
        if only_others || named == "configs" {
            continue;
        }
        let sandbox = Sandbox::directory();
        sandbox.settings("");
        spoil(&sandbox.configs());
        sandbox.daemon_without_store().arg("--once").finish().expect(1).expect_said(&[named]);
        let check = sandbox.twitcher(["check"]).env("TWITCHER_CONFIG_PATH", sandbox.configs());
        check.finish().expect(1).expect_said(&[named]);
    }
}
