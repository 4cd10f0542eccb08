//! Clients that are slow, silent, many, or hostile: none of them blocks the daemon, keeps operators out, or
//! makes the daemon grow.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{look_at, runs, wait_for_state, wait_until_served};
use crate::harness::control::{Answer, Connection, ask, connect, get, say};
use crate::harness::{Daemon, Journal, Sandbox, exec, load, wait_for, wait_until, watch};

/// A sandbox with this many watches, whose status fits into no socket's buffer, and a watch on `/n` that
/// journals.
fn sandbox(watches: usize) -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "description: \"named\""));
    // A slow machine evaluates this many in time.
    for file in 0..watches / 500 {
        let nodes = file * 500..(file + 1) * 500;
        let one = watch("N", &exec("true"), "").replace("\"N\"", "`/none/${n}`");
        sandbox.config(&format!("many{file}.twc"), format!("for n in {nodes:?} {{ {one} }}"));
    }
    (sandbox, journal)
}

/// Starts the daemon of such a sandbox and waits until it serves operators.
#[track_caller]
fn start(watches: usize) -> (Sandbox, Journal, Daemon) {
    let (sandbox, journal) = sandbox(watches);
    let daemon = sandbox.start();
    wait_until_served(&sandbox);
    (sandbox, journal, daemon)
}

/// Panics unless the daemon works: an update runs, and an operator gets a reply.
#[track_caller]
fn assert_well(sandbox: &Sandbox, journal: &Journal) {
    let next = journal.lines().len().to_string();
    sandbox.nodes.set("/n", &next);
    journal.wait_for_last(&next);
    sandbox.operator(["status", "named"]).finish().expect(0).expect_said(&["app.twc:named"]);
}

/// Waits until the daemon has closed its end of the connection.
#[track_caller]
fn wait_until_dropped(mut connection: &UnixStream) {
    connection.set_nonblocking(true).expect("a socket that never blocks");
    let mut some = [0; 4096];
    wait_until("the daemon to end the connection", || match connection.read(&mut some) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    });
}

/// The daemon's open descriptors and its resident memory in KiB.
fn held(daemon: &Daemon) -> (usize, u64) {
    (daemon.process().open_files(), daemon.process().resident())
}

/// Waits until the daemon has as many descriptors as before. Panics if its memory has grown by more than
/// this.
#[track_caller]
fn assert_nothing_is_kept(daemon: &Daemon, before: (usize, u64), kilobytes: u64) {
    // The ledger's first checkpoint opens some descriptors that it keeps for the next one.
    wait_until("the descriptors to be closed", || held(daemon).0 <= before.0 + 4);
    let (_, after) = held(daemon);
    assert!(after <= before.1 + kilobytes, "from {} to {after} KiB", before.1);
}

// "a client that connects and never says anything"
#[test]
fn clients_that_do_not_complete_a_request_are_dropped() {
    let (sandbox, journal, daemon) = start(2000);
    let before = held(&daemon);
    // This client has sent its request, but reads the reply slowly.
    let mut asker = connect(&sandbox.control_socket());
    asker.write_all(b"GET /v1/watches HTTP/1.0\r\n\r\n").expect("ask");
    let silent = connect(&sandbox.control_socket());
    let mut half = connect(&sandbox.control_socket());
    half.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n").expect("say half of it");
    let mut slow = connect(&sandbox.control_socket());
    assert_well(&sandbox, &journal);
    // A byte now and then gains no time.
    let mut request = b"GET /v1/status HTTP/1.1\r\nx: ".iter().chain(b"y".iter().cycle());
    wait_until("it to be cut off", || slow.write_all(&[*request.next().expect("endless")]).is_err());
    wait_until_dropped(&silent);
    wait_until_dropped(&half);
    let mut answer = Vec::new();
    asker.read_to_end(&mut answer).expect("the answer");
    assert_eq!(
        Answer::parse(&answer).expect("an answer").json_lines().len(),
        2001,
        "a client that has asked has more time"
    );
    assert_well(&sandbox, &journal);
    assert_nothing_is_kept(&daemon, before, 8 * 1024);
}

// "one that asks and never reads (a big status: use a few thousand watches)"
#[test]
fn clients_that_never_read_their_reply_are_dropped_and_cost_little() {
    let (sandbox, journal, daemon) = start(5000);
    let socket = sandbox.control_socket();
    let whole = wait_for("all to be known", || {
        let whole = get(&socket, "/v1/watches");
        (whole.body.len() > 1_500_000 && !whole.text().contains("\"unknown\"")).then_some(whole)
    });
    let before = held(&daemon);
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = connect(&socket);
            client.write_all(b"GET /v1/watches HTTP/1.0\r\n\r\n").expect("ask");
            client
        })
        .collect();
    wait_until("all to be there", || daemon.process().open_files() >= before.0 + clients.len() - 5);
    assert_well(&sandbox, &journal);
    assert_eq!(get(&socket, "/v1/watches").json_lines().len(), 5001, "a client that reads gets all of it");
    let (_, meanwhile) = held(&daemon);
    // All replies in full have 75 MB.
    assert!(meanwhile < before.1 + 40 * 1024, "from {} to {meanwhile} KiB", before.1);
    // The daemon drops these clients before they have read anything.
    wait_until("their end", || daemon.process().open_files() <= before.0 + 4);
    for mut client in clients {
        client.set_timeout(Duration::from_secs(60));
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.len() < whole.body.len(), "its end is missing");
    }
    assert_well(&sandbox, &journal);
    assert_nothing_is_kept(&daemon, before, 20 * 1024);
}

// "1,000 clients at once (half of them silent) while an operator's `status` still answers and an update's
// action still starts"
#[test]
fn a_thousand_clients_at_once_keep_neither_operators_nor_updates_out() {
    let (sandbox, journal, daemon) = start(1000);
    assert_well(&sandbox, &journal);
    let before = held(&daemon);
    let socket = sandbox.control_socket();
    let clients: Vec<_> = (0..1000)
        .map(|n| {
            let mut client = connect(&socket);
            // No client reads its reply, and that to the first request is too large to be sent without a
            // reader.
            let said: &[u8] = match n % 10 {
                0 => b"GET /v1/watches HTTP/1.0\r\n\r\n",
                1..5 => b"GET /v1/status HTTP/1.0\r\n\r\n",
                _ => b"",
            };
            client.write_all(said).expect("ask");
            client
        })
        .collect();
    assert_well(&sandbox, &journal);
    let more: Vec<_> = (0..500).map(|_| connect(&socket)).collect();
    assert_well(&sandbox, &journal);
    assert!(held(&daemon).0 < before.0 + 100, "descriptors: {} to {}", before.0, held(&daemon).0);
    drop((clients, more));
    assert_well(&sandbox, &journal);
    assert_nothing_is_kept(&daemon, before, 20 * 1024);
}

// "Idle control/metrics connections eat the descriptor reserve": they have a share of it, and no more.
#[test]
fn idle_clients_take_no_descriptors_from_actions_and_configs() {
    let (sandbox, journal) = sandbox(0);
    sandbox.settings("[metrics]\nlisten = \"127.0.0.1:0\"\n");
    let mut daemon = sandbox.daemon().under(["prlimit", "--nofile=64:64"]).start();
    wait_until_served(&sandbox);
    journal.wait_for(&["0"]);
    let serving = daemon.wait_for_log(&["serving", "metrics"]);
    let address = serving.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let address = address.expect("an address").to_owned();
    let idle = || (connect(&sandbox.control_socket()), std::net::TcpStream::connect(&address));
    let clients: Vec<_> = (0..60).map(|_| idle()).collect();
    for update in 1..30 {
        let content = format!("update {update}");
        sandbox.nodes.set("/n", &content);
        journal.wait_for_last(&content);
    }
    sandbox.config("late.twc", watch("/none", &exec("true"), "description: \"late\""));
    daemon.wait_for_log(&["late.twc: loaded"]);
    drop(clients);
    assert_well(&sandbox, &journal);
    assert_eq!(daemon.log_lines(&["open files"]), [""; 0]);
    assert!(daemon.is_running());
}

/// Sends these bytes and returns the status of the reply, or `None` if the connection was closed without one.
#[track_caller]
fn status_of(socket: &Path, bytes: &[u8]) -> Option<u16> {
    Answer::parse(&say(connect(socket), bytes)).map(|answer| answer.status)
}

// "garbage bytes, a 1 MB header, a 10 MB body on POST, HTTP/0.9, HTTP/2 preface"
#[test]
fn garbage_is_refused_or_dropped_at_once() {
    let (sandbox, journal, daemon) = start(0);
    assert_well(&sandbox, &journal);
    let before = held(&daemon);
    let socket = sandbox.control_socket();
    let garbage: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
    let large_header = [b"GET /v1/status HTTP/1.1\r\nx: ", &vec![b'y'; 1 << 20][..], b"\r\n\r\n"].concat();
    let many_headers = ["GET /v1/status HTTP/1.1\r\n", &"x: y\r\n".repeat(1000), "\r\n"].concat();
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let nonsense: [&[u8]; 12] = [
        &garbage,
        &large_header,
        many_headers.as_bytes(),
        long_path.as_bytes(),
        &vec![b'\n'; 1 << 20],
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET /v1/status\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/status HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nbad header\r\n\r\n",
    ];
    for bytes in nonsense {
        let status = status_of(&socket, bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(matches!(status, None | Some(400..500)), "{shown:?}: {status:?}");
    }
    assert_well(&sandbox, &journal);
    assert_nothing_is_kept(&daemon, before, 8 * 1024);
}

// "a 10 MB body on POST"
#[test]
fn an_order_with_a_body_of_any_size_is_obeyed() {
    let (sandbox, journal, daemon) = start(0);
    assert_well(&sandbox, &journal);
    let before = held(&daemon);
    let socket = sandbox.control_socket();
    for size in [1, 10 << 20] {
        let head =
            format!("POST /v1/pause?watch=named HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
        assert_eq!(status_of(&socket, &[head.as_bytes(), &vec![b'x'; size]].concat()), Some(200));
        wait_for_state(&sandbox, "named", "paused");
        let head = "POST /v1/resume?watch=named HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n0\r\n\r\n"].concat();
        assert_eq!(status_of(&socket, &[head.as_bytes(), &body].concat()), Some(200));
        wait_for_state(&sandbox, "named", "idle");
    }
    assert_nothing_is_kept(&daemon, before, 8 * 1024);
}

// "pipelined requests"
#[test]
fn of_pipelined_requests_only_the_first_is_answered() {
    let (sandbox, _, _daemon) = start(0);
    let pause = "POST /v1/pause?watch=named HTTP/1.1\r\nhost: x\r\n\r\n";
    let status = "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = say(connect(&sandbox.control_socket()), format!("{status}{pause}").repeat(50).as_bytes());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(look_at(&sandbox, "named")["paused"], false);
}

// `nc -N` and `socat` close their side after the request.
#[test]
fn a_client_that_shuts_its_side_down_gets_its_reply() {
    let (sandbox, _, _daemon) = start(1000);
    let mut client = connect(&sandbox.control_socket());
    client.write_all(b"GET /v1/watches HTTP/1.0\r\n\r\n").expect("ask");
    client.shutdown(std::net::Shutdown::Write).expect("end it");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the answer");
    assert_eq!(Answer::parse(&answer).expect("an answer").json_lines().len(), 1001);
}

// "path traversal, invalid percent-encoding, a watch name with newline/escape codes/quotes/4 KB"
#[test]
fn requests_with_inexact_or_hostile_names_are_refused() {
    let (sandbox, _, daemon) = start(0);
    let socket = sandbox.control_socket();
    for path in [
        "/v1/../v1/status",
        "/v1/status/",
        "/v1//status",
        "/v1/%73tatus",
        "/V1/STATUS",
        "/v1/",
        "/",
        "/../../etc/passwd",
        "/v1/..%2f..%2fetc%2fpasswd",
        "/v1/%ff%00",
        "*",
        "/v2/status",
    ] {
        for method in ["GET", "POST"] {
            let answer = ask(connect(&socket), method, path);
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.text());
        }
    }
    let refused = |query: &str, status: u16| {
        for (method, resource) in
            [("POST", "trigger"), ("POST", "kill"), ("GET", "watches"), ("GET", "history")]
        {
            let answer = ask(connect(&socket), method, &format!("/v1/{resource}?{query}"));
            assert_eq!(answer.status, status, "{resource}?{query}: {}", answer.text());
            let error = answer.json()["error"].as_str().expect("words").to_owned();
            assert!(!error.contains(char::is_control) && error.len() < 20_000, "{error:?}");
        }
    };
    for unknown in [
        "watch=",
        "watch=%",
        "watch=%zz%f",
        "watch=%ff%fe",
        "watch=a%0aFORGED%0d%1b[31m",
        "watch='%22%60$(reboot);--",
        "watch=named%00",
        "watch=named%20",
        "watch=app.twc",
        "watch=app.twc:",
        "watch=:named",
        "watch=%25",
        &format!("watch={}", "x".repeat(4096)),
        &format!("watch={}", "%0a".repeat(2000)),
    ] {
        refused(unknown, 404);
    }
    for wrong in ["watch=named&watch=named", "wach=named", "watch=named&x", "named"] {
        refused(wrong, 400);
    }
    assert_eq!(ask(connect(&socket), "POST", "/v1/trigger").status, 400, "without a watch");
    assert_eq!(ask(connect(&socket), "GET", "/v1/trigger?watch=named").status, 405);
    assert_eq!(ask(connect(&socket), "POST", "/v1/watches").status, 405);
    // The command refuses hostile names, too, also those that are too long for a request.
    for name in ["a\nb\u{1b}[31m", "\"'`$(reboot)", "", "\u{fffd}", &"x".repeat(4096), &"\n".repeat(9000)] {
        let done = sandbox.operator(["status", "--"]).arg(name).finish().expect(1);
        assert!(!done.stderr.trim_end().contains(char::is_control), "{:?}", done.stderr);
    }
    assert_eq!(look_at(&sandbox, "app.twc:named")["watch"], "app.twc:named");
    assert!(daemon.log().iter().all(|line| !line.contains(char::is_control)), "{:#?}", daemon.log());
    assert_eq!(daemon.log_lines(&["by an operator"]), [""; 0]);
    assert_eq!(runs(&sandbox).len(), 1);
}

// "metrics scraped in a loop while 10,000 watches change" (in the full suite)
#[test]
fn metrics_are_complete_and_actions_start_while_thousands_of_watches_change_under_constant_scrapes() {
    let watches = load(2_000, 10_000);
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    let many = sandbox.root().join("nodes/many");
    fs::create_dir(&many).expect("create a directory");
    let change_all = |value: usize| {
        for n in 0..watches {
            fs::write(many.join(n.to_string()), value.to_string()).expect("write a node");
        }
    };
    change_all(0);
    sandbox.config(
        "many.twc",
        format!(
            "for n in 0..{watches} {{
                 RegisterWatch(#{{ znode: `/many/${{n}}`, action: Exec(\"true\"), debounce: 1000 }});
             }}"
        ),
    );
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), "description: \"named\""));
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    wait_until("all watches to have seen their nodes", || waiting(&metrics(&sandbox)) == watches);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut scrapes = 0;
            while !done.load(Ordering::Relaxed) {
                let text = metrics(&sandbox);
                let states = text.lines().filter(|line| line.starts_with("twitcher_watches{"));
                assert_eq!(states.map(value).sum::<usize>(), watches + 1, "{text}");
                assert_eq!(waiting(&text), watches, "{text}");
                scrapes += 1;
            }
            scrapes
        });
        let _done = SetAtLast(&done);
        for value in 1..=3 {
            change_all(value);
            sandbox.nodes.set("/n", value.to_string());
            journal.wait_for_last(&value.to_string());
            sandbox.operator(["status", "named"]).finish().expect(0);
        }
        done.store(true, Ordering::Relaxed);
        assert!(scraper.join().expect("the scraper") > 1);
    });
}

/// Sets the flag when it is dropped, also if the test fails: the scope waits for its threads.
struct SetAtLast<'a>(&'a AtomicBool);

impl Drop for SetAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn metrics(sandbox: &Sandbox) -> String {
    get(&sandbox.control_socket(), "/metrics").text()
}

/// The number of updates that wait.
fn waiting(metrics: &str) -> usize {
    metrics.lines().find(|line| line.starts_with("twitcher_waiting_updates ")).map_or(0, value)
}

/// The number at the end of a line.
#[track_caller]
fn value(line: &str) -> usize {
    line.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number: {line}"))
}

// "slow or hostile clients cannot hold the daemon"
#[test]
fn clients_that_leave_during_a_reply_leave_nothing_behind() {
    let (sandbox, journal, daemon) = start(3000);
    assert_well(&sandbox, &journal);
    let before = held(&daemon);
    for n in 0..300 {
        let mut client = connect(&sandbox.control_socket());
        let resource = ["watches", "history", "status", "output?run=1"][n % 4];
        client.write_all(format!("GET /v1/{resource} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).expect("ask");
        if n % 3 == 0 {
            let _ = client.read(&mut [0; 10]);
        }
    }
    assert_well(&sandbox, &journal);
    assert_nothing_is_kept(&daemon, before, 8 * 1024);
    // A large reply is chunked, so that a client can tell that one was broken off.
    let cut = wait_for("an answer", || {
        let mut client = connect(&sandbox.control_socket());
        client.write_all(b"GET /v1/watches HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut some = vec![0; 1000];
        client.read_exact(&mut some).ok()?;
        Some(String::from_utf8_lossy(&some).into_owned())
    });
    assert!(cut.to_lowercase().contains("transfer-encoding: chunked"), "{cut}");
    wait_for_state(&sandbox, "named", "idle");
}
