//! "No save is lost, none is half there, over `kill -9` at any moment, a full disk." "Slow, silent and
//! hostile clients hold nobody up."

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use twitcher::value::commit::decode;

use crate::harness::{CommitServer, load, wait_until};

const WRITERS: usize = 8;

#[test]
fn no_answered_save_is_lost_and_none_is_half_there_over_kills() {
    let kills = load(15, 200);
    // Whatever a kill leaves unpublished, the next server publishes.
    let keeper = "store = \"dir:$HOME/nodes\"\npath = \"/config\"\npublish_period = 1";
    let home = tempfile::tempdir_in("/tmp").unwrap();
    fs::create_dir(home.path().join("nodes")).unwrap();
    let server = Mutex::new(CommitServer::start_in(home, &format!("[serve.commits.diary]\n{keeper}\n")));
    let address = Mutex::new(server.lock().unwrap().address.clone());
    let is_over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    // The version that each writer was last told to be kept.
    let kept: Vec<i64> = thread::scope(|scope| {
        let write = |writer: usize| {
            let (address, is_over, answered) = (&address, &is_over, &answered);
            move || {
                let mut last = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let at = address.lock().unwrap().clone();
                    match save(&at, writer, last + 1) {
                        Some(200) => {
                            last += 1;
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        // It was kept, but the answer did not come: nobody else writes this key.
                        Some(409) => last += 1,
                        Some(status) => panic!("status {status}"),
                        None => thread::yield_now(),
                    }
                }
                last
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
        for kill in 0..kills {
            // At another moment of the writers' work each time.
            let seen = answered.load(Ordering::Relaxed);
            wait_until("some saves", || answered.load(Ordering::Relaxed) > seen + kill % 7);
            let mut server = server.lock().unwrap();
            server.kill_and_start_again();
            *address.lock().unwrap() = server.address.clone();
        }
        is_over.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let server = server.into_inner().unwrap();
    for (writer, last) in kept.into_iter().enumerate() {
        let head = server.get(&format!("/diary/w{writer}/meta")).json()["version"].as_i64().unwrap();
        assert!(head == last || head == last + 1, "writer {writer} was told {last}, and the head is {head}");
        for version in 1..=head {
            let read = server.get(&format!("/diary/w{writer}/{version}"));
            assert_eq!(read.text(), payload(writer, version), "writer {writer}, version {version}");
        }
        let node = server.home.path().join(format!("nodes/config/data/w{writer}"));
        wait_until("the head to be published", || {
            let data = fs::read(&node).unwrap_or_default();
            decode(&data, &format!("w{writer}"))
                .is_ok_and(|(found, data)| found.version == head && data == payload(writer, head).as_bytes())
        });
    }
}

fn payload(writer: usize, version: i64) -> String {
    format!("{writer} {version} ").repeat(500)
}

/// Returns the status, if one comes.
fn save(address: &str, writer: usize, version: i64) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let body = payload(writer, version);
    let head = format!(
        "POST /diary/w{writer}/{version} HTTP/1.1\r\nHost: {address}\r\nX-Rainer-Author: w\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).ok()?;
    std::str::from_utf8(&reply[9..]).ok()?.parse().ok()
}

#[test]
fn idle_and_slow_clients_hold_nobody_up() {
    let server = CommitServer::diary("");
    server.save("foo", 1, b"x");
    let idle: Vec<TcpStream> = (0..load(300, 1000)).map(|_| server.connect()).collect();
    let began = Instant::now();
    let say = |text: &str| {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let head = "POST /diary/foo/2 HTTP/1.1\r\nHost: localhost\r\nX-Rainer-Author: slow\r\n";
    let slow: Vec<TcpStream> = (0..load(300, 1000)).map(|_| say(head)).collect();
    // They get longer, but not for ever.
    let slow_payload = format!("{head}Content-Length: 10\r\n\r\nslow");
    let slower: Vec<TcpStream> = (0..load(100, 1000)).map(|_| say(&slow_payload)).collect();
    assert_eq!(server.get("/diary/foo").text(), "x");
    assert_eq!(server.save("foo", 2, b"y").status, 200);
    assert_eq!(server.get("/-/healthy").text(), "ok");
    // A client that is silent has its place for 10 s, if nobody else wants it.
    assert!(began.elapsed() < Duration::from_secs(load(15, 60)), "{:?}", began.elapsed());
    assert!(server.process().resident() < 64 << 10, "{} KiB", server.process().resident());
    drop((idle, slow, slower));
}

#[test]
fn clients_leave_the_server_the_descriptors_that_it_needs() {
    let server = CommitServer::diary("validate = [\"/bin/true\"]");
    server.limit("nofile", "64");
    // It has its place before the others come, and needs more descriptors after.
    let mut stream = server.connect();
    let head = "POST /diary/foo/1 HTTP/1.1\r\nHost: localhost\r\nX-Rainer-Author: eva\r\n";
    write!(stream, "{head}Content-Length: 2\r\n\r\nx").unwrap();
    let idle: Vec<TcpStream> = (0..60).map(|_| server.connect()).collect();
    wait_until("as many to be served as may be", || server.process().open_files() > 40);
    stream.write_all(b"y").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert_eq!(server.get("/diary/foo").text(), "xy");
    drop(idle);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = CommitServer::diary("");
    let large = "x".repeat(20_000);
    let refused = server.ask("GET", "/diary", &[("X-Large", &large)], b"");
    assert_eq!(refused.status, 431);
    let refused = server.save_with_comment("foo", &"x".repeat(5000));
    assert_eq!((refused.status, &*refused.text()), (400, "Malformed header: X-Rainer-Comment"));
    let refused = server.ask("GET", &format!("/diary/{}", "x".repeat(20_000)), &[], b"");
    assert_eq!(refused.status, 431);
    for nonsense in ["\r\n\r\n", "GET\r\n\r\n", "GET http://[ HTTP/1.1\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let mut stream = server.connect();
        stream.write_all(nonsense.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        assert!(reply.is_empty() || reply.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&reply));
    }
    assert_eq!(server.get("/diary").status, 200);
}

#[test]
fn a_journal_that_cannot_be_written_is_503_and_nothing_is_half_done() {
    let server = CommitServer::diary("");
    assert_eq!(server.save("foo", 1, b"x").status, 200);
    let journal = server.home.path().join("commits.db");
    let away = server.home.path().join("away.db");
    std::fs::rename(&journal, &away).unwrap();
    let refused = server.save("foo", 2, b"y");
    assert_eq!(refused.status, 503);
    let told = "Journal is not available: the database is not available: ";
    assert!(refused.text().starts_with(told) && refused.text().contains("put it back"), "{}", refused.text());
    assert_eq!(server.get("/diary/foo").status, 503);
    assert_eq!(server.get("/-/healthy").status, 503);
    assert!(server.get("/-/metrics").text().contains("twitcher_serve_journal_up{namespace=\"diary\"} 0"));
    std::fs::rename(&away, &journal).unwrap();
    assert_eq!(server.save("foo", 2, b"y").status, 200);
    assert_eq!(server.get("/-/healthy").text(), "ok");
}

#[test]
fn a_second_server_on_the_same_journal_never_wins_a_version_that_the_first_has_given() {
    let first = CommitServer::diary("");
    let journal = first.home.path().join("commits.db");
    let settings = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"sqlite:{}\"\n[serve.commits.diary]\n",
        journal.display()
    );
    let second = CommitServer::start(&settings);
    for version in 1..=20 {
        let saves = thread::scope(|scope| {
            let saves =
                [&first, &second].map(|server| scope.spawn(move || server.save("foo", version, b"x").status));
            saves.map(|save| save.join().unwrap())
        });
        assert!(saves == [200, 409] || saves == [409, 200], "{saves:?}");
    }
}
