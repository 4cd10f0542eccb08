//! The lies that only a half of a ZooKeeper can tell: about its login, its servers, who can write to a node,
//! and versions that outlive it.

use super::texts::FORGED;
use super::*;

fn scene() -> Scene {
    Scene::on(Sandbox::zookeeper())
}

fn writable(path: &str) -> Value {
    json!({ "Writable": { "path": path, "facet": "Data" } })
}

fn plaintext(server: &str) -> Value {
    json!({ "Plaintext": { "server": server, "with_credentials": true } })
}

fn version(incarnation: i64, revision: i64) -> Value {
    let version = json!({ "incarnation": incarnation, "revision": revision, "number": 1 });
    json!({ "Present": { "version": version, "content": "Data" } })
}

const LIES: &[(&str, Lie)] = &[
    // The same servers with another chroot have other nodes.
    ("another store", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&up("zk:/")));
    }),
    ("another store", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&up("dir:/etc")));
    }),
    // It asks and does not listen, until the answers do not fit.
    ("a question for the login out of turn", |half, _| while half.say(&json!("NeedsLogin")).is_ok() {}),
    ("a content where none belongs", |half, _| {
        let _ = half.say_with(&json!("NeedsLogin"), b"and here is yours", &[]);
    }),
    ("a text that is too long", |half, _| {
        let _ = half.say(&plaintext(&"x".repeat(MAX_TEXT + 1)));
    }),
    ("a root out of turn", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&json!("RootFound")));
    }),
    ("a root out of turn", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&json!({ "RootMissing": { "reason": "" } })));
    }),
    ("an impossible state", |half, _| {
        let state = version(i64::MIN, i64::MIN);
        let _ = half.say(&json!({ "Observed": { "id": 0, "state": state } }));
    }),
    ("an impossible state", |half, _| {
        let children = json!({ "Children": { "count": u64::MAX } });
        let _ = half.say_with(&present(0, 9, &children), b"a\nb\n", &[]);
    }),
    ("no message", |half, _| {
        let _ = half.say(&json!({ "Login": { "error": null } }));
    }),
];

#[test]
fn a_half_that_lies_about_its_login_or_its_server_is_replaced() {
    each_is_replaced(LIES, scene);
}

// Versions of a ZooKeeper mean the same to the next half. The forged ones must not keep the true one from
// being run, however new they claim to be.
#[test]
fn forged_versions_keep_no_true_one_from_running() {
    let scene = scene();
    let half = scene.impostor();
    let forged = json!({ "Observed": { "id": 0, "state": version(i64::MAX, i64::MAX) } });
    half.say_with(&forged, b"forged", &[]).expect("it is allowed");
    scene.journal.wait_for(&["load true", "created forged"]);
    scene.sandbox.nodes.set("/n", "true again");
    let from = half.end();
    scene.journal.wait_for(&["load true", "created forged", "created true again"]);
    assert!(!from.is_alive());
    scene.sandbox.nodes.set("/n", "recovered");
    scene.journal.wait_for_last("changed recovered");
    assert_eq!(scene.other.lines(), ["load still"], "nothing happened to it");
}

// "The root half checks that the node is one it asked for": it warns of no others, of which it knows nothing.
#[test]
fn a_half_warns_of_no_node_that_nobody_watches() {
    let scene = scene();
    let half = scene.impostor();
    for path in ["/secret", "/n/below", "/"] {
        half.say(&writable(path)).expect("it is allowed");
    }
    half.say(&writable("/quiet")).expect("it is allowed");
    scene.daemon.wait_for_log(&["node /quiet: anyone may write to it"]);
    // The server's own ACL is open, so the honest half may have said this of the other one.
    for line in scene.daemon.log_lines(&["anyone may"]) {
        assert!(line.contains("node /n: ") || line.contains("node /quiet: "), "{line}");
    }
    scene.recovers(half);
}

#[test]
fn texts_of_a_half_of_a_zookeeper_forge_no_line_of_the_log() {
    let scene = scene();
    let half = scene.impostor();
    let identity =
        wait_for("the identity", || scene.status()["daemon"]["stores"][0]["url"].as_str().map(chroot));
    for message in [
        plaintext(FORGED),
        json!({ "RootMissing": { "reason": FORGED } }),
        json!({ "Degraded": { "reason": FORGED } }),
        json!({ "Unreadable": { "id": 0, "reason": FORGED } }),
        writable(&format!("/n{FORGED}")),
        down(FORGED),
        json!({ "Connected": { "what": FORGED, "identity": identity } }),
        down("the last one"),
    ] {
        let _ = half.say(&message);
    }
    // A path with a NUL is none, so that it may be killed for that.
    scene.daemon.wait_for_log(&["not connected"]);
    scene.log_is_orderly();
    scene.recovers(half);
}

/// The identity of the store with this URL.
fn chroot(url: &str) -> String {
    let chroot = url.rsplit_once('/').map_or("/", |_| &url[url.rfind("/test-").unwrap_or(0)..]);
    format!("zk:{chroot}")
}

// The login of one store is no business of another's half, which somebody may steer.
#[test]
fn a_half_gets_the_login_of_its_own_store_and_no_other() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    let block = |store: &str, secret: &str| {
        format!("[[{store}auth]]\nscheme = \"digest\"\ncredentials = \"we:{secret}\"\n")
    };
    let url = sandbox.nodes.url();
    sandbox.settings(&format!(
        "{}[stores.other]\nurl = {url:?}\n{}",
        block("", "of-the-default"),
        block("stores.other.", "of-the-other")
    ));
    let watches = ["", "store: \"other\", description: \"other\""]
        .map(|more| watch("/n", &exec(&journal.note("run $(cat)")), more));
    sandbox.config("app.twc", watches.concat());
    let daemon = sandbox.start();
    journal.wait_for(&["run 0", "run 0"]);
    let halves = daemon.process().halves();
    assert_eq!(halves.len(), 2);
    let mut told = halves.into_iter().map(|half| {
        let half = Impostor::of(half).expect("it lives");
        half.say(&json!("NeedsLogin")).expect("it is allowed");
        let login = loop {
            let (message, body) = half.hear().expect("an answer");
            if message.get("Login").is_some() {
                break String::from_utf8(body).expect("JSON");
            }
        };
        let secrets = ["of-the-default", "of-the-other"].map(|secret| login.contains(secret));
        half.end();
        secrets
    });
    let (one, other) = (told.next().expect("two"), told.next().expect("two"));
    assert!(one != other && one[0] != one[1] && other[0] != other[1], "{one:?} {other:?}");
    drop(told);
    sandbox.nodes.set("/n", "1");
    journal.wait_for(&["run 0", "run 0", "run 1", "run 1"]);
}
