//! "A save is durable in the journal before it is answered, and published right after; a crash between the
//! two is repaired by the auto-publisher, whose leader is elected in the store, so that several servers on
//! one database are safe."

use std::path::Path;
use std::time::Duration;

use super::publishing::{node, published, wait_until_payload};
use crate::harness::wait::throughout;
use crate::harness::{CommitServer, Sandbox, Store, load, on_every_store, wait_until};

/// The settings of a server that publishes each second, of a database that other servers may share.
fn settings(database: &Path, sandbox: &Sandbox) -> String {
    format!(
        "session_timeout = 2\n[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"sqlite:{}\"\n\
         [serve.commits.diary]\nstore = \"{}\"\npath = \"/config/diary\"\npublish_period = 1\n",
        database.display(),
        sandbox.nodes.url()
    )
}

fn leads(server: &CommitServer) -> bool {
    server.metric("twitcher_serve_leader") == 1.0
}

/// Whether all that the server has saved is published.
fn is_done(server: &CommitServer) -> bool {
    server.metric("twitcher_serve_publish_lag_seconds") == 0.0
}

// "several servers, one killed as leader"; "what somebody wrote into the store behind its back is overwritten
// at the next round and said in the log"
on_every_store!(a_server_takes_over_from_a_killed_leader_and_puts_right_what_it_left);
fn a_server_takes_over_from_a_killed_leader_and_puts_right_what_it_left(sandbox: &Sandbox) {
    let settings = settings(&sandbox.path("commits.db"), sandbox);
    let mut first = CommitServer::start(&settings);
    wait_until("the only one to lead", || leads(&first));
    let second = CommitServer::start(&settings);
    wait_until("the second to be connected", || second.metric("twitcher_serve_store_connected") == 1.0);
    assert!(!leads(&second));
    assert_eq!(first.save("foo", 1, b"one").status, 200);
    // What a server has saved it publishes, whether it leads or not.
    assert_eq!(second.save("foo", 2, b"two").status, 200);
    wait_until_payload(sandbox, "foo", b"two");
    wait_until("both to be done", || [&first, &second].iter().all(|server| is_done(server)));
    sandbox.nodes.set(&node("foo"), "evil");
    wait_until_payload(sandbox, "foo", b"two");
    let told = "diary: foo was written behind the journal's back and is overwritten: it had no commit";
    wait_until("it to be told", || first.log().contains(told));
    assert!(!second.log().contains(told), "{}", second.log());

    let old = published(sandbox, "foo").expect("a commit");
    assert_eq!(first.save("foo", 3, b"three").status, 200);
    wait_until_payload(sandbox, "foo", b"three");
    first.kill();
    // As if it had been killed before it published the last one.
    sandbox.nodes.set(&node("foo"), old);
    wait_until("the other one to lead", || leads(&second));
    wait_until_payload(sandbox, "foo", b"three");
    wait_until("it to be told", || {
        second.log().contains("diary: published 1 key of which the store had no commit or an older one")
    });
    assert_eq!(second.save("foo", 4, b"four").status, 200);
    wait_until_payload(sandbox, "foo", b"four");
    assert!(!second.log().contains("behind the journal's back"), "{}", second.log());
}

// "the store away for a minute while saves go on"
#[test]
fn saves_go_on_while_the_store_is_away_and_are_published_when_it_is_back() {
    let store = Store::Etcd.server();
    let sandbox = Sandbox::on(&*store);
    let server = CommitServer::start(&settings(&sandbox.path("commits.db"), &sandbox));
    assert_eq!(server.save("foo", 1, b"before").status, 200);
    wait_until_payload(&sandbox, "foo", b"before");
    store.down();
    let mut version = 1;
    let mut save = || {
        version += 1;
        assert_eq!(server.save("foo", version, b"during").status, 200);
        assert_eq!(server.save(&format!("key-{version}"), 1, b"during").status, 200);
    };
    (2..20).for_each(|_| save());
    throughout(load(Duration::ZERO, Duration::from_secs(60)), save);
    wait_until("the outage to be seen", || {
        server.metric("twitcher_serve_store_connected") == 0.0
            && server.metric("twitcher_serve_publish_lag_seconds") > 0.0
    });
    assert_eq!(server.get("/-/published/diary").status, 503);
    assert_eq!(server.get("/-/healthy").text(), "ok", "the journal is what counts");
    assert_eq!(server.get("/diary/foo").text(), "during");
    assert_eq!(server.save("foo", version + 1, b"last").status, 200);
    store.up();
    wait_until_payload(&sandbox, "foo", b"last");
    wait_until("all to be published", || is_done(&server));
    for number in 2..=version {
        wait_until_payload(&sandbox, &format!("key-{number}"), b"during");
    }
    let compared = server.get("/-/published/diary").json();
    assert_eq!((&compared["differing"], &compared["checked"]), (&0.into(), &version.into()), "{compared}");
}
