//! Servers that accept a connection and then say too little: nobody waits for them longer than the session
//! timeout, and the next server is tried.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{client, set};
use crate::harness::ports::free_port;
use crate::harness::secure::{Login, Secure};
use crate::harness::{Sandbox, Server, Validity, command, exec, wait_until, watch};

/// The session timeout in seconds: how long a server may be silent.
const TIMEOUT: u64 = 2;

/// The head of a record of TLS that is as long as any, with the beginning of a server's hello.
const BEGINNING: &[u8] = &[0x16, 3, 3, 0x3f, 0xff, 2, 0, 0x3f, 0xfb, 3, 3];

/// A server that accepts connections and never answers the handshake of TLS.
struct Silent {
    port: u16,
    accepted: Arc<AtomicUsize>,
}

impl Silent {
    /// It says `beginning`, if that is something, and then goes on with a byte each half of a second, which
    /// no timeout must take for an answer.
    fn start(beginning: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let port = listener.local_addr().expect("the port").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || hold(stream, beginning));
            }
        });
        Self { port, accepted }
    }
}

/// Keeps a connection open until the client ends it.
fn hold(mut stream: TcpStream, beginning: &[u8]) {
    if beginning.is_empty() {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
        return;
    }
    let mut said = stream.write_all(beginning);
    while said.is_ok() {
        thread::sleep(Duration::from_millis(500));
        said = stream.write_all(&[0]);
    }
}

/// A server that makes TLS connections and then says nothing.
struct SilentTls {
    port: u16,
    process: Child,
}

impl SilentTls {
    #[track_caller]
    fn start(secure: &Secure, sandbox: &Sandbox) -> Self {
        let port = free_port();
        let issued = secure.authority.issue(&["localhost"], Validity::Now);
        let [chain, key] = ["silent.pem", "silent.key"].map(|name| sandbox.path(name));
        std::fs::write(&chain, &issued.chain).expect("write a certificate");
        sandbox.private(&key, &issued.key);
        let process = command("setpriv")
            .args(["--pdeathsig", "KILL", "--", "openssl", "s_server", "-quiet", "-accept"])
            .arg(format!("127.0.0.1:{port}"))
            .arg("-cert")
            .arg(chain)
            .arg("-key")
            .arg(key)
            // Its stdin stays open and has nothing, so it says nothing.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start openssl");
        wait_until("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, process }
    }
}

impl Drop for SilentTls {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

// "Reconnect attempts lie at most 5 s apart", and "every command that talks to a store fails within the
// session timeout": also if the server never answers the handshake of TLS, answers a bit of it for ever, or
// makes the connection and never greets.
#[test]
fn a_server_that_is_silent_in_the_midst_of_tls_is_left_for_the_next() {
    let secure = Secure::start(Login::Optional);
    secure.server.down();
    let (mute, slow) = (Silent::start(&[]), Silent::start(BEGINNING));
    let greeting = Sandbox::directory();
    let greetless = SilentTls::start(&secure, &greeting);
    for port in [mute.port, slow.port, greetless.port] {
        let sandbox = Sandbox::directory();
        let tls = secure.tls(&sandbox);
        let (silent, honest) = (format!("localhost:{port}"), secure.address("localhost"));
        let settings = |servers: &str| {
            sandbox.settings(&format!("store = \"zk://{servers}\"\nsession_timeout = {TIMEOUT}\n{tls}"));
        };
        // The silent one alone: what is said, and how long a command waits.
        settings(&silent);
        let began = Instant::now();
        let refused = client(&sandbox, ["get", "/n"]).finish().expect(1);
        refused.expect_said(&[&silent, "no answer within"]);
        assert!(began.elapsed() < Duration::from_secs(10 * TIMEOUT), "{:?}", began.elapsed());
        let mut daemon = sandbox.daemon_without_store().start();
        let reason = format!("{silent}: no answer within {TIMEOUT}.0 s");
        daemon.wait_for_log(&["not connected", &reason]);
        let status = sandbox.operator(["status"]).finish().expect(0);
        status.expect_said(&["NOT CONNECTED", &reason]);
        assert_eq!(daemon.stop(), Some(0));

        // Both: the other one is tried, and tried again until it is there.
        settings(&format!("{silent},{honest}"));
        let journal = sandbox.journal();
        sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
        let daemon = sandbox.daemon_without_store().start();
        daemon.wait_for_log(&["not connected"]);
        secure.server.up();
        daemon.wait_for_log(&[&format!("connected to ZooKeeper {honest}")]);
        // Until then, the outage was told once. A machine that is busy for 2 s loses the session later.
        let log = daemon.log();
        let back = log.iter().position(|line| line.contains("connected to ZooKeeper")).expect("it was said");
        let outages = log[..back].iter().filter(|line| line.contains("not connected")).count();
        assert_eq!(outages, 1, "{log:?}");
        let value = port.to_string();
        set(&sandbox, "/n", &value);
        journal.wait_for_last(&value);
        secure.server.down();
    }
    let accepted = mute.accepted.load(Ordering::SeqCst);
    assert!((2..100).contains(&accepted), "{accepted} connections");
}
