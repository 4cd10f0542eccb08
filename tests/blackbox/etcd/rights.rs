//! Logins: tokens that expire, rights that are taken away, and TLS with client certificates.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::record;
use crate::harness::secure_etcd::{PASSWORD, PREFIX, SecureEtcd, login};
use crate::harness::wait::throughout;
use crate::harness::{Daemon, Journal, Sandbox, Server, command, wait_until};

/// The time in which a token that nobody uses expires, in the tests of that.
const TOKEN_TTL: Duration = Duration::from_secs(2);

/// A daemon that watches `/n` and `/still` and is logged in without TLS.
struct Fixture {
    secure: SecureEtcd,
    sandbox: Sandbox,
    journal: Journal,
    still: Journal,
    daemon: Daemon,
}

impl Fixture {
    #[track_caller]
    fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &login(PASSWORD))
    }

    /// systemd provides the daemon with the credential `etcd`, the password.
    #[track_caller]
    fn start_with(flags: &[&str], settings: &str) -> Self {
        let secure = SecureEtcd::start(1, flags);
        let sandbox = Sandbox::directory();
        sandbox.settings(settings);
        fs::create_dir(credentials(&sandbox)).expect("create a directory");
        sandbox.private(&credentials(&sandbox).join("etcd"), PASSWORD);
        ["/n", "/still"].iter().for_each(|node| secure.client().set(node, b"1"));
        let [journal, still] = record(&sandbox, ["/n", "/still"]);
        let store = format!("etcd://{}{PREFIX}", secure.plaintext_address());
        let daemon = sandbox.daemon_on(&store).env("CREDENTIALS_DIRECTORY", credentials(&sandbox)).start();
        [&journal, &still].iter().for_each(|journal| journal.wait_for(&["load 1"]));
        Self { secure, sandbox, journal, still, daemon }
    }

    #[track_caller]
    fn set(&self, node: &str, content: &str) {
        self.secure.client().set(node, content.as_bytes());
    }
}

fn credentials(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().join("credentials")
}

// "nothing is lost over ... expired or revoked tokens"
#[test]
fn an_update_after_the_token_has_expired_is_not_lost() {
    let ttl = format!("--auth-token-ttl={}", TOKEN_TTL.as_secs());
    expect_no_loss_over_expiry(&Fixture::start(&[&ttl]));
}

// A token that the server signed instead of remembering it expires even while it is used, and is worth
// nothing once anybody's rights have changed.
#[test]
fn an_update_after_a_signed_token_has_expired_is_not_lost() {
    let keys = Sandbox::directory();
    let [private, public] = ["private", "public"].map(|name| keys.path(name).display().to_string());
    openssl(&["genrsa", "-traditional", "-out", &private, "2048"]);
    openssl(&["rsa", "-in", &private, "-pubout", "-out", &public]);
    let ttl = TOKEN_TTL.as_secs();
    let token = format!("--auth-token=jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl={ttl}s");
    let it = Fixture::start(&[&token]);
    expect_no_loss_over_expiry(&it);
    it.secure.as_root(["role", "add", "other"]);
    it.set("/n", "3");
    it.journal.wait_for_last("changed 3");
}

fn openssl(args: &[&str]) {
    let output = command("openssl").args(args).output().expect("start openssl");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn expect_no_loss_over_expiry(it: &Fixture) {
    // The promise is about a length of time: nobody can see that a token has expired.
    throughout(TOKEN_TTL * 2, || {});
    it.set("/n", "2");
    it.journal.wait_for(&["load 1", "changed 2"]);
    // What begins to be watched needs a token that is good.
    it.set("/new", "1");
    let [new] = record(&it.sandbox, ["/new"]);
    new.wait_for_line_where("the new watch", |line| line.ends_with(" 1"));
    throughout(TOKEN_TTL * 2, || {});
    it.set("/new", "2");
    new.wait_for_last("changed 2");
    it.set("/still", "2");
    it.still.wait_for(&["load 1", "changed 2"]);
}

// A server that restarts knows no token that it has given before: the password, here a credential of systemd
// ("`password` (or `{ credential = … }`)"), is needed again each time.
#[test]
fn an_update_after_the_server_forgot_its_tokens_is_not_lost() {
    let by_credential = login("x").replace("\"x\"", "{ credential = \"etcd\" }");
    assert!(by_credential.contains("password = { credential = \"etcd\" }\n"), "{by_credential}");
    let it = Fixture::start_with(&[], &by_credential);
    for content in ["2", "3"] {
        it.secure.members[0].down();
        it.secure.members[0].up();
        it.set("/n", content);
        it.journal.wait_for_last(&format!("changed {content}"));
    }
    it.set("/still", "2");
    it.still.wait_for(&["load 1", "changed 2"]);
    let get = |credentials: &str| {
        let store = format!("etcd://{}{PREFIX}", it.secure.plaintext_address());
        let get = it.sandbox.twitcher(["get", "/n", "--store", &store]);
        let get = get.env("TWITCHER_CONFIG_PATH", it.sandbox.configs());
        get.env("CREDENTIALS_DIRECTORY", it.sandbox.root().join(credentials)).finish()
    };
    assert_eq!(get("credentials").expect(0).text(), "3");
    let wrong = it.sandbox.root().join("wrong");
    fs::create_dir(&wrong).expect("create a directory");
    it.sandbox.private(&wrong.join("etcd"), "another");
    get("wrong").expect(1).expect_said(&["check username (twitcher) and password"]);
    get("none").expect(1).expect_said(&["etcd.password: credential \"etcd\" cannot be read"]);
}

// "revoked rights": what may not be read is unreadable, not deleted, and is read as soon as it may be.
#[test]
fn a_right_that_is_taken_away_deletes_nothing_and_heals() {
    let it = Fixture::start(&[]);
    it.secure.revoke();
    it.set("/n", "2");
    // A watch that was set before the right was taken away may still tell of this.
    it.daemon.signal(nix::sys::signal::Signal::SIGHUP);
    it.secure.members[0].down();
    it.secure.members[0].up();
    it.daemon.wait_for_log(&["permission"]);
    it.set("/n", "3");
    it.secure.grant();
    let lines = it.journal.wait_for_last("changed 3");
    assert!(
        lines.iter().all(|line| !line.starts_with("deleted") && !line.starts_with("created")),
        "{lines:?}"
    );
    it.set("/still", "2");
    it.still.wait_for(&["load 1", "changed 2"]);
}

// "a wrong password is reported in one line, and the connection is tried again with bounded pauses."
#[test]
fn a_password_that_is_changed_is_named_and_the_new_one_is_taken() {
    let it = Fixture::start(&[]);
    it.secure.set_password("other");
    it.secure.members[0].down();
    it.secure.members[0].up();
    it.set("/n", "2");
    it.daemon.wait_for_log(&["not connected", "password"]);
    assert_eq!(it.journal.lines(), ["load 1"]);
    it.secure.set_password(PASSWORD);
    it.journal.wait_for(&["load 1", "changed 2"]);
}

// "expired or revoked tokens": a login that is taken away while nothing else happens is missed within the
// session timeout, `status` says what is wrong, and it heals without a restart of anything.
#[test]
fn a_login_that_is_taken_away_is_said_and_heals() {
    type Change = fn(&SecureEtcd);
    let it = Fixture::start(&[]);
    let status = || it.sandbox.operator(["status"]).finish().expect(0).text();
    let changes: [(Change, Change); 2] = [
        (|secure| secure.set_password("other"), |secure| secure.set_password(PASSWORD)),
        (SecureEtcd::remove_user, SecureEtcd::add_user),
    ];
    let mut last = 1;
    for (take, give) in changes {
        take(&it.secure);
        wait_until("the outage in the status", || {
            let status = status();
            status.contains("NOT CONNECTED") && status.contains("check username")
        });
        last += 1;
        it.set("/n", &last.to_string());
        give(&it.secure);
        it.journal.wait_for_last(&format!("changed {last}"));
        wait_until("the store in the status", || !status().contains("NOT CONNECTED"));
    }
    it.set("/still", "2");
    it.still.wait_for(&["load 1", "changed 2"]);
}

// "revoked rights", while the connection goes on: the server goes on telling watches of changes, and the
// daemon finds out by itself.
#[test]
fn a_right_that_is_taken_away_from_a_running_watch_is_said_and_heals() {
    let it = Fixture::start(&[]);
    it.secure.revoke();
    it.daemon.wait_for_log(&["/n", "permission"]);
    let store = format!("etcd://{}{PREFIX}", it.secure.plaintext_address());
    let set = it.sandbox.twitcher(["set", "/n", "x", "--retry", "600", "--store", &store]);
    // A refusal is final.
    let set = set.env("TWITCHER_CONFIG_PATH", it.sandbox.configs()).finish().expect(1);
    set.expect_said(&["no permission to write node /n"]);
    it.secure.grant();
    it.set("/n", "2");
    let lines = it.journal.wait_for_last("changed 2");
    assert_eq!(lines, ["load 1", "changed 2"]);
    it.set("/still", "2");
    it.still.wait_for(&["load 1", "changed 2"]);
}

// "Three members, TLS with client certificates and auth really on": leaders die one after the other, under
// updates.
#[test]
fn three_members_with_tls_and_a_login_lose_nothing_when_one_after_the_other_dies() {
    let secure = SecureEtcd::start(3, &[]);
    let sandbox = Sandbox::directory();
    secure.configure(&sandbox);
    let client = secure.client();
    ["/n", "/still"].iter().for_each(|node| client.set(node, b"0"));
    let [journal, still] = record(&sandbox, ["/n", "/still"]);
    let daemon = sandbox.daemon_on(&format!("etcd://{}{PREFIX}", secure.address())).start();
    journal.wait_for(&["load 0"]);
    still.wait_for(&["load 0"]);
    let mut number = 0;
    for _ in 0..3 {
        wait_until("a leader", || secure.members.iter().any(Server::leads));
        let leader = secure.members.iter().find(|member| member.leads());
        let Some(leader) = leader else { continue };
        for _ in 0..20 {
            number += 1;
            // The first content has version 1.
            client.set_version("/n", number, number.to_string().as_bytes());
        }
        leader.down();
        for _ in 0..20 {
            number += 1;
            // The first content has version 1.
            client.set_version("/n", number, number.to_string().as_bytes());
        }
        journal.wait_for_last(&format!("changed {number}"));
        leader.up();
    }
    client.set("/still", b"1");
    still.wait_for(&["load 0", "changed 1"]);
    // A client without a certificate is refused, and so is one without a login.
    let get = |settings: &str| {
        let other = Sandbox::directory();
        other.settings(settings);
        let store = format!("etcd://{}{PREFIX}", secure.address());
        let get = other.twitcher(["get", "/n", "--store", &store, "--session-timeout", "4"]);
        get.env("TWITCHER_CONFIG_PATH", other.configs()).finish().expect(1)
    };
    let [ca, cert, key] = crate::harness::secure::paths(&sandbox);
    get(&format!("[tls]\nca = {ca:?}\n{}", login(PASSWORD))).expect_said(&["certificate"]);
    get(&format!("[tls]\nca = {ca:?}\ncert = {cert:?}\nkey = {key:?}\n")).expect_said(&["permission", "/n"]);
    drop(daemon);
}

// A role for what is below a service is enough to announce members in it. With more, the service gets a key.
#[test]
fn a_user_that_may_write_only_below_a_service_announces_members_without_its_key() {
    let secure = SecureEtcd::start(1, &[]);
    secure.revoke();
    let below = format!("{PREFIX}/services/web/");
    secure.as_root(["role", "grant-permission", "app", "readwrite", &below, "--prefix=true"]);
    let sandbox = Sandbox::directory();
    sandbox.settings(&login(PASSWORD));
    let store = format!("etcd://{}{PREFIX}", secure.plaintext_address());
    let client = secure.client();
    for has_key in [false, true] {
        let register = sandbox.twitcher(["register", "/services/web", "h:1", "--store", &store]);
        let mut register = register.arg("--config-path").arg(sandbox.configs()).start();
        register.wait_for_log(&[": it is announced"]);
        assert!(client.get("/services/web/h:1").is_some());
        assert_eq!(register.stop(), Some(0));
        assert!(client.get("/services/web/h:1").is_none());
        let service = client.get("/services/web").map(|(data, _)| data);
        assert_eq!(service, has_key.then(Vec::new));
        secure.grant();
    }
}
