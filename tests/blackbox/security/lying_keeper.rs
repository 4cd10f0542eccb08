//! The same as of halves holds of what keeps members: "told to misbehave, it moves root to nothing".

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::lying_half::lingering;
use crate::harness::impostor::{ALL_SEALS, Impostor, frame, memory_file};
use crate::harness::{
    Daemon, Journal, Sandbox, exec, on_every_store, require_root, wait_for, wait_until, watch,
};

const MEMBER: &str = "/services/web/h:1";

/// What the program allows: the bytes of a frame, of a text, of an owner's name, and of a line of the log.
const MAX_FRAME: usize = 64 << 10;
const MAX_TEXT: usize = 4 << 10;
const MAX_OWNER: usize = 256;
const MAX_LINE: usize = 3 * MAX_TEXT;

/// A daemon with a member and a watch, for whose keeper somebody else speaks.
struct Scene<'a> {
    sandbox: &'a Sandbox,
    daemon: Daemon,
    journal: Journal,
}

impl<'a> Scene<'a> {
    #[track_caller]
    fn on(sandbox: &'a Sandbox) -> Self {
        require_root();
        let journal = sandbox.journal();
        sandbox.nodes.set("/quiet", "still");
        let service = "RegisterService(#{ service: \"/services/web\", address: \"h:1\" });\n";
        sandbox.config(
            "app.twc",
            [service.to_owned(), watch("/quiet", &exec(&journal.record_event()), "")].concat(),
        );
        let daemon = sandbox.start();
        journal.wait_for(&["load still"]);
        let scene = Self { sandbox, daemon, journal };
        scene.wait_for_the_member();
        scene
    }

    #[track_caller]
    fn wait_for_the_member(&self) {
        wait_until("the member to be announced", || {
            self.status()["daemon"]["services"][0]["state"] == "announced"
                && self.sandbox.nodes.get(MEMBER).is_some_and(|data| !data.is_empty())
        });
    }

    #[track_caller]
    fn impostor(&self) -> Impostor {
        wait_for("the process that keeps members", || match self.daemon.process().keepers()[..] {
            [keeper] if keeper.is_alive() => Impostor::of(keeper),
            _ => None,
        })
    }

    /// The daemon is asked for its status, and answers.
    #[track_caller]
    fn status(&self) -> Value {
        let status = self.sandbox.operator(["status", "--json"]).finish().expect(0).text();
        serde_json::from_str(&status).expect("JSON")
    }

    /// Another process holds the member, and nothing else came of it all.
    #[track_caller]
    fn recovers(&self, keeper: Impostor) {
        let from = keeper.end();
        wait_until("another keeper", || {
            !from.is_alive() && self.daemon.process().keepers().iter().any(|keeper| keeper.is_alive())
        });
        self.wait_for_the_member();
        // It is held, and not only left.
        self.sandbox.nodes.remove(MEMBER);
        self.wait_for_the_member();
        assert_eq!(self.journal.lines(), ["load still"], "nothing ran for what it said");
        for line in self.daemon.log() {
            assert!(line.len() <= MAX_LINE, "{} bytes in {line:.200}", line.len());
            assert!(!line.chars().any(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
            assert!(!line.starts_with("FORGED"), "{line:?}");
        }
    }
}

fn event(event: &Value) -> Value {
    json!({ "Event": event })
}

fn connected(what: &str) -> Value {
    event(&json!({ "Connected": { "what": what } }))
}

fn disconnected(reason: &str) -> Value {
    event(&json!({ "Disconnected": { "reason": reason } }))
}

type Lie = fn(&Impostor);

/// What the process says, and how the daemon calls that.
const LIES: &[(&str, Lie)] = &[
    ("a packet that is too large", |keeper| {
        let _ = keeper.send(&[b'x'; MAX_FRAME + 1], &[]);
    }),
    ("has too many descriptors", |keeper| {
        let file = memory_file(&[7; 100_000], ALL_SEALS);
        let _ = keeper.say_with(&connected("x"), b"", &[file.as_fd(), file.as_fd()]);
    }),
    ("a content where none belongs", |keeper| {
        let file = memory_file(&[7; 100_000], ALL_SEALS);
        let _ = keeper.say_with(&connected("x"), b"", &[file.as_fd()]);
    }),
    ("a content where none belongs", |keeper| {
        let file = File::open("/etc/passwd").expect("open it");
        let _ = keeper.say_with(&connected("x"), b"", &[file.as_fd()]);
    }),
    ("a content where none belongs", |keeper| {
        let _ = keeper.say_with(&connected("x"), b"something", &[]);
    }),
    ("no message", |keeper| {
        let _ = keeper.send(&[0xff; 100], &[]);
    }),
    ("no message", |keeper| {
        let _ = keeper.send(&frame(&[b'['; 32 << 10], b""), &[]);
    }),
    ("no message", |keeper| {
        let _ = keeper.say(&json!({ "Execute": { "path": "/bin/sh" } }));
    }),
    ("no message", |keeper| {
        let _ = keeper.say(&event(&json!({ "Announced": { "path": "/../etc/passwd" } })));
    }),
    ("a node that it was not asked for", |keeper| {
        let _ = keeper.say(&event(&json!({ "Announced": { "path": "/services/web/other" } })));
    }),
    ("a node that it was not asked for", |keeper| {
        let waiting = json!({ "Waiting": { "path": "/quiet", "reason": "x" } });
        let _ = keeper.say(&event(&waiting));
    }),
    ("that a member is withdrawn out of turn", |keeper| {
        let _ = keeper.say(&event(&json!({ "Withdrawn": { "path": MEMBER } })));
    }),
    ("that it is ready out of turn", |keeper| {
        let _ = keeper.say(&json!({ "Ready": { "confinement": "none" } }));
    }),
    ("an answer out of turn", |keeper| {
        let _ = keeper.say(&json!("Pong")).and_then(|()| keeper.say(&json!("Pong")));
    }),
    ("a text that is too long", |keeper| {
        let _ = keeper.say(&disconnected(&"x".repeat(MAX_TEXT + 1)));
    }),
    ("a text that is too long", |keeper| {
        let _ = keeper.say(&event(&json!({ "Opened": { "owner": "x".repeat(MAX_OWNER + 1) } })));
    }),
    // It would be in the ledger.
    ("a text that is too long", |keeper| {
        let _ = keeper.say(&event(&json!({ "Opened": { "owner": "a\nFORGED" } })));
    }),
];

#[test]
fn a_keeper_that_breaks_a_rule_is_replaced_and_nothing_comes_of_what_it_said() {
    let next = std::sync::Mutex::new(LIES.iter());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, lie)) = { next.lock().expect("nobody panics").next() } {
                    let sandbox = Sandbox::directory();
                    let scene = Scene::on(&sandbox);
                    let keeper = scene.impostor();
                    lie(&keeper);
                    scene.daemon.wait_for_log(&["the process of this store said", name, "and was killed"]);
                    scene.recovers(keeper);
                }
            });
        }
    });
}

// What is allowed to be said, its store's writers could have caused: here, somebody else holds the name.
on_every_store!(what_a_keeper_forges_is_true_no_longer_than_until_the_next_one_has_looked);
fn what_a_keeper_forges_is_true_no_longer_than_until_the_next_one_has_looked(sandbox: &Sandbox) {
    let scene = Scene::on(sandbox);
    let keeper = scene.impostor();
    let holder = "somebody\u{202e}\nFORGED \u{1b}[2J";
    keeper.say(&event(&json!({ "Conflict": { "path": MEMBER, "holder": holder } }))).expect("it is allowed");
    wait_until("the forged conflict", || scene.status()["daemon"]["services"][0]["state"] != "announced");
    scene.recovers(keeper);
}

#[test]
fn a_flood_of_a_keeper_fills_neither_log_nor_ledger_and_holds_up_nobody() {
    let floods: [fn() -> Vec<Value>; 4] = [
        || vec![disconnected("x"), connected("x")],
        || vec![event(&json!({ "Waiting": { "path": MEMBER, "reason": "x".repeat(MAX_TEXT) } }))],
        || (0..100).map(|owner| event(&json!({ "Opened": { "owner": owner.to_string() } }))).collect(),
        || {
            let conflict = event(&json!({ "Conflict": { "path": MEMBER, "holder": "x" } }));
            vec![conflict, event(&json!({ "Announced": { "path": MEMBER } }))]
        },
    ];
    thread::scope(|scope| {
        for messages in floods {
            scope.spawn(move || {
                let sandbox = Sandbox::directory();
                let scene = Scene::on(&sandbox);
                let keeper = scene.impostor();
                let messages = messages();
                let slowest = thread::scope(|scope| {
                    let flood = scope.spawn(|| keeper.flood(Duration::from_secs(5), &messages));
                    let mut slowest = Duration::ZERO;
                    while !flood.is_finished() {
                        let asked = Instant::now();
                        scene.status();
                        slowest = slowest.max(asked.elapsed());
                    }
                    let said = flood.join().expect("it ends");
                    assert!(said > 50, "{said} messages of {:.100}", messages[0]);
                    slowest
                });
                assert!(slowest < Duration::from_secs(10), "{slowest:?} for a status");
                let lines = scene.daemon.log().len();
                assert!(lines <= 1000, "{lines} lines for {:.100}", messages[0]);
                scene.recovers(keeper);
            });
        }
    });
}

// What closes slowly is closed elsewhere.
#[test]
fn a_descriptor_of_a_keeper_that_takes_for_ever_to_close_holds_up_nobody() {
    for count in [1, 2] {
        let sandbox = Sandbox::directory();
        let scene = Scene::on(&sandbox);
        let keeper = scene.impostor();
        let (socket, _listener) = lingering();
        // The daemon is to be the last that closes it.
        scene.daemon.signal(Signal::SIGSTOP);
        let _ = keeper.say_with(&connected("x"), b"", &vec![socket.as_fd(); count]);
        drop(socket);
        scene.daemon.signal(Signal::SIGCONT);
        scene.daemon.wait_for_log(&["the process of this store said", "and was killed"]);
        scene.status();
        scene.recovers(keeper);
    }
}

// It could not be reached any more, and would hold what it has.
#[test]
fn a_keeper_that_hangs_up_and_lives_on_is_killed() {
    let sandbox = Sandbox::directory();
    let scene = Scene::on(&sandbox);
    let keeper = scene.impostor();
    keeper.hang_up();
    scene.daemon.wait_for_log(&["closed its socket, and has not ended yet"]);
    wait_until("its end", || !keeper.half.is_alive());
    scene.recovers(keeper);
}
