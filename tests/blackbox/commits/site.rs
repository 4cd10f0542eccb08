//! A server of commits for one test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Daemon, Sandbox};

/// A server on a port of its own, with the namespace `diary` in a database of its own.
pub struct Site {
    pub sandbox: Sandbox,
    /// ADDRESS:PORT
    pub address: String,
    _server: Daemon,
}

/// A reply, as it came.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Site {
    /// Starts a server for everybody on this host.
    #[track_caller]
    pub fn start() -> Self {
        Self::with("", "")
    }

    /// Starts a server with these lines in `[serve.commits.diary]`, and behind all blocks.
    #[track_caller]
    pub fn with(namespace: &str, more: &str) -> Self {
        let sandbox = Sandbox::directory();
        let database = sandbox.path("commits.db");
        sandbox.settings(&format!(
            "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"sqlite:{}\"\n\
             [serve.commits.diary]\n{namespace}\n{more}\n",
            database.display()
        ));
        let server = sandbox.twitcher(["serve", "--config-path"]).arg(sandbox.configs()).start();
        let line = server.wait_for_log(&["serving ", " on "]);
        let address = line.rsplit(' ').next().expect("an address").to_owned();
        Self { sandbox, address, _server: server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Saves a version as a program does.
    #[track_caller]
    pub fn save(&self, key: &str, version: u32, author: &str, comment: &str, payload: &[u8]) {
        let headers = [("X-Rainer-Author", author), ("X-Rainer-Comment", comment)];
        let answer = self.ask("POST", &format!("/diary/{key}/{version}"), &headers, payload);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Returns the newest payload of a key.
    #[track_caller]
    pub fn payload(&self, key: &str) -> Vec<u8> {
        let answer = self.ask("GET", &format!("/diary/{key}"), &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.body
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set a timeout");
        stream.write_all(&[head.as_bytes(), body].concat()).expect("send a request");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("read a reply");
        let end = reply.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&reply[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_ascii_lowercase(), body: reply[end + 4..].to_vec() }
    }
}
