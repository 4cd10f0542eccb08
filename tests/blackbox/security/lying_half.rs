//! "A half that is told to misbehave moves root to nothing but the run of an action that its store's writers
//! could have caused anyway."

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::fs::{SealFlags, ftruncate};
use serde_json::{Value, json};

use crate::harness::impostor::{ALL_SEALS, Impostor, MAX_DESCRIPTORS, frame, memory_file};
use crate::harness::{
    Daemon, Journal, Process, Sandbox, Store, command, exec, on_every_server, require_root, wait_for,
    wait_until, watch,
};

mod etcd;
mod floods;
mod memory;
mod texts;
mod zookeeper;

/// What the program allows: the bytes of a frame, of a body that is no file, of a text, of a path, and of the
/// longest content.
const MAX_FRAME: usize = 64 << 10;
const MAX_INLINE: usize = 32 << 10;
const MAX_TEXT: usize = 4 << 10;
const MAX_PATH: usize = 8 << 10;
const MAX_CONTENT: u64 = 1 << 30;

/// The longest line of a log: a text of the greatest length, with whatever is said about it.
const MAX_LINE: usize = 3 * MAX_TEXT;

/// A daemon on a store with two watches, whose store somebody else speaks for.
struct Scene {
    sandbox: Sandbox,
    daemon: Daemon,
    journal: Journal,
    other: Journal,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        Self::on(Sandbox::directory())
    }

    #[track_caller]
    fn on(sandbox: Sandbox) -> Self {
        require_root();
        let (journal, other) = (sandbox.journal(), sandbox.journal_named("other"));
        sandbox.nodes.set("/n", "true");
        sandbox.nodes.set("/quiet", "still");
        let record = |node: &str, journal: &Journal| watch(node, &exec(&journal.record_event()), "");
        sandbox.config("app.twc", [record("/n", &journal), record("/quiet", &other)].concat());
        let daemon = sandbox.daemon().start();
        journal.wait_for(&["load true"]);
        other.wait_for(&["load still"]);
        Self { sandbox, daemon, journal, other }
    }

    /// Takes the place of the process of the store, as soon as that is connected.
    #[track_caller]
    fn impostor(&self) -> Impostor {
        self.daemon.wait_for_log(&["connected to"]);
        wait_for("the process of the store", || match self.daemon.process().halves()[..] {
            [half] if half.is_alive() => Impostor::of(half),
            _ => None,
        })
    }

    /// The daemon is asked for its status, and answers.
    #[track_caller]
    fn status(&self) -> Value {
        let status = self.sandbox.operator(["status", "--json"]).finish().expect(0).text();
        serde_json::from_str(&status).expect("JSON")
    }

    fn is_healthy(&self) -> bool {
        self.sandbox.operator(["status", "--check"]).finish().code == Some(0)
    }

    /// Waits until another process serves the store and the last content of the node was run with.
    #[track_caller]
    fn recovers(&self, half: Impostor) {
        let from = half.end();
        wait_until("another process of the store", || {
            !from.is_alive() && self.daemon.process().halves().iter().any(|half| half.is_alive())
        });
        self.sandbox.nodes.set("/n", "recovered");
        // It may have said last that there is no such node.
        self.journal.wait_for_line_where("what is true", |line| line.ends_with(" recovered"));
        assert_eq!(self.other.lines(), ["load still"], "nothing happened to it");
        wait_until("a healthy daemon", || self.is_healthy());
        self.log_is_orderly();
    }

    /// No line of the log is long, has characters that a terminal obeys, or is somebody else's.
    #[track_caller]
    fn log_is_orderly(&self) {
        for line in self.daemon.log() {
            assert!(line.len() <= MAX_LINE, "{} bytes in {line:.200}", line.len());
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}') && !line.starts_with("FORGED"), "{line:?}");
        }
    }
}

fn data(id: u64, revision: i64) -> Value {
    present(id, revision, &json!("Data"))
}

fn present(id: u64, revision: i64, content: &Value) -> Value {
    let version = json!({ "incarnation": 1, "revision": revision, "number": 1 });
    json!({ "Observed": { "id": id, "state": { "Present": { "version": version, "content": content } } } })
}

fn absent(id: u64) -> Value {
    json!({ "Observed": { "id": id, "state": "Absent" } })
}

fn down(reason: &str) -> Value {
    json!({ "Disconnected": { "reason": reason } })
}

fn up(identity: &str) -> Value {
    json!({ "Connected": { "what": "somewhere", "identity": identity } })
}

/// A socket whose closing takes as long as the other end likes, and that end.
pub(super) fn lingering() -> (OwnedFd, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("the port")).expect("connect");
    client.set_nonblocking(true).expect("do not wait");
    while client.write(&[0; 64 << 10]).is_ok() {}
    client.set_nonblocking(false).expect("wait");
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 3600 };
    setsockopt(&client, sockopt::Linger, &linger).expect("linger");
    (client.into(), listener)
}

type Lie = fn(&Impostor, &Scene);

/// What the process of a directory says, and how the daemon calls that.
const LIES: &[(&str, Lie)] = &[
    ("a packet that is too large", |half, _| {
        let _ = half.send(&[b'x'; MAX_FRAME + 1], &[]);
    }),
    ("has too many descriptors", |half, _| {
        let file = memory_file(&[7; 100_000], ALL_SEALS);
        let _ = half.say_with(&data(0, 9), b"", &[file.as_fd(), file.as_fd()]);
    }),
    ("has too many descriptors", |half, _| {
        let file = memory_file(&[7; 100_000], ALL_SEALS);
        let _ = half.say_with(&data(0, 9), b"", &[file.as_fd(); MAX_DESCRIPTORS]);
    }),
    ("has too many descriptors", |half, _| {
        let file = memory_file(b"", ALL_SEALS);
        let _ = half.send(b"", &[file.as_fd()]);
    }),
    ("no sealed file", |half, _| with_file(half, &memory_file(&[7; 100_000], SealFlags::empty()))),
    ("no sealed file", |half, _| {
        with_file(half, &memory_file(b"grows", SealFlags::WRITE | SealFlags::SHRINK))
    }),
    ("no sealed file", |half, _| {
        with_file(half, &memory_file(b"loses its seals", ALL_SEALS.difference(SealFlags::SEAL)));
    }),
    ("no sealed file", |half, _| {
        with_file(half, &memory_file(b"changes later", SealFlags::FUTURE_WRITE | SealFlags::SEAL));
    }),
    ("no sealed file", |half, _| {
        let file = memory_file(b"", SealFlags::empty());
        ftruncate(&file, MAX_CONTENT + 1).expect("a long file");
        rustix::fs::fcntl_add_seals(&file, ALL_SEALS).expect("seal it");
        with_file(half, &file);
    }),
    ("no sealed file", |half, _| {
        let (reader, _writer) = nix::unistd::pipe().expect("a pipe");
        with_file(half, &reader);
    }),
    ("no sealed file", |half, _| with_file(half, &open("/dev/null"))),
    ("no sealed file", |half, _| with_file(half, &open("/"))),
    ("no sealed file", |half, _| with_file(half, &open("/etc/passwd"))),
    ("a content in two places", |half, _| {
        let file = memory_file(&[7; 100_000], ALL_SEALS);
        let _ = half.say_with(&data(0, 9), b"here as well", &[file.as_fd()]);
    }),
    ("a content where none belongs", |half, _| {
        let _ = half.say_with(&absent(0), b"something", &[]);
    }),
    ("a content where none belongs", |half, _| {
        let file = memory_file(&[7; 100_000], ALL_SEALS);
        let _ = half.say_with(&json!({ "Degraded": { "reason": "" } }), b"", &[file.as_fd()]);
    }),
    ("a content that is too large", |half, _| {
        // The daemon stops listening in the midst of it.
        while half.say_with(&json!("More"), &[b'x'; MAX_INLINE], &[]).is_ok() {}
    }),
    ("no message", |half, _| {
        let _ = half.send(&[0xff; 100], &[]);
    }),
    ("no message", |half, _| {
        let _ = half.send(b"abc", &[]);
    }),
    ("no message", |half, _| {
        let _ = half.send(&frame(&[b'['; 32 << 10], b""), &[]);
    }),
    ("no message", |half, _| {
        let _ = half.say(&json!({ "Execute": { "path": "/bin/sh" } }));
    }),
    ("a node that it was not asked for", |half, _| {
        let _ = half.say_with(&data(2, 9), b"forged", &[]);
    }),
    ("a node that it was not asked for", |half, _| {
        let _ = half.say(&absent(u64::MAX));
    }),
    ("a node that it was not asked for", |half, _| {
        let _ = half.say(&json!({ "Gone": { "id": 77 } }));
    }),
    ("that it is ready out of turn", |half, _| {
        let _ = half.say(&json!({ "Ready": { "confinement": "none" } }));
    }),
    ("a connection out of turn", |half, scene| {
        let _ = half.say(&up(&scene.sandbox.nodes.url()));
    }),
    ("an outage out of turn", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&down("two")));
    }),
    ("a refusal out of turn", |half, _| {
        let _ = half.say(&json!({ "Refused": { "reason": "none" } }));
    }),
    ("an answer out of turn", |half, _| {
        let _ = half.say(&json!("Pong")).and_then(|()| half.say(&json!("Pong")));
    }),
    ("another store", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&up("zk://elsewhere:2181/")));
    }),
    ("an impossible state", |half, _| {
        let _ = half.say_with(&present(0, 9, &json!({ "Children": { "count": 1 } })), b"a\n", &[]);
    }),
    ("an impossible state", |half, _| {
        let tree = json!({ "Tree": { "nodes": 0, "data_bytes": 0, "index": 0 } });
        let _ = half.say(&present(0, 9, &tree));
    }),
    ("an impossible state", |half, _| {
        let version = json!({ "incarnation": i64::MIN, "revision": i64::MIN, "number": 0 });
        let state = json!({ "Present": { "version": version, "content": "Data" } });
        let _ = half.say(&json!({ "Observed": { "id": 0, "state": state } }));
    }),
    ("a text that is too long", |half, _| {
        let _ = half.say(&down(&"x".repeat(MAX_TEXT + 1)));
    }),
    // A directory has no network, no login and no ACLs.
    ("a question for the login", |half, _| {
        let _ = half.say(&json!("NeedsLogin"));
    }),
    ("a connection over a network", |half, _| {
        let _ = half.say(&json!({ "Plaintext": { "server": "elsewhere", "with_credentials": true } }));
    }),
    ("nodes that others can change", |half, _| {
        let _ = half.say(&json!({ "Writable": { "path": "/n", "facet": "Data" } }));
    }),
    ("nodes that others can change", |half, _| {
        let _ = half.say(&json!("MoreWritable"));
    }),
    // Its root is the directory itself.
    ("a root that can be missing", |half, _| {
        let _ = half.say(&json!({ "RootMissing": { "reason": "" } }));
    }),
    ("a root that can be missing", |half, _| {
        let _ = half.say(&json!("RootFound"));
    }),
];

/// What the process of a store on a server says.
const LIES_OF_A_SERVER: &[(&str, Lie)] = &[
    ("a text that is too long", |half, _| {
        let path = "x".repeat(MAX_PATH + 1);
        let _ = half.say(&json!({ "Writable": { "path": path, "facet": "Data" } }));
    }),
    ("a text that is too long", |half, _| {
        let _ = half.say(&json!({ "Writable": { "path": "/../\n", "facet": "Data" } }));
    }),
    ("another directory", |half, _| {
        let _ = half.say(&json!("Moved"));
    }),
    ("another directory", |half, _| {
        let _ = half.say(&json!({ "Remember": { "memory": "" } }));
    }),
    ("another directory", |half, _| {
        let _ = half.say(&json!({ "Gone": { "id": 0 } }));
    }),
    ("again and again who can read or change", |half, _| {
        let writable = |number: u32| json!({ "Writable": { "path": format!("/{number}"), "facet": "Data" } });
        let _ = (0..).try_for_each(|number| half.say(&writable(number)));
    }),
    ("again and again who can read or change", |half, _| {
        let plaintext =
            |number: u32| json!({ "Plaintext": { "server": number.to_string(), "with_credentials": true } });
        let _ = (0..).try_for_each(|number| half.say(&plaintext(number)));
    }),
];

fn with_file(half: &Impostor, file: &impl AsFd) {
    // The daemon may be gone from the socket before all of it is said.
    let _ = half.say_with(&data(0, 9), b"", &[file.as_fd()]);
}

fn open(path: &str) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_half_that_breaks_a_rule_is_replaced_and_nothing_runs_for_what_it_said() {
    each_is_replaced(LIES, Scene::new);
}

#[test]
fn a_half_of_a_server_that_breaks_a_rule_is_replaced_as_well() {
    each_is_replaced(LIES_OF_A_SERVER, || Scene::on(Sandbox::zookeeper()));
}

// The process that finds out that this was a lie never said it.
on_every_server!(what_a_half_said_of_its_root_is_true_no_longer_than_until_the_next_has_looked);
fn what_a_half_said_of_its_root_is_true_no_longer_than_until_the_next_has_looked(store: Store) {
    let scene = Scene::on(Sandbox::of_kind(store));
    let half = scene.impostor();
    half.say(&json!({ "RootMissing": { "reason": "it is gone" } })).expect("it is allowed");
    wait_until("an unhealthy daemon", || !scene.is_healthy());
    scene.recovers(half);
    scene.daemon.wait_for_log(&["its root exists"]);
}

fn each_is_replaced(lies: &[(&str, Lie)], scene: fn() -> Scene) {
    let next = Mutex::new(lies.iter());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, lie)) = { next.lock().expect("nobody panics").next() } {
                    let scene = scene();
                    let half = scene.impostor();
                    lie(&half, &scene);
                    scene.daemon.wait_for_log(&["the process of this store said", name, "and was killed"]);
                    scene.recovers(half);
                    let lines = scene.journal.lines();
                    assert_eq!(lines, ["load true", "changed recovered"], "{name}: {lines:?}");
                }
            });
        }
    });
}

// Its writers could have written this. What is true is known as soon as an honest process looks.
#[test]
fn a_forged_state_runs_the_action_with_it_and_the_truth_again() {
    let scene = Scene::new();
    let half = scene.impostor();
    let text = "forged $(touch /tmp/x); `id`";
    half.say_with(&data(0, 9), text.as_bytes(), &[]).expect("it is allowed");
    scene.journal.wait_for(&["load true", &format!("created {text}")]);
    let long = memory_file(&[b'x'; 100_000], ALL_SEALS);
    half.say_with(&data(0, 10), b"", &[long.as_fd()]).expect("it is allowed");
    wait_until("a run with the long content", || scene.journal.lines().len() == 3);
    half.say(&absent(0)).expect("it is allowed");
    half.say_with(&data(9, 9), b"", &[]).expect("it can be said");
    wait_until("the truth", || scene.journal.lines().last().is_some_and(|line| line == "created true"));
    scene.recovers(half);
}

// While it is away, nobody may take the daemon for healthy.
#[test]
fn a_store_without_a_process_is_unhealthy_until_one_has_looked_at_it() {
    let scene = Scene::new();
    let half = scene.impostor();
    half.say(&json!({ "Ready": { "confinement": "none" } })).expect("it can be said");
    scene.daemon.wait_for_log(&["that it is ready out of turn"]);
    // Stops each that follows, until one is stopped before it says that it is connected.
    let stopped = wait_for("a process that says nothing", || {
        let half = *scene.daemon.process().halves().iter().find(|half| half.is_alive())?;
        half.signal(Signal::SIGSTOP);
        if scene.is_healthy() {
            half.signal(Signal::SIGKILL);
            wait_until("its end", || !half.is_alive());
            return None;
        }
        Some(half)
    });
    assert!(!scene.is_healthy());
    assert_eq!(scene.status()["daemon"]["stores"][0]["connected"], false);
    stopped.signal(Signal::SIGCONT);
    wait_until("a healthy daemon", || scene.is_healthy());
}

// What closes slowly is closed elsewhere.
#[test]
fn a_descriptor_that_takes_for_ever_to_close_holds_up_nobody() {
    type Sends = fn(&Impostor, BorrowedFd<'_>);
    let ways: [Sends; 3] = [
        |half, socket| with_file(half, &socket),
        |half, socket| {
            let _ = half.say_with(&data(0, 9), b"", &[socket; 2]);
        },
        // It waits in the socket when the daemon closes that.
        |half, socket| {
            let _ = half.say_with(&json!("Pong"), b"", &[]);
            for _ in 0..5 {
                let _ = half.say_with(&json!("Pong"), b"", &[socket]);
            }
        },
    ];
    for send in ways {
        let scene = Scene::new();
        let half = scene.impostor();
        let (socket, _listener) = lingering();
        // The process on whose behalf it was sent had it as well, in truth, and has closed it. Otherwise this
        // would be the last to close it.
        scene.daemon.signal(Signal::SIGSTOP);
        send(&half, socket.as_fd());
        drop(socket);
        scene.daemon.signal(Signal::SIGCONT);
        scene.daemon.wait_for_log(&["the process of this store said", "and was killed"]);
        scene.status();
        scene.recovers(half);
    }
}

// The daemon has no number for it, and the kernel would close it in the midst of the daemon's work.
#[test]
fn a_descriptor_for_which_there_is_no_room_holds_up_nobody() {
    let scene = Scene::new();
    let half = scene.impostor();
    let (socket, _listener) = lingering();
    let pid = scene.daemon.process().0.to_string();
    let limited = |limit: &str| {
        let done = command("prlimit").args(["--pid", &pid, &format!("--nofile={limit}:")]).status();
        assert!(done.expect("run prlimit").success());
    };
    limited("3");
    scene.daemon.signal(Signal::SIGSTOP);
    let _ = half.say_with(&data(0, 9), b"", &[socket.as_fd()]);
    drop(socket);
    scene.daemon.signal(Signal::SIGCONT);
    scene.daemon.wait_for_log(&["not connected", "cannot take what"]);
    limited("1000");
    scene.status();
    scene.recovers(half);
}

// A process that wants to be replaced again and again reads nothing, and the daemon must say so.
#[test]
fn a_half_that_always_asks_for_another_does_not_keep_the_store_connected() {
    let scene = Scene::new();
    let mut asked = 0;
    wait_until("the daemon to notice", || {
        // The daemon tells who has said how it is confined. One that is stopped before could only lie.
        let store = scene.status()["daemon"]["stores"][0].take();
        let pid = store["pid"].as_i64().filter(|_| store["confinement"].is_string());
        if let Some(half) = pid.and_then(|pid| Impostor::of(Process(pid as i32))) {
            asked += u32::from(half.say(&json!("Moved")).is_ok());
        }
        let said = scene.daemon.log_lines(&["not connected", "is another one again and again"]);
        !said.is_empty() && !scene.is_healthy()
    });
    assert!(scene.daemon.log().len() < 200, "{asked} processes");
}
