//! A `twitcher.toml` that others can change or read.

use std::fs;
use std::path::Path;

use super::{cure, give_away, sandbox};
use crate::harness::set_mode;
use crate::reload::saying;

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
                // The client would send the file's credentials to this store.
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
        // A command that does not read the file does not complain.
        assert!(!sandbox.operator(["status"]).finish().expect(1).stderr.contains("refused"));
        cure(&refusal);
        for command in run() {
            command.finish().expect(0);
        }
        assert!(!status().stderr.contains("refused"));
    }
    // Everybody may read a file without secrets. With the flag, anything is accepted with a warning.
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

// There is no settings file in a directory that others can write to: only the configs are refused.
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
