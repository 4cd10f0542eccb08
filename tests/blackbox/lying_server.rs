//! "A server that lies cannot abort the daemon, take its memory, or make it deaf": whatever a ZooKeeper
//! server, or somebody between, sends. Each test tells the lie, waits until the daemon has met it, and then
//! shows that the daemon lives, has taken no memory, says what was wrong, and misses no update of a server
//! that is honest again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::liar::{
    ACL, AUTH, Asked, CHILDREN, Connection, DATA, EXISTS, GREETING, Liar, NO_NODE, SASL, bytes, event,
    greeting, list, message, number, reply, stat,
};
use crate::harness::{Daemon, Journal, Sandbox, exec, wait_until, watch};

/// The session timeout in seconds, within which a silent server must be left.
const TIMEOUT: i32 = 2;

/// The memory in KiB that a daemon may occupy, whatever it is sent. Its largest message has 16 MiB.
const MAX_RESIDENT: u64 = 150 << 10;

/// A daemon that watches the data of `/n` and the children of `/c` on a server that is honest so far.
struct Fixture {
    liar: Liar,
    sandbox: Sandbox,
    data: Journal,
    children: Journal,
    daemon: Daemon,
}

impl Fixture {
    /// Starts a daemon whose actions have run once.
    fn running() -> Self {
        let it = Self::lied_to_from_the_beginning(|_| {});
        it.data.wait_for(&["0"]);
        it.children.wait_for(&["a "]);
        it
    }

    /// Starts a daemon on a server that `prepare` can teach a lie.
    fn lied_to_from_the_beginning(prepare: impl Fn(&Liar)) -> Self {
        Self::start("", TIMEOUT * 1000, prepare)
    }

    fn start(settings: &str, granted: i32, prepare: impl Fn(&Liar)) -> Self {
        let (liar, sandbox) = (Liar::start(granted), Sandbox::directory());
        for (node, content) in [("/n", "0"), ("/c", ""), ("/c/a", "")] {
            liar.set(node, content);
        }
        prepare(&liar);
        let (data, children) = (sandbox.journal(), sandbox.journal_named("children"));
        sandbox.settings(settings);
        let names = exec(&children.note("$(tr '\\n' ' ')"));
        sandbox.config(
            "app.twc",
            [watch("/n", &exec(&data.record()), ""), watch("/c", &names, "watch_type: WATCH_CHILDREN")]
                .concat(),
        );
        let timeout = TIMEOUT.to_string();
        let daemon = sandbox.daemon_on(&liar.url()).args(["--session-timeout", &timeout]).start();
        Self { liar, sandbox, data, children, daemon }
    }

    /// Waits until the daemon has said `reason` and made a new connection, while its memory is looked at.
    #[track_caller]
    fn expect_left(&self, reason: &str, connections_before: usize) {
        wait_until(&format!("the daemon to leave because {reason}"), || {
            let resident = self.daemon.process().resident();
            assert!(resident < MAX_RESIDENT, "{resident} KiB for {reason}");
            self.liar.accepted() > connections_before && !self.daemon.log_lines(&[reason]).is_empty()
        });
    }

    /// Shows that the daemon follows both nodes on a server that is honest from now on.
    #[track_caller]
    fn expect_recovered(mut self) {
        self.liar.be_honest();
        self.liar.set("/n", "honest");
        self.liar.set("/c/b", "");
        self.data.wait_for_last("honest");
        self.children.wait_for_last("a b ");
        let status = self.sandbox.operator(["status", "--json"]).finish().expect(0);
        status.expect_said(&["\"connected\":true"]);
        assert!(self.daemon.is_running());
        assert!(self.daemon.process().resident() < MAX_RESIDENT);
    }
}

/// Has the server reply with a lie to one operation from a running session on, until the daemon leaves.
#[track_caller]
fn lie_about(operation: i32, reason: &str, lie: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) {
    let it = Fixture::running();
    let before = it.liar.accepted();
    it.liar.lie(move |connection, asked| {
        let is_it = asked.operation == operation;
        if is_it {
            connection.send(&lie(asked));
        }
        is_it
    });
    match operation {
        DATA => it.liar.set("/n", "1"),
        CHILDREN => it.liar.set("/c/x", ""),
        _ => panic!("a daemon at rest asks for nothing else"),
    }
    it.expect_left(reason, before);
    // The daemon does not hurry to be lied to again.
    assert!(it.liar.accepted() < before + 20);
    it.liar.be_honest();
    it.liar.set("/n", "honest");
    it.data.wait_for_last("honest");
    it.expect_recovered_with_x(operation == CHILDREN);
}

impl Fixture {
    #[track_caller]
    fn expect_recovered_with_x(self, has_x: bool) {
        if has_x {
            self.liar.set("/c/b", "");
            self.children.wait_for_last("a b x ");
            assert!(self.daemon.process().resident() < MAX_RESIDENT);
        } else {
            self.expect_recovered();
        }
    }
}

/// Sends bytes to a daemon at rest, which must leave.
#[track_caller]
fn say(reason: &str, bytes: &[u8]) {
    let it = Fixture::running();
    let before = it.liar.accepted();
    it.liar.say(bytes);
    it.expect_left(reason, before);
    it.expect_recovered();
}

#[test]
fn counts_that_cannot_be_take_no_memory() {
    let names = "a list of children announces 2147483647 entries";
    lie_about(CHILDREN, names, |asked| {
        reply(asked.xid, 0, &[number(i32::MAX), bytes(b"a"), stat(1, 1, 1)].concat())
    });
    lie_about(CHILDREN, "a list of children announces -5 entries", |asked| {
        reply(asked.xid, 0, &[number(-5), stat(1, 1, 1)].concat())
    });
    let it = Fixture::lied_to_from_the_beginning(|liar| {
        liar.lie(|connection, asked| {
            let acl = [number(i32::MAX), number(1), bytes(b"world"), bytes(b"anyone")].concat();
            asked.operation == ACL && {
                connection.send(&reply(asked.xid, 0, &acl));
                true
            }
        });
    });
    it.expect_left("an ACL announces 2147483647 entries", 1);
    it.expect_recovered();
}

#[test]
fn lengths_that_cannot_be_end_the_session() {
    lie_about(DATA, "a node's data has a length of -2", |asked| {
        reply(asked.xid, 0, &[number(-2), stat(1, 9, 1)].concat())
    });
    lie_about(DATA, "a node's data ends too early", |asked| {
        reply(asked.xid, 0, &[number(1 << 20), b"abc".to_vec(), stat(1, 9, 1)].concat())
    });
    lie_about(DATA, "a stat ends too early", |asked| {
        reply(asked.xid, 0, &[bytes(b"1"), stat(1, 9, 1)[..60].to_vec()].concat())
    });
    lie_about(DATA, "has 1 bytes too many", |asked| {
        reply(asked.xid, 0, &[bytes(b"1"), stat(1, 9, 1), vec![0]].concat())
    });
}

#[test]
fn a_wrong_length_makes_no_session_deaf() {
    say("it announces a message of 1073741823 bytes", &number(0x3fff_ffff));
    say("it announces a message of 2147483647 bytes", &[number(i32::MAX), vec![b'x'; 1 << 20]].concat());
    say("it announces a message of -1 bytes", &number(-1));
    say("it announces a message of 5 bytes", &bytes(b"short"));
    // The message that these bytes begin never ends, so that the ping after it has no reply: no answer comes
    // in time, or nothing at all.
    say("was lost (", &number(1 << 20));
}

#[test]
fn what_is_not_utf_8_ends_the_session() {
    lie_about(CHILDREN, "the name of a child is not UTF-8", |asked| {
        reply(asked.xid, 0, &[list(&[b"a", b"\xff"]), stat(1, 1, 9)].concat())
    });
}

#[test]
fn names_that_no_node_has_reach_no_action() {
    let it = Fixture::running();
    it.liar.lie(|connection, asked| {
        let names = list(&[b"../../etc", b"a\nb", b"", b".", b"..", b"/", b"good", b"\x1b[2J", b"good"]);
        asked.operation == CHILDREN && {
            connection.send(&reply(asked.xid, 0, &[names, stat(1, 1, 99)].concat()));
            true
        }
    });
    it.liar.set("/c/x", "");
    it.children.wait_for(&["a ", "good "]);
}

#[test]
fn a_reply_that_nobody_waits_for_ends_the_session() {
    say("it replied to request 77, which nobody made", &reply(77, 0, b""));
    say("it replied to request -2, which nobody made", &reply(-2, 0, b""));
    say("it replied to request -4, which nobody made", &reply(-4, 0, b""));
}

#[test]
fn a_reply_to_another_request_ends_the_session() {
    lie_about(DATA, "it replied to request 1000000, while it owes", |asked| {
        reply(1_000_000, 0, &[bytes(&asked.xid.to_be_bytes()), stat(1, 9, 1)].concat())
    });
    lie_about(DATA, "which nobody made", |asked| {
        reply(asked.xid, 0, &[bytes(b"1"), stat(1, 9, 1)].concat()).repeat(2)
    });
}

#[test]
fn replies_in_reverse_order_end_the_session() {
    let it = Fixture::running();
    let before = it.liar.accepted();
    let held: Mutex<Vec<(i32, Vec<u8>)>> = Mutex::default();
    it.liar.lie(move |connection, asked| {
        let mut held = held.lock().unwrap();
        let body = match asked.operation {
            DATA => [bytes(b"late"), stat(1, 9, 1)].concat(),
            CHILDREN => [list(&[b"late"]), stat(1, 1, 9)].concat(),
            _ => return false,
        };
        held.push((asked.xid, body));
        if held.len() == 2 {
            for (xid, body) in held.drain(..).rev() {
                connection.send(&reply(xid, 0, &body));
            }
        }
        true
    });
    it.liar.set("/n", "1");
    it.liar.set("/c/b", "");
    it.expect_left("while it owes the reply to", before);
    it.expect_recovered();
}

#[test]
fn silence_to_one_request_ends_the_session_though_pings_are_answered() {
    let it = Fixture::running();
    let before = it.liar.accepted();
    // Pings have the number -2. If the request after the first one were answered, that would show at once.
    it.liar.lie(|_, asked| asked.xid > 0);
    it.liar.set("/n", "1");
    it.expect_left("a request got no answer within 2.0 s", before);
    it.sandbox.operator(["status"]).finish().expect(0);
    it.expect_recovered();
}

#[test]
fn half_a_reply_and_then_silence_ends_the_session() {
    lie_about(DATA, "no answer within 2.0 s", |asked| {
        let whole = reply(asked.xid, 0, &[bytes(&[b'x'; 1000]), stat(1, 9, 1)].concat());
        whole[..whole.len() / 2].to_vec()
    });
}

#[test]
fn events_of_unknown_nodes_are_ignored() {
    let it = Fixture::running();
    let before = it.liar.accepted();
    for path in ["/unknown", "/", "/n/below", "/zookeeper"] {
        it.liar.say(&event(3, path.as_bytes()));
    }
    it.liar.set("/n", "1");
    it.data.wait_for(&["0", "1"]);
    assert_eq!(it.liar.accepted(), before);
    it.expect_recovered();
}

#[test]
fn events_that_cannot_be_end_the_session() {
    say("the path of an event is no node path", &event(3, b"no/path"));
    say("the path of an event is no node path", &event(3, b"/a/../b"));
    say("the path of an event is no node path", &event(3, b"/a\nb"));
    say("the path of an event is not UTF-8", &event(3, b"/\xff"));
    say("99 is no kind of event", &event(99, b"/n"));
}

#[test]
fn a_flood_of_events_takes_no_memory_and_the_session_is_left() {
    for path in ["/unknown", "/n"] {
        let it = Fixture::running();
        let before = it.liar.accepted();
        let flood = event(3, path.as_bytes()).repeat(1000);
        // It begins with the next request, and after it the server hears nothing any more.
        it.liar.lie(move |connection, _| {
            connection.flood(&flood);
            true
        });
        let ticks = it.daemon.process().cpu_ticks();
        it.liar.set("/n", "1");
        it.expect_left("no answer within", before);
        let ticks = it.daemon.process().cpu_ticks() - ticks;
        assert!(ticks < 300, "{ticks} ticks for some seconds of flood");
        it.expect_recovered();
    }
}

#[test]
fn a_node_that_comes_and_goes_with_each_question_harms_no_other() {
    let it = Fixture::running();
    let asked_for_data = AtomicUsize::new(0);
    it.liar.lie(move |connection, asked| {
        if asked.path != "/n" {
            return false;
        }
        match asked.operation {
            DATA if asked_for_data.fetch_add(1, Ordering::SeqCst) > 10_000 => panic!("asked without end"),
            DATA => connection.send(&reply(asked.xid, NO_NODE, b"")),
            EXISTS => connection.send(&reply(asked.xid, 0, &stat(1, 2, 1))),
            _ => return false,
        }
        true
    });
    it.liar.set("/n", "1");
    it.daemon.wait_for_log(&["/n", "it comes and goes all the time"]);
    it.expect_recovered();
}

#[test]
fn a_node_that_is_too_large_harms_no_other() {
    let it = Fixture::running();
    let before = it.liar.accepted();
    it.liar.set("/n", vec![b'x'; 20 << 20]);
    it.daemon.wait_for_log(&["/n", "more than can be read"]);
    assert_eq!(it.liar.accepted(), before);
    it.expect_recovered();
}

#[test]
fn an_unknown_error_is_tried_again() {
    let it = Fixture::running();
    it.liar.lie(|connection, asked| {
        asked.operation == DATA && {
            connection.send(&reply(asked.xid, 12_345, b"body"));
            true
        }
    });
    it.liar.set("/n", "1");
    it.daemon.wait_for_log(&["/n", "the server's error 12345"]);
    it.expect_recovered();
}

/// Has the server greet with a lie until the daemon has said `reason`.
#[track_caller]
fn greet(reason: &str, lie: impl Fn(&Connection) + Send + Sync + 'static) {
    let it = Fixture::running();
    let before = it.liar.accepted();
    it.liar.lie(move |connection, asked| {
        let is_it = asked.operation == GREETING;
        if is_it {
            lie(connection);
        }
        is_it
    });
    // The daemon is told to leave, and then greeted with the lie.
    it.liar.say(&number(-1));
    it.expect_left("it announces a message of -1 bytes", before);
    wait_until("the daemon to meet the lie several times", || it.liar.accepted() > before + 2);
    let status = it.sandbox.operator(["status"]).finish().expect(0);
    status.expect_said(&["NOT CONNECTED"]);
    assert!(it.daemon.process().resident() < MAX_RESIDENT);
    if !reason.is_empty() {
        let get = ["get", "/n", "--session-timeout", "2", "--store", &it.liar.url()];
        it.sandbox.twitcher(get).finish().expect(1).expect_said(&[reason]);
    }
    it.expect_recovered();
}

#[test]
fn no_greeting_but_a_true_one_opens_a_session() {
    greet("the session is over before it began", |connection| connection.send(&greeting(0, 7)));
    greet("the session is over before it began", |connection| connection.send(&greeting(i32::MIN, 7)));
    greet("the session is number 0", |connection| connection.send(&greeting(4000, 0)));
    greet("what answers there is no ZooKeeper", |connection| {
        connection.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    greet("no ZooKeeper serves there", Connection::close);
    greet("no answer within", |connection| connection.send(&greeting(4000, 7)[..20]));
    let early = [greeting(4000, 7), reply(1, 0, &bytes(b"/"))].concat();
    greet("it replied to request 1, which nobody made", move |connection| connection.send(&early));
}

#[test]
fn a_session_that_never_ends_is_left_when_the_server_is_silent() {
    let it = Fixture::start("", i32::MAX, |_| {});
    it.data.wait_for(&["0"]);
    let before = it.liar.accepted();
    it.liar.lie(|_, _| true);
    it.liar.set("/n", "1");
    wait_until("the daemon to leave", || it.liar.accepted() > before);
    it.expect_recovered();
}

#[test]
fn a_login_has_two_steps_and_no_more() {
    let settings = "[sasl]\nusername = \"twitcher\"\npassword = \"secret\"\n\
                    [[auth]]\nscheme = \"digest\"\ncredentials = \"a:b\"\n";
    let challenge = br#"realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess"#;
    for (token, reason) in [
        (challenge.to_vec(), "the server does not prove that it knows the password"),
        (b"nonsense".to_vec(), "its challenge is none of DIGEST-MD5"),
        (vec![b'a'; 1 << 20], "its challenge is too long"),
    ] {
        let it = Fixture::start(settings, TIMEOUT * 1000, move |liar| {
            let token = token.clone();
            liar.lie(move |connection, asked| {
                match asked.operation {
                    SASL => connection.send(&reply(asked.xid, 0, &bytes(&token))),
                    // Credentials are confirmed again and again.
                    AUTH => connection.send(&reply(-4, 0, b"").repeat(1)),
                    _ => return false,
                }
                true
            });
        });
        it.daemon.wait_for_log(&["not connected", reason]);
        assert!(it.daemon.process().resident() < MAX_RESIDENT);
    }
    let it =
        Fixture::start("[[auth]]\nscheme = \"digest\"\ncredentials = \"a:b\"\n", TIMEOUT * 1000, |liar| {
            liar.lie(|connection, asked| {
                asked.operation == AUTH && {
                    connection.send(&reply(-4, 0, b"").repeat(1000));
                    true
                }
            });
        });
    it.daemon.wait_for_log(&["not connected", "it replied to request -4, which nobody made"]);
    it.liar.be_honest();
    it.data.wait_for(&["0"]);
    it.expect_recovered();
}

/// Whoever is silent is left for the next attempt, at whatever step.
#[test]
fn silence_at_any_step_of_a_login_is_left() {
    const SYNC: i32 = 9;
    let auth = "[[auth]]\nscheme = \"digest\"\ncredentials = \"a:b\"\n";
    let sasl = "[sasl]\nusername = \"twitcher\"\npassword = \"secret\"\n";
    let challenge = br#"realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess"#;
    for (step, settings) in [(GREETING, ""), (SYNC, ""), (AUTH, auth), (SASL, sasl)] {
        let it = Fixture::start(settings, TIMEOUT * 1000, |liar| {
            liar.lie(move |_, asked| asked.operation == step)
        });
        it.daemon.wait_for_log(&["not connected", "no answer within 2.0 s"]);
        wait_until("other attempts", || it.liar.accepted() > 2);
        if step != SASL {
            it.expect_recovered();
        }
    }
    // The second step of SASL: the challenge is answered, and the server says no more.
    let it = Fixture::start(sasl, TIMEOUT * 1000, |liar| {
        liar.lie(move |connection, asked| {
            if asked.operation == SASL && asked.xid == 1 {
                connection.send(&reply(asked.xid, 0, &bytes(challenge)));
            }
            asked.operation == SASL
        });
    });
    it.daemon.wait_for_log(&["not connected", "no answer within 2.0 s"]);
    wait_until("other attempts", || it.liar.accepted() > 2);
}

#[test]
fn garbage_for_a_message_ends_the_session() {
    say("it replied to request 1094795585, which nobody made", &message(&[0x41; 64]));
}
