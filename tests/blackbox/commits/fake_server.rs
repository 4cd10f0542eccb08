//! A server of commits in Python, which answers as FORMATS of Rainer say, or misbehaves.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::{Sandbox, Twitcher, command};

pub struct FakeServer {
    pub sandbox: Sandbox,
    /// Without the namespace.
    pub address: String,
    child: Child,
}

impl FakeServer {
    /// A server that does what it should.
    #[track_caller]
    pub fn start() -> Self {
        Self::with("none", &[])
    }

    #[track_caller]
    pub fn with(fault: &str, places: &[&str]) -> Self {
        let sandbox = Sandbox::directory();
        Self::beside(sandbox, fault, places)
    }

    /// A server with the sandbox of a test. It and the commands run in the directory of the sandbox's files.
    #[track_caller]
    pub fn beside(sandbox: Sandbox, fault: &str, places: &[&str]) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/commits/fake_server.py");
        let mut child = command("setpriv")
            .args(["--pdeathsig", "KILL", "--", "/usr/bin/python3"])
            .arg(script)
            .arg(fault)
            .args(places)
            .current_dir(sandbox.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the server");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut address).expect("an address");
        assert!(!address.trim().is_empty(), "the server did not start");
        Self { sandbox, address: address.trim().to_owned(), child }
    }

    pub fn url(&self) -> String {
        format!("{}/diary", self.address)
    }

    /// `twitcher commits` with these words, at this server.
    pub fn commits<const N: usize>(&self, words: [&str; N]) -> Twitcher {
        self.elsewhere(words).env("TWITCHER_URL", self.url())
    }

    /// The same without a URL.
    pub fn elsewhere<const N: usize>(&self, words: [&str; N]) -> Twitcher {
        let directory = self.sandbox.path("");
        let command = self.sandbox.twitcher(["commits"]).current_dir(directory.to_str().expect("a path"));
        words.into_iter().fold(command, Twitcher::arg)
    }

    /// Saves a payload as gian.
    #[track_caller]
    pub fn save(&self, key: &str, payload: impl AsRef<[u8]>) {
        let saved = self.commits(["save", key, "-m", "rofl", "--author", "gian", "--empty"]);
        saved.stdin(payload).finish().expect(0);
    }

    /// The requests that it has got: method, address and headers.
    pub fn requests(&self) -> Vec<(String, String, Value)> {
        let text = self.sandbox.read_text("requests");
        text.lines().map(|line| serde_json::from_str(line).expect("a request")).collect()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The objects in lines of JSON.
pub fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}
