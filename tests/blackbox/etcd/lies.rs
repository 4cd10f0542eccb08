//! An etcd that lies: it "cannot abort the daemon, take its memory, or make it deaf", and it is not shown as
//! connected while what it says is no good. Each test tells lies, waits until the daemon has met them, and
//! then shows that it misses no update of a server that is honest again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::etcd_liar::{Asked, Call, EtcdLiar, Read};
use crate::harness::etcd_messages::{bytes, event, events, header, header_of, key_value, number, range};
use crate::harness::wait::throughout;
use crate::harness::{Daemon, Journal, Sandbox, exec, poll, wait_until, watch};

type Reply = fn(&Asked) -> Vec<u8>;

/// A lie: its name, what the daemon says of it, the calls that get it, and the reply.
type Lie = (&'static str, &'static str, fn(&Asked) -> bool, Reply);

/// Tells a call something about the watch of this number.
type Told = Box<dyn Fn(&Call, i64) + Send + Sync>;

/// A server that speaks no HTTP/2, and its name.
type Raw = (&'static str, fn(TcpStream));

/// The session timeout in seconds.
const TIMEOUT: u32 = 2;

/// The watches of the daemon: of each node on its key, and where more than data is watched on those below it.
const WATCHES: usize = 5;

/// The memory in KiB that a process may occupy, whatever it is sent.
const MAX_RESIDENT: u64 = 100 << 10;

/// A daemon that watches the data of `/n`, the children of `/c` and the tree at `/t`.
struct Fixture {
    liar: EtcdLiar,
    _sandbox: Sandbox,
    data: Journal,
    children: Journal,
    tree: Journal,
    daemon: Daemon,
    /// How often the nodes were updated.
    updates: u32,
}

impl Fixture {
    /// Starts a daemon whose actions have run once.
    fn running() -> Self {
        Self::running_with(TIMEOUT)
    }

    /// Starts it with this session timeout in seconds.
    fn running_with(timeout: u32) -> Self {
        let (liar, sandbox) = (EtcdLiar::start(), Sandbox::directory());
        for (node, content) in [("/n", "000"), ("/c/000", ""), ("/t/x", "000")] {
            liar.set(node, content);
        }
        let [data, children, tree] = ["data", "children", "tree"].map(|name| sandbox.journal_named(name));
        let last = exec(&children.note("$(tail -n 1)"));
        let text = exec(&tree.note("$(sed 's/.*\"text\":\"//; s/\".*//' | tail -n 1)"));
        let watches = [
            watch("/n", &exec(&data.record()), ""),
            watch("/c", &last, "watch_type: WATCH_CHILDREN"),
            watch("/t", &text, "watch_type: WATCH_TREE"),
        ];
        sandbox.config("app.twc", watches.concat());
        let timeout = timeout.to_string();
        let daemon = sandbox.daemon_on(&liar.url()).args(["--session-timeout", &timeout]).start();
        let it = Self { liar, _sandbox: sandbox, data, children, tree, daemon, updates: 0 };
        it.expect_up_to_date();
        it
    }

    /// The last content, and the last name, also where they are sorted as texts.
    fn last(&self) -> String {
        format!("{:03}", self.updates)
    }

    #[track_caller]
    fn expect_up_to_date(&self) {
        let last = self.last();
        [&self.data, &self.children, &self.tree]
            .iter()
            .for_each(|journal| drop(journal.wait_for_last(&last)));
        // What was read can be up to date before it is watched, and lies are told to those that watch.
        wait_until("all watches", || self.liar.watches() == WATCHES);
    }

    /// Shows that the daemon follows all nodes on a server that is honest from now on, and was not hurt.
    #[track_caller]
    fn expect_recovered(&mut self) {
        self.liar.be_honest();
        self.updates += 1;
        let last = self.last();
        self.liar.set("/n", &last);
        self.liar.set(&format!("/c/{last}"), "");
        self.liar.set("/t/x", &last);
        self.expect_up_to_date();
        self.expect_small();
        let broken = self.daemon.log_lines(&["process of this store"]);
        assert!(broken.is_empty() && self.daemon.is_running(), "{broken:?}");
    }

    #[track_caller]
    fn expect_small(&self) {
        let process = self.daemon.process();
        for process in [process].into_iter().chain(process.halves()) {
            let resident = process.resident();
            assert!(resident < MAX_RESIDENT, "{resident} KiB");
        }
    }

    /// Waits until the daemon has left the server for this reason.
    #[track_caller]
    fn expect_left(&self, lie: &str, reason: &str, logged: usize) {
        wait_until(&format!("the daemon to leave because of {lie}: {reason}"), || {
            self.expect_small();
            self.daemon.log().iter().skip(logged).any(|line| line.contains(reason))
        });
    }

    /// The processor time of the process of the store, in hundredths of a second.
    fn ticks(&self) -> u64 {
        self.daemon.process().halves().iter().map(|half| half.cpu_ticks()).sum()
    }
}

// What it says on the stream of watches.
#[test]
fn a_lie_on_the_stream_of_watches_ends_the_connection() {
    type Said = fn(&EtcdLiar);
    let lies: [(&str, &str, Said); 9] = [
        ("an unknown watch", "a watch that nobody asked for", |liar| {
            liar.say(|watch| events(watch + 1000, 9, &[event(&key_value(b"/n", 9, 9, 1, b"lie"))]));
        }),
        ("a negative watch", "a watch that nobody asked for", |liar| {
            liar.say(|watch| events(-watch - 1, 9, &[event(&key_value(b"/n", 9, 9, 1, b"lie"))]));
        }),
        ("another cluster", "another cluster replied", |liar| {
            liar.say(|watch| [header_of(9, 9), number(2, watch)].concat());
        }),
        ("a second confirmation", "confirmed a watch that nobody asked for", |liar| {
            liar.say(|watch| [header(9), number(2, watch), number(3, 1)].concat());
        }),
        ("two responses in fragments", "in fragments did not come", |liar| {
            liar.say(|watch| [header(9), number(2, watch), number(7, 1)].concat());
        }),
        ("the end of a watch", "the server ended a watch: no more", |liar| {
            liar.say(|watch| [header(9), number(2, watch), number(4, 1), bytes(6, b"no more")].concat());
        }),
        ("no message", "cannot be read", |liar| liar.say(|_| vec![0xff; 11])),
        ("a million empty events", "cannot be read", |liar| {
            liar.say(|watch| [number(2, watch), [0x5a, 0].repeat(1 << 20)].concat());
        }),
        ("an error", "out of sorts", |liar| liar.end_watches(2, "out of sorts")),
    ];
    let mut it = Fixture::running();
    for (lie, reason, say) in lies {
        let logged = it.daemon.log().len();
        say(&it.liar);
        it.expect_left(lie, reason, logged);
        it.expect_recovered();
    }
}

/// Answers each read of a page, or of data, with this in place of the ranges.
fn answer(
    liar: &EtcdLiar,
    is_about: fn(&Asked) -> bool,
    reply: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
) {
    liar.lie(move |call, asked| {
        let is_lie = asked.method == "KV/Txn" && is_about(asked);
        if is_lie {
            call.message(&reply(asked));
            call.end(0, "");
        }
        is_lie
    });
    liar.end_watches(14, "begin anew");
}

fn reads_a_page(asked: &Asked) -> bool {
    asked.reads.iter().any(|read| read.is_page())
}

fn reads_data(asked: &Asked) -> bool {
    asked.reads.first().is_some_and(|read| read.key == b"/n")
}

fn reads_anything(asked: &Asked) -> bool {
    reads_a_page(asked) || reads_data(asked)
}

fn results(asked: &Asked, revision: i64, keys: &[&[u8]], count: usize) -> Vec<u8> {
    let kvs: Vec<_> = keys.iter().map(|key| key_value(key, 2, 2, 1, b"lie")).collect();
    let one = bytes(3, &bytes(1, &range(&kvs, count, 1)));
    [header(revision), number(2, 1), one.repeat(asked.reads.len())].concat()
}

// What it says to a read.
#[test]
fn a_lie_about_keys_ends_the_connection() {
    let lies: [Lie; 11] = [
        ("keys elsewhere", "out of order", reads_a_page, |asked| results(asked, 9, &[b"/z"], 1)),
        ("keys twice", "out of order", reads_a_page, |asked| results(asked, 9, &[b"/c/a", b"/c/a"], 2)),
        ("keys in no order", "out of order", reads_a_page, |asked| results(asked, 9, &[b"/c/b", b"/c/a"], 2)),
        ("more of nothing", "out of order", reads_a_page, |asked| results(asked, 9, &[], 9)),
        ("the same page for ever", "out of order", reads_a_page, |asked| {
            let found = |read: &Read| match &read.end[..] {
                [] => range(&[], 0, 1),
                _ => range(&[key_value(&[&read.key[..3], b"x"].concat(), 2, 2, 1, b"lie")], 9, 1),
            };
            let results: Vec<_> = asked.reads.iter().map(|read| bytes(3, &bytes(1, &found(read)))).collect();
            [header(9), number(2, 1), results.concat()].concat()
        }),
        ("another node's data", "nobody asked for", reads_data, |asked| results(asked, 9, &[b"/m"], 1)),
        ("data twice", "nobody asked for", reads_data, |asked| results(asked, 9, &[b"/n", b"/n"], 1)),
        ("a negative revision", "replied to something else", reads_anything, |asked| {
            results(asked, -9, &[], 0)
        }),
        ("the last revision", "replied to something else", reads_anything, |asked| {
            results(asked, i64::MAX, &[], 0)
        }),
        ("no results", "replied to something else", reads_anything, |_| header(9)),
        ("another cluster", "another cluster replied", reads_anything, |_| header_of(9, 9)),
    ];
    let mut it = Fixture::running();
    for (lie, reason, is_about, reply) in lies {
        let logged = it.daemon.log().len();
        answer(&it.liar, is_about, reply);
        it.expect_left(lie, reason, logged);
        it.expect_recovered();
    }
}

// It answers nothing, with an error, or a part.
#[test]
fn a_server_that_does_not_answer_is_left_within_the_session_timeout() {
    type Lie = fn(&Call, &Asked) -> bool;
    let lies: [(&str, &str, Lie); 5] = [
        ("silence to watches", "no answer within", |_, asked| asked.method == "create"),
        ("silence to reads", "no answer within", |call, asked| {
            call.hang();
            reads_anything(asked)
        }),
        ("silence when it is asked whether it is there", "no answer within", |call, asked| {
            call.hang();
            asked.method == "KV/Range"
        }),
        ("an error to reads", "out of sorts", |call, asked| {
            let is_lie = reads_anything(asked);
            if is_lie {
                call.end(2, "out of sorts");
            }
            is_lie
        }),
        ("half a reply", "no answer within", |call, asked| {
            let is_lie = reads_anything(asked);
            if is_lie {
                call.raw(vec![0, 0, 0, 1, 0, 7]);
                call.hang();
            }
            is_lie
        }),
    ];
    let mut it = Fixture::running();
    for (lie, reason, tell) in lies {
        let logged = it.daemon.log().len();
        it.liar.lie(tell);
        it.liar.end_watches(14, "begin anew");
        it.expect_left(lie, reason, logged);
        it.expect_recovered();
    }
}

// Watches that it ends again and again, as if all was compacted, or that tell of the past. The daemon does
// not spin.
#[test]
fn watches_that_never_hold_are_no_busy_loop() {
    let mut it = Fixture::running();
    let confirmed = |watch: i64| [header(9), number(2, watch), number(3, 1)].concat();
    let tell: [Told; 3] = [
        Box::new(move |call, watch| {
            call.message(&confirmed(watch));
            call.message(&[header(9), number(2, watch), number(4, 1), number(5, 1 << 40)].concat());
        }),
        Box::new(move |call, watch| {
            call.message(&confirmed(watch));
            call.message(&events(watch, 9, &[event(&key_value(b"/n", 1, 1, 1, b"old"))]));
        }),
        Box::new(move |call, watch| {
            call.message(&confirmed(watch));
            call.message(&events(watch, 9, &[event(&key_value(b"/n", -9, -9, -9, b"older"))]));
        }),
    ];
    for tell in tell {
        let logged = it.daemon.log().len();
        it.liar.lie(move |call, asked| {
            let is_lie = asked.method == "create";
            if is_lie {
                tell(call, asked.watch);
            }
            is_lie
        });
        it.liar.end_watches(14, "begin anew");
        it.expect_left("watches that end", "again and again", logged);
        let before = it.ticks();
        // The promise is about a length of time.
        throughout(Duration::from_secs(2), || it.expect_small());
        let ticks = it.ticks() - before;
        assert!(ticks < 60, "{ticks} ticks of processor time in 2 s");
        it.expect_recovered();
    }
    let lines = it.data.lines();
    assert!(lines.iter().all(|line| !line.starts_with("old")), "{lines:?}");
}

// What arrives in pieces must end at some time, and nothing is kept of what has no room.
#[test]
fn a_message_without_an_end_is_given_up() {
    // Nothing else should end the connection, also on a busy machine.
    let mut it = Fixture::running_with(10);
    let logged = it.daemon.log().len();
    // Its length is 4 GiB.
    it.liar.say_raw(&[0, 0xff, 0xff, 0xff, 0xff, 0x10, 1]);
    it.expect_left("a message without an end", "no answer within 30 s", logged);
    it.expect_recovered();
}

#[test]
fn a_response_without_its_last_fragment_is_given_up() {
    // Nothing else should end the connection, also on a busy machine.
    let mut it = Fixture::running_with(10);
    let logged = it.daemon.log().len();
    it.liar.say_once(|watch| [header(9), number(2, watch), number(7, 1)].concat());
    it.expect_left("a fragment", "no answer within 30 s", logged);
    it.expect_recovered();
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Sends these bytes after its settings, then others again and again.
fn flood(mut stream: TcpStream, first: &[u8], again: &[u8]) {
    let mut input = [0; 1024];
    let _ = stream.set_write_timeout(Some(Duration::from_secs(20)));
    // Its first request is there then.
    for _ in 0..2 {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let _ = stream.read(&mut input);
    }
    let _ = stream.write_all(&[&SETTINGS[..], first].concat());
    while !again.is_empty() && stream.write_all(again).is_ok() {}
    // Until the client leaves.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    while stream.read(&mut input).is_ok_and(|length| length > 0) {}
}

// What is no etcd at all, or breaks the rules of HTTP/2.
#[test]
fn no_http_can_hurt_the_daemon() {
    let mut it = Fixture::running();
    let raw: [Raw; 8] = [
        ("HTTP/1", |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
        }),
        ("noise", |stream| flood(stream, b"", &[0xa5; 4096])),
        ("a giant frame", |stream| flood(stream, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &[0; 4096])),
        ("headers without an end", |stream| {
            flood(stream, &frame(1, 0, 1, &[0x88]), &frame(9, 0, 1, &[0x88; 4096]));
        }),
        ("resets", |stream| flood(stream, b"", &frame(3, 0, 1, &[0, 0, 0, 8]))),
        ("goodbyes", |stream| flood(stream, b"", &frame(7, 0, 0, &[0; 8]))),
        ("pings", |stream| flood(stream, b"", &frame(6, 0, 0, &[0; 8]))),
        ("settings", |stream| flood(stream, b"", &SETTINGS)),
    ];
    for (lie, serve) in raw {
        let (before, started) = (it.liar.accepted(), Instant::now());
        it.liar.serve_raw(serve);
        it.liar.end_watches(14, "begin anew");
        wait_until(&format!("two attempts to connect in spite of {lie}"), || {
            it.expect_small();
            it.liar.accepted() >= before + 2
        });
        // Pauses grow, so that they are not many.
        let few = 10 + started.elapsed().as_secs() as usize;
        assert!(it.liar.accepted() - before < few, "{} attempts", it.liar.accepted() - before);
        it.expect_recovered();
    }
}

// The commands end, and say that no etcd is there.
#[test]
fn commands_end_whatever_an_etcd_says() {
    let (liar, sandbox) = (EtcdLiar::start(), Sandbox::directory());
    liar.set("/a/b", "1");
    let url = liar.url();
    let run = |args: &[&str]| {
        let command = args.iter().fold(sandbox.twitcher([]), |command, arg| command.arg(arg));
        command.args(["--store", &url, "--session-timeout", "2"]).finish()
    };
    liar.lie(|call, asked| {
        let is_lie = asked.method == "KV/Range";
        if is_lie {
            let page = range(&[key_value(b"/a/b", 2, 2, 1, b"1")], 9, 1);
            call.message(&[header(9), page].concat());
            call.end(0, "");
        }
        is_lie
    });
    for args in [&["ls", "/a"][..], &["tree", "/a"], &["export", "/a"]] {
        run(args).expect(1).expect_said(&["out of order"]);
    }
    // Somebody else is always faster.
    liar.lie(|call, asked| {
        let is_lie = asked.method == "KV/Txn" && asked.reads.is_empty();
        if is_lie {
            call.message(&header(9));
            call.end(0, "");
        }
        is_lie
    });
    run(&["tables", "attach", "mine"]).expect(1).expect_said(&["mine was not attached", "within 2 s"]);
    liar.be_honest();
    let listed = poll(Duration::from_secs(10), || Some(run(&["ls", "/a"]).expect(0).text()));
    assert_eq!(listed.as_deref(), Some("b\n"));
}
