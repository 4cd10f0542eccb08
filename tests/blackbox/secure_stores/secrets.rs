//! Secrets of stores: their sources, and the places that they must not reach.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use super::client;
use crate::harness::secure::{Login, PASSWORD, Secure, USERNAME, identify, paths};
use crate::harness::{Authority, Process, Sandbox, Server, Validity, exec, wait_until, watch};

// "Secrets (from twitcher.toml or systemd LoadCredential=) never reach children, logs, status [...] or
// command lines."
#[test]
fn secrets_appear_nowhere() {
    const KEY: &str = "-----BEGIN PRIVATE KEY-----";
    let secure = Secure::start(Login::Mandatory);
    let sandbox = Sandbox::directory();
    let tls = secure.tls(&sandbox);
    let [_, _, key] = paths(&sandbox);
    let credentials = sandbox.root().join("credentials");
    fs::create_dir(&credentials).unwrap();
    for (name, text) in [
        ("password", format!("{PASSWORD}\n")),
        ("digest", "we:digest-secret".to_owned()),
        ("key", fs::read_to_string(&key).unwrap()),
    ] {
        sandbox.private(&credentials.join(name), &text);
    }
    let key = format!("key = {key:?}");
    let secret_key = fs::read_to_string(credentials.join("key")).unwrap();
    let secret_key = secret_key.lines().nth(1).unwrap();
    assert!(tls.contains(&key));
    let by_credentials = format!(
        "store = \"zk://{}\"\n[[auth]]\nscheme = \"digest\"\ncredentials = {{ credential = \"digest\" }}\n{}\
         [sasl]\nusername = {USERNAME:?}\npassword = {{ credential = \"password\" }}\n",
        secure.address("localhost"),
        tls.replace(&key, "key = { credential = \"key\" }"),
    );
    sandbox.settings(&by_credentials);
    let journal = sandbox.journal();
    let gate = sandbox.gate();
    let action = format!(
        "{}; {}; env; cat /proc/$PPID/cmdline >&2",
        journal.note("$TWITCHER_EVENT $(cat)"),
        gate.pass()
    );
    sandbox.config("app.twc", watch("/n", &exec(&action), ""));
    wait_until("the node to be set", || {
        let set = client(&sandbox, ["set", "/n", "1"]).env("CREDENTIALS_DIRECTORY", &credentials);
        set.finish().code == Some(0)
    });
    let daemon =
        sandbox.daemon_without_store().env("CREDENTIALS_DIRECTORY", &credentials).arg("--debug").start();
    journal.wait_for(&["load 1"]);
    let of_children = || {
        let read = |process: Process, file: &str| {
            fs::read_to_string(format!("/proc/{}/{file}", process.0)).unwrap_or_default()
        };
        let mut processes = daemon.process().children();
        let grandchildren: Vec<_> = processes.iter().flat_map(|process| process.children()).collect();
        processes.extend(grandchildren);
        assert!(!processes.is_empty());
        processes
            .iter()
            .map(|process| format!("{}{}", read(*process, "environ"), read(*process, "cmdline")))
            .collect::<String>()
    };
    let children = of_children();
    gate.open();
    // The messages about a lost connection must not contain secrets either.
    secure.server.down();
    daemon.wait_for_log(&["not connected"]);
    let mut seen = vec![children, daemon.log().join("\n")];
    for args in [["status", "--json"], ["history", "--json"]] {
        seen.push(sandbox.operator(args).finish().expect(0).text());
    }
    seen.push(fs::read_to_string(format!("/proc/{}/cmdline", daemon.process().0)).unwrap());
    let state = fs::read_dir(sandbox.state())
        .unwrap()
        .flatten()
        .map(|file| fs::read(file.path()).unwrap_or_default());
    seen.extend(state.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    for text in &seen {
        for secret in [PASSWORD, "digest-secret", KEY, secret_key] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        assert!(!text.contains("CREDENTIALS_DIRECTORY="), "{text}");
    }
}

// "the daemon must" have its credentials. `check` looks for them only if systemd provides some.
#[test]
fn a_missing_credential_is_named_with_the_line_for_the_unit() {
    let sandbox = Sandbox::directory();
    sandbox.settings(
        "store = \"zk://localhost:1\"\n[stores.eu]\nurl = \"zk://localhost:1\"\n\
         [stores.eu.sasl]\nusername = \"a\"\npassword = { credential = \"eu-password\" }\n",
    );
    let remedy = [
        "twitcher.toml:",
        "stores.eu.sasl.password: credential \"eu-password\" is not there",
        "LoadCredential=eu-password:",
    ];
    sandbox.daemon_without_store().finish().expect(1).expect_said(&remedy);
    client(&sandbox, ["get", "--store", "eu", "/n"]).finish().expect(1).expect_said(&remedy);
    client(&sandbox, ["check"]).finish().expect(0);
    let empty = sandbox.root().join("credentials");
    fs::create_dir(&empty).unwrap();
    let unreadable = ["stores.eu.sasl.password: credential \"eu-password\" cannot be read", "No such file"];
    client(&sandbox, ["check"])
        .env("CREDENTIALS_DIRECTORY", &empty)
        .finish()
        .expect(1)
        .expect_said(&unreadable);
}

// A secret has a file of its own, so that every user can read the settings and finds the store. A user who
// may not read the secret fails, and goes nowhere else.
#[test]
fn a_secret_in_a_file_of_its_own_leaves_the_settings_readable() {
    let secure = Secure::start(Login::Mandatory);
    let sandbox = Sandbox::directory();
    let tls = secure.tls(&sandbox);
    let password = sandbox.root().join("password");
    sandbox.private(&password, &format!("{PASSWORD}\n"));
    sandbox.settings(&format!(
        "store = \"zk://{}\"\n{tls}[sasl]\nusername = {USERNAME:?}\npassword = {{ file = {password:?} }}\n",
        secure.address("localhost"),
    ));
    let settings = sandbox.configs().join("twitcher.toml");
    fs::set_permissions(&settings, Permissions::from_mode(0o644)).unwrap();
    super::done(&sandbox, ["set", "/n", "1"]);
    assert_eq!(client(&sandbox, ["get", "/n"]).finish().expect(0).text(), "1");
    client(&sandbox, ["check"]).finish().expect(0);

    let copy = sandbox.copy_of_the_binary();
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let refused = client(&sandbox, ["get", "/n"]).binary(&copy).under(as_nobody).finish().expect(1);
    let place = format!("sasl.password: {} cannot be read", password.display());
    refused.expect_said(&[&place, "Permission denied"]);

    fs::set_permissions(&password, Permissions::from_mode(0o644)).unwrap();
    let refused = |cure: &str| {
        let daemon = sandbox.daemon_without_store().arg("--once");
        for command in [client(&sandbox, ["get", "/n"]), client(&sandbox, ["check"]), daemon] {
            command.finish().expect(1).expect_said(&["sasl.password", cure]);
        }
    };
    refused(&format!("`chmod 600 {}`", password.display()));
    // Its owner could write another secret.
    fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
    chown(&password, Some(65534), None).unwrap();
    refused(&format!("chown root {}", password.display()));
    // A pipe without a writer would be an empty password.
    fs::remove_file(&password).unwrap();
    nix::unistd::mkfifo(&password, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("not a regular file");
}

// "`twitcher check` validates the blocks"
#[test]
fn check_finds_settings_with_which_a_store_cannot_be_used() {
    let sandbox = Sandbox::directory();
    let authority = Authority::new("good");
    let [ca, cert, key] = paths(&sandbox);
    fs::write(&ca, authority.pem()).unwrap();
    identify(&sandbox, &authority.issue(&[], Validity::Now));
    let tls = format!("ca = {ca:?}\ncert = {cert:?}\nkey = {key:?}\n");
    let check = |text: &str, code: i32, parts: &[&str]| {
        sandbox.settings(text);
        client(&sandbox, ["check"]).finish().expect(code).expect_said(parts);
    };
    check(&format!("[tls]\n{tls}"), 0, &[]);
    check(&format!("[stores.eu]\nurl = \"zk://a\"\n[stores.eu.tls]\n{tls}"), 0, &[]);
    check(&format!("[tls]\nca = {ca:?}\ncert = {cert:?}\n"), 1, &["twitcher.toml:", "tls.key: missing"]);
    check(&format!("[tls]\nca = {ca:?}\nkey = {key:?}\n"), 1, &["twitcher.toml:", "tls.cert: missing"]);
    check("[tls]\n", 1, &["twitcher.toml:1:1", "missing field `ca`"]);
    check(
        "[tls]\nca = \"/x\"\nverify = false\n",
        1,
        &["unknown field `verify`, expected one of `ca`, `cert`, `key`"],
    );
    check("[sasl]\nusername = \"a\"\n", 1, &["missing field `password`"]);
    check("[sasl]\nusername = \"a\"\npassword = 7\n", 1, &["expected a text, or { file = PATH }, or"]);
    check("[sasl]\nusername = \"\"\npassword = \"x\"\n", 1, &["sasl.username: \"\" cannot be sent"]);
    check(
        "[sasl]\nusername = \"a\"\npassword = { credential = \"a/b\" }\n",
        1,
        &["is no name of a credential"],
    );
    check(
        &format!("store = \"zk://a b:1\"\n[tls]\n{tls}"),
        1,
        &["twitcher.toml:", "store: store \"zk://a b:1\""],
    );
    check(&format!("store = \"zk://a..b:1\"\n[tls]\n{tls}"), 1, &["twitcher.toml:", "tls: ", "\"a..b:1\""]);
    check(
        "[stores.eu]\nurl = \"zk://a\"\n[stores.eu.tls]\nca = \"/nonexistent\"\n",
        1,
        &["twitcher.toml:", "stores.eu.tls.ca: /nonexistent: No such file"],
    );
    // Also where no store uses them: a mistake is told before one does.
    check(
        "store = \"dir:/nodes\"\n[tls]\nca = \"/nonexistent\"\n",
        1,
        &["twitcher.toml:", "tls.ca: /nonexistent: No such file"],
    );
    sandbox.private(&key, &authority.issue(&[], Validity::Now).key);
    check(
        &format!("[tls]\n{tls}"),
        1,
        &["twitcher.toml:", "tls.key: it is not the key of the certificate in tls.cert"],
    );
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    check(
        &format!("[tls]\n{tls}"),
        1,
        &[
            "tls.key: ",
            "client.key: holds secrets that users other than its owner can access; refused; to fix it, run \
             `chmod 600 ",
        ],
    );
}
