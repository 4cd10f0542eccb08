//! The control socket from a stranger's side: bytes in, bytes out, with no client of ours in between.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::wait::DEADLINE;

/// What an HTTP server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Parses all that came before the connection ended; `None` if that was no answer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        Some(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The one JSON value that it is.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON: {e}: {}", self.text()))
    }

    /// The JSON values that it has, one a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON: {e}: {line}"));
        self.text().lines().map(parse).collect()
    }
}

/// A connection to the daemon, by Unix socket or by TCP.
pub trait Connection: Read + Write {
    /// Waits no longer than this for what is read and written.
    fn limit(&self, limit: Duration);
}

impl Connection for UnixStream {
    fn limit(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).expect("set a timeout");
        self.set_write_timeout(Some(limit)).expect("set a timeout");
    }
}

impl Connection for TcpStream {
    fn limit(&self, limit: Duration) {
        self.set_read_timeout(Some(limit)).expect("set a timeout");
        self.set_write_timeout(Some(limit)).expect("set a timeout");
    }
}

/// A connection that a test can do with as it likes. Where more wait than the socket takes, this waits, too.
#[track_caller]
pub fn connect(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).unwrap_or_else(|e| panic!("connect to {}: {e}", socket.display()))
}

/// Sends these bytes as they are, and returns all that comes back until the other side ends the connection, which it must.
/// It may do so before it has read everything.
#[track_caller]
pub fn say(mut connection: impl Connection, bytes: &[u8]) -> Vec<u8> {
    connection.limit(DEADLINE);
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    match connection.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            panic!("the connection stays open after {:?}", String::from_utf8_lossy(&answer))
        }
        // Of what was not read.
        Ok(_) | Err(_) => answer,
    }
}

/// Asks with this method for this resource.
#[track_caller]
pub fn ask(connection: impl Connection, method: &str, resource: &str) -> Answer {
    // With 1.0 an answer of unknown length ends with the connection, and not in chunks.
    let answer = say(connection, format!("{method} {resource} HTTP/1.0\r\n\r\n").as_bytes());
    Answer::parse(&answer).unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&answer)))
}

/// The body of a resource that there is.
#[track_caller]
pub fn get(socket: &Path, resource: &str) -> Answer {
    let answer = ask(connect(socket), "GET", resource);
    assert_eq!(answer.status, 200, "{resource}: {}", answer.text());
    answer
}
