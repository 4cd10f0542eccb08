//! TLS, SASL and credentials, against a ZooKeeper that has them on.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;

use crate::harness::secure::{
    DIGEST, Login, ODD_PASSWORDS, PASSWORD, Secure, USERNAME, identify, login, paths,
};
use crate::harness::wait::throughout;
use crate::harness::{
    Authority, Daemon, Process, Sandbox, Twitcher, Validity, ZooKeeper, exec, kazoo, wait_until, watch,
};

/// A client command with the settings of the sandbox.
fn client<const N: usize>(sandbox: &Sandbox, args: [&str; N]) -> Twitcher {
    sandbox.twitcher(args).env("TWITCHER_CONFIG_PATH", sandbox.configs())
}

/// Runs a command that succeeds in the end: a server that has only just come up may take long for its first handshakes.
#[track_caller]
fn done<const N: usize>(sandbox: &Sandbox, args: [&str; N]) {
    wait_until("the command to succeed", || client(sandbox, args).finish().code == Some(0));
}

#[track_caller]
fn set(sandbox: &Sandbox, node: &str, data: &str) {
    done(sandbox, ["set", node, data]);
}

#[track_caller]
fn count(daemon: &Daemon, parts: &[&str], expected: usize) {
    let lines = daemon.log_lines(parts);
    assert_eq!(lines.len(), expected, "{parts:?}: {lines:#?}");
}

// "Mandatory SASL with watches survives server restarts", with TLS, a client certificate, `digest` auth, a chroot and several
// servers, one of which is not there.
#[test]
fn mandatory_sasl_over_tls_with_all_the_rest_survives_server_restarts() {
    let secure = Secure::start(Login::Mandatory);
    let nowhere = ZooKeeper::stopped();
    let sandbox = Sandbox::directory();
    let servers = format!("{},{}", secure.address("localhost"), nowhere.address());
    sandbox.settings(&format!(
        "store = \"zk://{servers}/chroot\"\nsession_timeout = 4\n[[auth]]\nscheme = \"digest\"\ncredentials = {DIGEST:?}\n{}",
        secure.settings(&sandbox)
    ));
    let journal = sandbox.journal();
    for (node, watch_type) in [("/n", "WATCH_DATA"), ("/members", "WATCH_CHILDREN"), ("/tree", "WATCH_TREE")]
    {
        let action = exec(&journal.note(&format!("{node} $TWITCHER_EVENT")));
        let more = format!("watch_type: {watch_type}, run_on_load: false");
        sandbox.config(&format!("{}.twc", &node[1..]), watch(node, &action, &more));
    }
    let quiet = sandbox.journal_named("quiet");
    let action = exec(&quiet.note("$TWITCHER_EVENT $(cat)"));
    sandbox.config("ours.twc", watch("/ours", &action, ""));
    for node in ["/n", "/members/a", "/tree/x"] {
        set(&sandbox, node, "0");
    }
    // Nobody but whoever has the digest credentials sees it.
    secure.create_for_digest("/chroot/ours");
    let daemon = sandbox.daemon_without_store().env("TWITCHER_STORE", "").arg("--debug").start();
    daemon.wait_for_log(&["connected to ZooKeeper localhost:", " (TLS, SASL twitcher), session "]);
    quiet.wait_for(&["load 0"]);
    for node in ["/n: observed", "/members (children): observed", "/tree (tree): observed"] {
        daemon.wait_for_log(&[node]);
    }
    let mut expected = Vec::new();
    for round in 1..=3 {
        set(&sandbox, "/n", &round.to_string());
        expected.push("/n changed".to_owned());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        set(&sandbox, &format!("/members/{round}"), "");
        expected.push("/members children".to_owned());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        set(&sandbox, "/tree/x", &round.to_string());
        expected.push("/tree changed".to_owned());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
        if round < 3 {
            secure.restart();
            wait_until("the daemon to be back", || {
                daemon.log_lines(&["connected to ZooKeeper localhost:", "it was away"]).len() == round
            });
        }
    }
    // An outage and its end ran nothing.
    assert_eq!(quiet.lines(), ["load 0"]);
    count(&daemon, &["credentials"], 0);
}

// "Wrong password, expired certificate, wrong hostname: one clear line": what a client is told.
#[test]
fn each_refusal_is_told_in_words_with_its_remedy() {
    let secure = Secure::start(Login::Mandatory);
    let stranger = Authority::new("stranger");
    let sandbox = Sandbox::directory();
    let [ca, cert, key] = paths(&sandbox);
    let good_tls = secure.tls(&sandbox);
    let only_ca = format!("[tls]\nca = {ca:?}\n");
    let good_login = login(PASSWORD);
    let refused = |server: &str, settings: &str, parts: &[&str]| {
        sandbox.settings(&format!("store = \"zk://{server}\"\nsession_timeout = 9\n{settings}"));
        let told = client(&sandbox, ["get", "/n"]).finish().expect(1);
        told.expect_said(parts);
        assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
        assert!(!told.stderr.contains(PASSWORD), "{}", told.stderr);
    };
    let at = secure.address("localhost");
    sandbox.settings(&format!("store = \"zk://{at}\"\n{good_tls}{good_login}"));
    done(&sandbox, ["ls", "/"]);
    // All is well but that there is no such node.
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
    identify(&sandbox, &secure.authority.issue(&[], Validity::Over));
    refused(&at, &format!("{good_tls}{good_login}"), &whose);

    // What cannot be used is said before anybody is asked.
    fs::write(&cert, secure.authority.issue(&[], Validity::Now).chain).unwrap();
    refused(&at, &format!("{good_tls}{good_login}"), &["tls.key: it is not the key of the certificate"]);
    fs::write(&cert, "no certificate").unwrap();
    refused(&at, &format!("{good_tls}{good_login}"), &["tls.cert: ", "has no certificate in PEM"]);
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    fs::write(&cert, secure.authority.pem()).unwrap();
    refused(
        &at,
        &format!("{good_tls}{good_login}"),
        &["client.key: holds secrets that others than its owner can read; refused until `chmod 600 "],
    );
    fs::remove_file(&ca).unwrap();
    refused(&at, &format!("{good_tls}{good_login}"), &["tls.ca: ", "ca.pem: No such file"]);
}

// The same from a server of TLS 1.3, which refuses a client after the handshake.
#[test]
fn a_server_of_tls_1_3_is_understood_as_well() {
    let secure = Secure::start_with(
        Login::Optional,
        "ssl.protocol=TLSv1.3\nssl.ciphersuites=TLS_AES_128_GCM_SHA256\n",
    );
    let sandbox = Sandbox::directory();
    let tls = secure.tls(&sandbox);
    let [ca, ..] = paths(&sandbox);
    let told = |settings: &str| {
        let store = format!("store = \"zk://{}\"\n", secure.address("localhost"));
        sandbox.settings(&format!("{store}{settings}"));
        client(&sandbox, ["ls", "/"]).finish()
    };
    wait_until("the server to answer", || told(&tls).text() == "zookeeper\n");
    told(&format!("[tls]\nca = {ca:?}\n")).expect(1).expect_said(&["wants a client certificate"]);
    identify(&sandbox, &Authority::new("stranger").issue(&[], Validity::Now));
    told(&tls).expect(1).expect_said(&["the server refuses our certificate ("]);
}

// "Wrong password, expired certificate, wrong hostname: one clear line, backoff, no spin", also of a server that was well, and
// nothing is lost over it.
#[test]
fn a_server_that_comes_back_with_a_bad_certificate_is_told_of_once_and_not_run_against() {
    let secure = Secure::start(Login::Mandatory);
    let sandbox = Sandbox::directory();
    let store = format!("store = \"zk://{}\"\nsession_timeout = 4\n", secure.address("localhost"));
    sandbox.settings(&format!("{store}{}", secure.settings(&sandbox)));
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$TWITCHER_EVENT $(cat)")), ""));
    set(&sandbox, "/n", "1");
    let daemon = sandbox.daemon_without_store().start();
    journal.wait_for(&["load 1"]);
    let stranger = Authority::new("stranger");
    for (certificate, line) in [
        (secure.authority.issue(&["localhost"], Validity::Over), "certificate has expired, on 2001-01-01"),
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
        throughout(Duration::from_secs(6), || {});
        // At first ten times a second, and soon every five: each is two handshakes.
        let used = daemon.process().cpu_ticks() - cpu;
        assert!(used < 100, "{used} ticks in 6 s");
        assert_eq!(daemon.log().len(), logged, "{:#?}", daemon.log());
        count(&daemon, &[line], 1);
    }
    secure.certify(&secure.authority.issue(&["localhost"], Validity::Now));
    secure.restart();
    daemon.wait_for_log(&["connected to ZooKeeper localhost", "it was away"]);
    set(&sandbox, "/n", "2");
    journal.wait_for(&["load 1", "changed 2"]);
}

// "a rotated client certificate or CA needs no restart", and one that cannot be used loses nothing.
#[test]
fn renewed_certificates_are_taken_at_the_next_connection() {
    let mut secure = Secure::start(Login::Optional);
    let sandbox = Sandbox::directory();
    let store = format!("store = \"zk://{}\"\nsession_timeout = 4\n", secure.address("localhost"));
    sandbox.settings(&format!("{store}{}", secure.settings(&sandbox)));
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$TWITCHER_EVENT $(cat)")), ""));
    set(&sandbox, "/n", "1");
    let daemon = sandbox.daemon_without_store().start();
    journal.wait_for(&["load 1"]);

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

// "Secrets (from twitcher.toml or systemd LoadCredential=) never reach children, logs, status [...] or command lines."
#[test]
fn secrets_are_nowhere_to_be_seen() {
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
    // A refusal has more to say.
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

// "the daemon must" have its credentials, and `check` only where systemd gives some.
#[test]
fn a_credential_that_is_not_there_is_named_with_the_unit_s_line() {
    let sandbox = Sandbox::directory();
    sandbox.settings(
        "store = \"zk://localhost:1\"\n[stores.eu]\nurl = \"zk://localhost:1\"\n[stores.eu.sasl]\nusername = \"a\"\n\
         password = { credential = \"eu-password\" }\n",
    );
    let remedy = [
        "twitcher.toml: sasl.password: credential \"eu-password\" is not there",
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

// "`twitcher check` validates the blocks"
#[test]
fn check_finds_what_would_keep_a_store_away() {
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
    check(&format!("[tls]\nca = {ca:?}\ncert = {cert:?}\n"), 1, &["twitcher.toml: tls.key: missing"]);
    check(&format!("[tls]\nca = {ca:?}\nkey = {key:?}\n"), 1, &["twitcher.toml: tls.cert: missing"]);
    check("[tls]\n", 1, &["twitcher.toml:1:1", "missing field `ca`"]);
    check(
        "[tls]\nca = \"/x\"\nverify = false\n",
        1,
        &["unknown field `verify`, expected one of `ca`, `cert`, `key`"],
    );
    check("[sasl]\nusername = \"a\"\n", 1, &["missing field `password`"]);
    check("[sasl]\nusername = \"a\"\npassword = 7\n", 1, &["expected a text, or { credential = NAME }"]);
    check("[sasl]\nusername = \"\"\npassword = \"x\"\n", 1, &["sasl.username: \"\" cannot be sent"]);
    check(
        "[sasl]\nusername = \"a\"\npassword = { credential = \"a/b\" }\n",
        1,
        &["is no name of a credential"],
    );
    check(
        &format!("store = \"zk://a b:1\"\n[tls]\n{tls}"),
        1,
        &["twitcher.toml: store: store \"zk://a b:1\""],
    );
    check(&format!("store = \"zk://a..b:1\"\n[tls]\n{tls}"), 1, &["twitcher.toml: tls: ", "\"a..b:1\""]);
    check(
        "[stores.eu]\nurl = \"zk://a\"\n[stores.eu.tls]\nca = \"/nonexistent\"\n",
        1,
        &["twitcher.toml: stores.eu.tls.ca: /nonexistent: No such file"],
    );
    sandbox.private(&key, &authority.issue(&[], Validity::Now).key);
    check(
        &format!("[tls]\n{tls}"),
        1,
        &["twitcher.toml: tls.key: it is not the key of the certificate in tls.cert"],
    );
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    check(
        &format!("[tls]\n{tls}"),
        1,
        &[
            "tls.key: ",
            "client.key: holds secrets that others than its owner can read; refused until `chmod 600 ",
        ],
    );
}

// "A plaintext connection to a non-local server [...] warns once."
#[test]
fn plaintext_to_another_host_is_warned_of_once_and_on_loopback_not_at_all() {
    let server = ZooKeeper::start_on_all_addresses();
    let sandbox = Sandbox::on(&server);
    let (_, port) =
        server.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let address = getifaddrs()
        .unwrap()
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .find(|address| !address.is_loopback())
        .expect("this test needs an address that is not loopback");
    let journal = sandbox.journal();
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("$(cat)")), ""));
    sandbox.nodes.set("/n", "1");
    let url = sandbox.nodes.url_by_way_of(&format!("{address}:{port}"));
    let warning = ["WARNING", "nothing is encrypted between here and", "[tls]"];

    let daemon = sandbox.start();
    journal.wait_for(&["1"]);
    count(&daemon, &warning, 0);
    drop(daemon);
    let daemon = sandbox.daemon_on(&url).start();
    daemon.wait_for_log(&warning);
    for round in 1..=2 {
        server.down();
        server.up();
        wait_until("the daemon to be back", || {
            daemon.log_lines(&["connected to", "it was away"]).len() == round
        });
    }
    sandbox.nodes.set("/n", "2");
    journal.wait_for_line("2");
    count(&daemon, &warning, 1);
}

// "a watched node writable by `world:anyone` warns once", and of many only a few.
#[test]
fn nodes_that_anyone_may_change_are_warned_of_once_and_only_a_few_are_named() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on_whole(&server);
    kazoo(
        &server.address(),
        "ours = [make_acl('world', 'anyone', read=True, admin=True)]\n\
         zk.create('/closed', b'1', acl=ours)\n\
         zk.create('/writable', b'1', acl=[make_acl('world', 'anyone', read=True, write=True)])\n\
         zk.create('/parent', b'1', acl=[make_acl('world', 'anyone', read=True, delete=True)])\n",
    );
    let journal = sandbox.journal();
    let note = |name: &str| exec(&journal.note(name));
    let children = "watch_type: WATCH_CHILDREN";
    let watches = [
        watch("/closed", &note("closed"), ""),
        watch("/writable", &note("writable"), ""),
        watch("/parent", &note("data"), ""),
        watch("/parent", &note("children"), children),
        watch("/later", &note("later"), ""),
    ];
    sandbox.config("app.twc", watches.concat());
    let daemon = sandbox.start();
    let line = |path: &str| format!("store: node {path}: anyone may");
    daemon.wait_for_log(&["WARNING", &line("/writable"), "write it", "take w from world:anyone"]);
    daemon.wait_for_log(&["WARNING", &line("/parent"), "create or delete its children"]);
    // Absent first, and open when it comes.
    sandbox.nodes.set("/later", "1");
    daemon.wait_for_log(&[&line("/later")]);
    server.down();
    server.up();
    daemon.wait_for_log(&["connected to", "it was away"]);

    sandbox.nodes.create_many((0..20).map(|number| format!("/open-{number}")));
    let open: String = (0..20).map(|number| watch(&format!("/open-{number}"), &note("open"), "")).collect();
    sandbox.config("open.twc", open);
    daemon.wait_for_log(&["WARNING", "there are more nodes that anyone may change"]);
    sandbox.nodes.set("/writable", "2");
    wait_until("the action", || journal.count("writable") == 2);
    count(&daemon, &["anyone may"], 6);
    count(&daemon, &[&line("/closed")], 0);
    count(&daemon, &[&line("/writable")], 1);
    count(&daemon, &[&line("/parent")], 1);
}

// "names re-resolved on reconnect"
#[test]
fn a_server_s_name_is_resolved_anew_for_each_connection() {
    let plain = ZooKeeper::start();
    re_resolved(&plain, "", &format!("moving.example:{}", port(&plain.address())));
    let secure = Secure::start(Login::Mandatory);
    secure.certify(&secure.authority.issue(&["moving.example", "localhost"], Validity::Now));
    secure.restart();
    let tls = Sandbox::directory();
    re_resolved(&secure.server, &secure.settings(&tls), &secure.address("moving.example"));
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

/// The daemon has a file of its own as `/etc/hosts`, which at first leads to nobody.
fn re_resolved(server: &ZooKeeper, settings: &str, at: &str) {
    let sandbox = Sandbox::directory();
    sandbox.settings(&format!("store = \"zk://{at}\"\nsession_timeout = 4\n{settings}"));
    let hosts = sandbox.root().join("hosts");
    let lead_to =
        |address: &str| fs::write(&hosts, format!("{address} moving.example\n")).expect("write the hosts");
    lead_to("127.0.0.9");
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let mounted =
        sandbox.daemon_without_store().under(["unshare", "--mount", "--", "sh", "-c", &script, "sh"]).start();
    mounted
        .wait_for_log(&["not connected: cannot connect to ZooKeeper: moving.example:", "connection refused"]);
    lead_to("127.0.0.1");
    mounted.wait_for_log(&["connected to ZooKeeper moving.example:"]);
    lead_to("127.0.0.9");
    server.down();
    mounted.wait_for_log(&["the connection to ZooKeeper moving.example", "was lost"]);
    server.up();
    lead_to("127.0.0.1");
    mounted.wait_for_log(&["connected to ZooKeeper moving.example:", "it was away"]);
}

// Passwords are no shell words, no URLs and no ASCII.
#[test]
fn odd_passwords_log_in() {
    let secure = Secure::start(Login::Mandatory);
    let sandbox = Sandbox::directory();
    let store = format!("store = \"zk://{}\"\n{}", secure.address("localhost"), secure.tls(&sandbox));
    for (number, password) in ODD_PASSWORDS.into_iter().enumerate() {
        sandbox.settings(&format!("{store}[sasl]\nusername = \"odd{number}\"\npassword = {password:?}\n"));
        done(&sandbox, ["ls", "/"]);
    }
}
