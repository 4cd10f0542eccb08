//! The metrics, over the control socket and over TCP.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use super::{runs, wait_for_state, wait_until_served};
use crate::harness::control::{Answer, ask, connect, get, say};
use crate::harness::{self, Daemon, Sandbox, exec, wait_until, watch};

/// Starts a daemon that serves its metrics on a free port. Returns their address, too.
#[track_caller]
fn start(sandbox: &Sandbox) -> (Daemon, SocketAddr) {
    fs::write(sandbox.configs().join("twitcher.toml"), "[metrics]\nlisten = \"127.0.0.1:0\"\n")
        .expect("write the settings");
    let daemon = sandbox.start();
    let line = daemon.wait_for_log(&["serving", "metrics on http://"]);
    let (_, address) = line.split_once("metrics on http://").expect("it contains that");
    let address = address.strip_suffix("/metrics").and_then(|address| address.parse().ok());
    (daemon, address.unwrap_or_else(|| panic!("no address: {line}")))
}

#[track_caller]
fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"))
}

// "only /metrics there (404 for /v1/...), POST refused"
#[test]
fn the_metrics_address_gives_the_metrics_and_nothing_else() {
    let sandbox = Sandbox::directory();
    sandbox.config("app.twc", watch("/none", &exec("true"), "description: \"named\""));
    let (daemon, address) = start(&sandbox);
    wait_for_state(&sandbox, "named", "absent");
    let over_tcp = ask(dial(address), "GET", "/metrics");
    assert_eq!(over_tcp.status, 200);
    assert!(
        over_tcp.head.to_lowercase().contains("content-type: text/plain; version=0.0.4"),
        "{}",
        over_tcp.head
    );
    for metric in ["twitcher_watches{state=\"absent\"} 1\n", "twitcher_build_info{version="] {
        assert!(over_tcp.text().contains(metric), "{}", over_tcp.text());
    }
    let over_socket = get(&sandbox.control_socket(), "/metrics");
    let names = |answer: &Answer| {
        let text = answer.text();
        text.lines().filter(|line| line.starts_with("# TYPE")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&over_socket), names(&over_tcp));
    for resource in
        ["/v1/status", "/v1/watches", "/v1/history", "/v1/output?run=1", "/", "/metrics/", "//metrics"]
    {
        let answer = ask(dial(address), "GET", resource);
        assert_eq!(answer.status, 404, "{resource}: {}", answer.text());
        assert!(answer.json()["error"].is_string());
    }
    for order in ["/v1/reload", "/v1/trigger?watch=named", "/v1/pause?watch=named"] {
        assert_eq!(ask(dial(address), "POST", order).status, 404, "{order}");
    }
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        let answer = ask(dial(address), method, "/metrics");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.to_lowercase().contains("allow: get"), "{method}: {}", answer.head);
    }
    assert_eq!(daemon.log_lines(&["by an operator"]), [""; 0]);
    // These bytes are no HTTP, or another version of it.
    for bytes in [&b"\n\n\n\n"[..], b"GET /metrics\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01"]
    {
        let answer = say(dial(address), &[bytes, b"\r\n\r\n"].concat());
        let status = Answer::parse(&answer).map(|answer| answer.status);
        assert!(matches!(status, None | Some(400..500)), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(ask(dial(address), "GET", "/metrics").status, 200);
}

// "a clear message"
#[test]
fn a_metrics_address_that_is_taken_is_reported_and_the_daemon_goes_on() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("its address");
    fs::write(sandbox.configs().join("twitcher.toml"), format!("[metrics]\nlisten = \"{address}\"\n"))
        .expect("write the settings");
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["WARNING", &format!("metrics.listen {address}: "), "going on without"]);
    journal.wait_for(&["1"]);
    wait_until_served(&sandbox);
    get(&sandbox.control_socket(), "/metrics");
    assert_eq!(daemon.stop(), Some(0));
}

// "`promtool check metrics` passes on a real scrape of a busy daemon"
#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_of_a_busy_daemon() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let scripts = ["true", "exit 3", "exec sleep 1000", "echo out; echo err >&2"];
    let watches: Vec<_> = scripts.iter().map(|script| watch("/n", &exec(script), "")).collect();
    let missing = watch("/n", "Exec([\"/missing\"])", "retry: #{ attempts: 9, delay: 1000 }");
    let quoted = watch("/n", &exec("exit 1"), r#"description: "it's \"quoted\" \\ and 日本語""#);
    sandbox.config("app.twc", [watches.concat(), missing, quoted].concat());
    sandbox.config("bad.twc", "RegisterWatch(");
    let (_daemon, address) = start(&sandbox);
    wait_until_served(&sandbox);
    wait_until("all to have run", || {
        runs(&sandbox).iter().filter(|run| run["outcome"] != "running").count() == 5
    });
    sandbox.nodes.set("/n", "2");
    wait_until("all to have run", || {
        runs(&sandbox).iter().filter(|run| run["outcome"] != "running").count() >= 8
    });
    let metrics = ask(dial(address), "GET", "/metrics");
    // Where `tests/run` unpacks it if this machine has none.
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("promtool/usr/bin/promtool");
    let promtool = if unpacked.exists() { unpacked.as_os_str() } else { "promtool".as_ref() };
    let mut promtool = harness::command(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs promtool: run tests/run");
    promtool.stdin.take().expect("piped").write_all(&metrics.body).expect("give it the metrics");
    let said = promtool.wait_with_output().expect("wait for promtool");
    let said = [said.stdout, said.stderr, said.status.to_string().into_bytes()].concat();
    assert_eq!(String::from_utf8_lossy(&said), "exit status: 0", "{}", metrics.text());
    drop(connect(&sandbox.control_socket()));
}
