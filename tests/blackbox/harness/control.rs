//! A client of the control socket that sends and receives bytes, and shares no code with Twitcher's own
//! client.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::wait::DEADLINE;

/// An HTTP reply.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Parses what came before the connection ended. Returns `None` if that is no reply.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        Some(Self { status, head, body: bytes[end + 4..].to_vec() })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON: {e}: {}", self.text()))
    }

    /// The body as JSON values, one a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON: {e}: {line}"));
        self.text().lines().map(parse).collect()
    }
}

/// A connection to the daemon, by Unix socket or by TCP.
pub trait Connection: Read + Write {
    /// Sets how long a read or a write may take.
    fn set_timeout(&self, timeout: Duration);
}

impl Connection for UnixStream {
    fn set_timeout(&self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).expect("set a timeout");
        self.set_write_timeout(Some(timeout)).expect("set a timeout");
    }
}

impl Connection for TcpStream {
    fn set_timeout(&self, timeout: Duration) {
        self.set_read_timeout(Some(timeout)).expect("set a timeout");
        self.set_write_timeout(Some(timeout)).expect("set a timeout");
    }
}

/// Connects, and waits while the socket's queue is full.
#[track_caller]
pub fn connect(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).unwrap_or_else(|e| panic!("connect to {}: {e}", socket.display()))
}

/// Sends these bytes and returns all that comes back until the other side ends the connection, which may be
/// before it has read everything. Panics if the other side does not end the connection.
#[track_caller]
pub fn say(mut connection: impl Connection, bytes: &[u8]) -> Vec<u8> {
    connection.set_timeout(DEADLINE);
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    match connection.read_to_end(&mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            panic!("the connection stays open after {:?}", String::from_utf8_lossy(&answer))
        }
        // An error tells of bytes that the other side did not read.
        Ok(_) | Err(_) => answer,
    }
}

/// Sends one request and returns the reply.
#[track_caller]
pub fn ask(connection: impl Connection, method: &str, resource: &str) -> Answer {
    // In HTTP/1.0 a reply of unknown length is not chunked: it ends with the connection.
    let answer = say(connection, format!("{method} {resource} HTTP/1.0\r\n\r\n").as_bytes());
    Answer::parse(&answer).unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&answer)))
}

/// Gets a resource that exists.
#[track_caller]
pub fn get(socket: &Path, resource: &str) -> Answer {
    let answer = ask(connect(socket), "GET", resource);
    assert_eq!(answer.status, 200, "{resource}: {}", answer.text());
    answer
}
