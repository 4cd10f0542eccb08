//! "Bodies, headers and connections bounded; slow, silent and hostile clients hold nobody up": what all of
//! them have the server keep has a bound, which twitcher-serve(1) tells.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::harness::{CommitServer, set_mode, wait_until};

/// The bound in KiB.
const BOUND: u64 = 256 << 10;

/// The most memory that the server has had, in KiB.
fn peak(server: &CommitServer) -> u64 {
    let peak = server.process().status("VmHWM");
    peak.trim_end_matches(" kB").parse().expect("a size")
}

/// Sends a request, of which the kernel keeps as little as possible on its way back.
fn ask_slowly(server: &CommitServer, head: &str) -> TcpStream {
    let mut stream = server.connect();
    setsockopt(&stream, sockopt::RcvBuf, &4096).expect("shorten the buffer");
    stream.write_all(head.as_bytes()).expect("send a request");
    stream.set_nonblocking(true).expect("do not block");
    stream
}

/// Whether the server has answered something, or has dropped the client.
fn is_answered(stream: &TcpStream) -> bool {
    !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn slow_readers_of_a_large_list_have_the_server_keep_little_and_hold_nobody_up() {
    const READERS: usize = 240;
    let server = CommitServer::diary("");
    // What is read from the journal at once ends with a payload that goes beyond 256 KiB.
    let payloads = [vec![b'a'; 250 << 10], vec![b'b'; 1 << 20]];
    for key in 0..8 {
        assert_eq!(server.save(&format!("key{key}"), 1, &payloads[key % 2]).status, 200);
    }
    let list = "/diary?payload_utf8=yes";
    let head = format!("GET {list} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let readers: Vec<_> = (0..READERS).map(|_| ask_slowly(&server, &head)).collect();
    // There is not enough for all.
    wait_until("many to wait for the rest", || {
        readers.iter().filter(|stream| is_answered(stream)).count() > 40
    });
    let began = Instant::now();
    assert_eq!(server.get("/-/healthy").text(), "ok");
    assert_eq!(server.metric("twitcher_serve_keys"), 8.0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(server.get("/diary/key0/meta").json()["version"], 1);
    let whole = server.get(list).json();
    for (name, entry) in whole.as_object().expect("a list") {
        let payload = &payloads[usize::from(name.as_bytes()[3] - b'0') % 2];
        assert!(entry["payload_utf8"].as_str().is_some_and(|text| text.as_bytes() == payload), "{name}");
    }
    assert_eq!(whole.as_object().map(serde_json::Map::len), Some(8));
    wait_until("everybody to be answered or dropped", || readers.iter().all(is_answered));
    assert!(peak(&server) < BOUND, "{} KiB", peak(&server));
}

#[test]
fn large_forms_that_do_not_end_have_the_server_keep_little_and_hold_nobody_up() {
    const FORM: usize = 4 << 20;
    let server = CommitServer::diary("");
    let head = format!(
        "POST /-/edit/diary HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {FORM}\r\n\r\n",
        server.address
    );
    let mut senders: Vec<_> = (0..72).map(|_| (ask_slowly(&server, &head), FORM - 1)).collect();
    let form = vec![b'x'; FORM];
    let mut all_sent = || {
        for (stream, rest) in &mut senders {
            while *rest > 0 {
                match stream.write(&form[..*rest]) {
                    Ok(sent) => *rest -= sent,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // It was dropped.
                    Err(_) => *rest = 0,
                }
            }
        }
        senders.iter().all(|(stream, rest)| *rest == 0 || is_answered(stream))
    };
    all_sent();
    assert_eq!(server.get("/-/healthy").text(), "ok");
    let large = vec![b'y'; 1 << 20];
    assert_eq!(server.save("foo", 1, &large).status, 200);
    assert!(server.get("/diary/foo").body == large);
    wait_until("everybody to be heard or dropped", all_sent);
    assert!(peak(&server) < BOUND, "{} KiB", peak(&server));
}

#[test]
fn while_there_is_no_memory_large_requests_are_to_come_again_and_small_ones_are_answered() {
    // A client that waits for a validator is not a slow one.
    let server = CommitServer::diary(
        "validate = [\"/bin/sh\", \"-c\", \"until test -e $HOME/go; do sleep 0.05; done\"]",
    );
    // The validator is nobody, and must find the file.
    set_mode(server.home.path(), 0o755);
    let large = vec![b'x'; 1 << 20];
    let statuses: Vec<u16> = thread::scope(|scope| {
        let save = |key: usize| {
            let (server, large) = (&server, &large);
            move || {
                let saved = server.save(&format!("key{key}"), 1, large);
                if saved.status == 503 {
                    assert_eq!(saved.header("retry-after"), Some("2"));
                    assert!(saved.text().starts_with("Busy: "), "{}", saved.text());
                    let go = server.home.path().join("go");
                    fs::write(go, "").expect("let the others go on");
                }
                saved.status
            }
        };
        let saves: Vec<_> = (0..40).map(|key| scope.spawn(save(key))).collect();
        for _ in 0..3 {
            assert_eq!(server.get("/-/healthy").text(), "ok");
            assert_eq!(server.get("/diary").status, 200);
            assert_eq!(server.get("/-/keys/diary").status, 200);
        }
        saves.into_iter().map(|save| save.join().expect("a status")).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    // Where all is slow, some validators do not see the file in time.
    let refused = count(422);
    assert!(count(503) > 0 && count(200) > 10 && count(200) + refused + count(503) == 40, "{statuses:?}");
    assert!(peak(&server) < BOUND, "{} KiB", peak(&server));
    assert_eq!(server.save("again", 1, &large).status, 200);
}

/// What a stranger sends is read only as far as a token needs, or a text whose author's session has ended.
#[test]
fn little_is_read_of_somebody_whom_nobody_knows() {
    let token = "0".repeat(64);
    let server = CommitServer::start(&format!(
        "[serve.commits.diary]\n[[serve.users]]\nname = \"eva\"\ntoken = \"sha256:{token}\"\nmay = \
         [\"*:write\"]\n"
    ));
    let form = |path: &str, bytes: usize| {
        let origin = format!("http://{}", server.address);
        let headers = [("Origin", &*origin), ("Content-Type", "application/x-www-form-urlencoded")];
        let body = [b"text=", &vec![b'x'; bytes - 5][..]].concat();
        server.ask("POST", path, &headers, &body)
    };
    assert_eq!(form("/-/login", 8 << 10).status, 403, "no user has this token");
    assert_eq!(form("/-/login", (8 << 10) + 1).status, 413);
    let kept = form("/-/edit/diary", 1 << 20);
    assert_eq!(kept.status, 403);
    assert!(kept.text().contains(&"x".repeat((1 << 20) - 5)), "what its author wrote is still there");
    assert_eq!(form("/-/edit/diary", (1 << 20) + 1).status, 413);
    // Of a payload nothing is read, however long it is.
    let mut stream = server.connect();
    let head = "POST /diary/foo/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\
                Content-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 401");
}
