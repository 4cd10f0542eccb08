//! Logins and certificates that the server refuses, and certificates of the server that the daemon refuses.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::{client, count, done, set};
use crate::harness::secure::{Login, PASSWORD, Secure, identify, login, paths};
use crate::harness::wait::throughout;
use crate::harness::{Authority, Daemon, Journal, Sandbox, Server, Validity, exec, load, wait_until, watch};

fn configure(sandbox: &Sandbox, server: &str, settings: &str) {
    sandbox.settings(&format!("store = \"zk://{server}\"\nsession_timeout = 9\n{settings}"));
}

// "Wrong password, expired certificate, wrong hostname: one clear line", from a client command.
#[test]
fn each_refusal_is_explained_with_its_remedy() {
    let secure = Secure::start(Login::Mandatory);
    let stranger = Authority::new("stranger");
    let sandbox = Sandbox::directory();
    let [ca, cert, key] = paths(&sandbox);
    let good_tls = secure.tls(&sandbox);
    let only_ca = format!("[tls]\nca = {ca:?}\n");
    let good_login = login(PASSWORD);
    let refused = |server: &str, settings: &str, parts: &[&str]| {
        configure(&sandbox, server, settings);
        let told = client(&sandbox, ["get", "/n"]).finish().expect(1);
        told.expect_said(parts);
        assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
        assert!(!told.stderr.contains(PASSWORD), "{}", told.stderr);
    };
    let at = secure.address("localhost");
    configure(&sandbox, &at, &format!("{good_tls}{good_login}"));
    done(&sandbox, ["ls", "/"]);
    // Everything works, except that the node does not exist.
    refused(&at, &format!("{good_tls}{good_login}"), &["/n does not exist"]);
    refused(
        &at,
        &format!("{good_tls}{}", login("wrong")),
        &["refused our credentials: check username (twitcher) and"],
    );
    refused(&at, &good_tls, &["lets in nobody without credentials; give `sasl`"]);
    refused(
        &at,
        &format!("{only_ca}{good_login}"),
        &["wants a client certificate: give cert and key in [tls]"],
    );
    let by_address = secure.address("127.0.0.1");
    let not_for = ["certificate is not for 127.0.0.1 but for ", "localhost", "subjectAltName"];
    refused(&by_address, &format!("{good_tls}{good_login}"), &not_for);
    let plaintext = secure.server.address();
    refused(&plaintext, &format!("{good_tls}{good_login}"), &["no TLS answers there", "secureClientPort"]);
    refused(&at, &good_login, &["TLS is spoken there", "[tls]"]);
    fs::write(&ca, stranger.pem()).unwrap();
    let unknown = ["is of a CA that is not in tls.ca", "ca.pem"];
    refused(&at, &format!("{good_tls}{good_login}"), &unknown);
    fs::write(&ca, secure.authority.pem()).unwrap();
    identify(&sandbox, &stranger.issue(&[], Validity::Now));
    let whose = ["the server refuses our certificate (", "client.pem"];
    refused(&at, &format!("{good_tls}{good_login}"), &whose);
    identify(&sandbox, &secure.authority.issue(&[], Validity::Expired));
    refused(&at, &format!("{good_tls}{good_login}"), &whose);

    // Unusable files are reported before the client connects.
    fs::write(&cert, secure.authority.issue(&[], Validity::Now).chain).unwrap();
    refused(&at, &format!("{good_tls}{good_login}"), &["tls.key: it is not the key of the certificate"]);
    fs::write(&cert, "no certificate").unwrap();
    refused(&at, &format!("{good_tls}{good_login}"), &["tls.cert: ", "has no certificate in PEM"]);
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    fs::write(&cert, secure.authority.pem()).unwrap();
    refused(
        &at,
        &format!("{good_tls}{good_login}"),
        &["client.key: holds secrets that users other than its owner can access; refused; to fix it, run \
             `chmod 600 "],
    );
    fs::remove_file(&ca).unwrap();
    refused(&at, &format!("{good_tls}{good_login}"), &["tls.ca: ", "ca.pem: No such file"]);
}

// With TLS 1.3 the server refuses a client after the handshake.
#[test]
fn refusals_of_a_server_with_tls_1_3_are_explained_as_well() {
    let secure = Secure::start_with(
        Login::Optional,
        "ssl.protocol=TLSv1.3\nssl.ciphersuites=TLS_AES_128_GCM_SHA256\n",
    );
    let sandbox = Sandbox::directory();
    let tls = secure.tls(&sandbox);
    let [ca, ..] = paths(&sandbox);
    let told = |settings: &str| {
        configure(&sandbox, &secure.address("localhost"), settings);
        client(&sandbox, ["ls", "/"]).finish()
    };
    wait_until("the server to answer", || told(&tls).text() == "zookeeper\n");
    told(&format!("[tls]\nca = {ca:?}\n")).expect(1).expect_said(&["wants a client certificate"]);
    identify(&sandbox, &Authority::new("stranger").issue(&[], Validity::Now));
    told(&tls).expect(1).expect_said(&["the server refuses our certificate ("]);
}

/// Starts a daemon that is connected to `secure`, and journals event and content of `/n`. It has run once.
#[track_caller]
fn connected(secure: &Secure, sandbox: &Sandbox) -> (Daemon, Journal) {
    let store = format!("store = \"zk://{}\"\nsession_timeout = 4\n", secure.address("localhost"));
    sandbox.settings(&format!("{store}{}", secure.settings(sandbox)));
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), ""));
    set(sandbox, "/n", "1");
    let daemon = sandbox.daemon_without_store().start();
    journal.wait_for(&["load 1"]);
    (daemon, journal)
}

// "Wrong password, expired certificate, wrong hostname: one clear line, backoff, no spin": the server worked
// before, and nothing is lost.
#[test]
fn a_server_that_comes_back_with_a_bad_certificate_is_reported_once_and_retried_with_backoff() {
    let secure = Secure::start(Login::Mandatory);
    let sandbox = Sandbox::directory();
    let (daemon, journal) = connected(&secure, &sandbox);
    let stranger = Authority::new("stranger");
    let mut length = Duration::from_secs(6);
    for (certificate, line) in [
        (secure.authority.issue(&["localhost"], Validity::Expired), "certificate has expired, on 2001-01-01"),
        (
            secure.authority.issue(&["localhost"], Validity::NotYet),
            "certificate is not valid before 2099-01-01",
        ),
        (
            secure.authority.issue(&["elsewhere.example"], Validity::Now),
            "certificate is not for localhost but for",
        ),
        (stranger.issue(&["localhost"], Validity::Now), "is of a CA that is not in tls.ca"),
    ] {
        secure.certify(&certificate);
        secure.restart();
        daemon.wait_for_log(&[
            "WARNING",
            "store: not connected: cannot connect to ZooKeeper: localhost:",
            line,
        ]);
        let status = sandbox.operator(["status"]).finish().expect(0);
        status.expect_said(&[line]);
        let (cpu, logged) = (daemon.process().cpu_ticks(), daemon.log().len());
        // The daemon tries ten times a second at first and soon every five seconds, with two handshakes each,
        // whatever it is that it refuses.
        throughout(length, || {});
        let used = daemon.process().cpu_ticks() - cpu;
        assert!(used < 100, "{used} ticks in {length:?}");
        length = Duration::from_secs(load(1, 6));
        assert_eq!(daemon.log().len(), logged, "{:#?}", daemon.log());
        count(&daemon, &[line], 1);
    }
    secure.certify(&secure.authority.issue(&["localhost"], Validity::Now));
    secure.restart();
    daemon.wait_for_log(&["connected to ZooKeeper localhost", "it was away"]);
    set(&sandbox, "/n", "2");
    journal.wait_for(&["load 1", "changed 2"]);
}

// "a rotated client certificate or CA needs no restart". An unusable one in between loses nothing.
#[test]
fn renewed_certificates_are_used_at_the_next_connection() {
    let mut secure = Secure::start(Login::Optional);
    let sandbox = Sandbox::directory();
    let (daemon, journal) = connected(&secure, &sandbox);

    let [ca, ..] = paths(&sandbox);
    fs::write(&ca, "").unwrap();
    secure.authority = Authority::new("next year's");
    secure.trust(&secure.authority);
    secure.certify(&secure.authority.issue(&["localhost"], Validity::Now));
    secure.restart();
    daemon.wait_for_log(&["not connected", "tls.ca: ", "ca.pem: it has no certificate in PEM"]);
    secure.tls(&sandbox);
    daemon.wait_for_log(&["connected to ZooKeeper localhost", "it was away"]);
    set(&sandbox, "/n", "2");
    journal.wait_for(&["load 1", "changed 2"]);
}
