//! A running `twitcher serve`, and a small client of HTTP that can say anything.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::command::command;
use super::process::Process;
use super::sandbox::set_mode;
use super::wait::wait_for;

/// How long the client waits for a byte.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with a directory of its own. It is killed when this is dropped.
pub struct CommitServer {
    pub home: TempDir,
    /// A command that changes something and then executes the server (`unshare`, `prlimit`...).
    under: Vec<String>,
    child: Child,
    /// ADDRESS:PORT
    pub address: String,
}

/// What a server replied.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl CommitServer {
    /// Starts a server with these settings, in which `$HOME` is its directory. Listens on a port that the
    /// kernel chooses, unless the settings say where.
    #[track_caller]
    pub fn start(settings: &str) -> Self {
        let home = TempDir::new_in(super::sandbox::TEMPORARY).expect("create a directory");
        Self::start_in(home, settings)
    }

    /// A server with the namespace `diary`, which has these further settings.
    #[track_caller]
    pub fn diary(settings: &str) -> Self {
        Self::start(&format!("[serve.commits.diary]\n{settings}\n"))
    }

    /// A server with the namespace `diary` in this database.
    #[track_caller]
    pub fn on_database(url: &str) -> Self {
        Self::start(&format!(
            "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"{url}\"\n[serve.commits.diary]\n"
        ))
    }

    #[track_caller]
    pub fn start_in(home: TempDir, settings: &str) -> Self {
        Self::start_under(&[], home, settings)
    }

    /// Starts a server by a command that changes something and then executes it.
    #[track_caller]
    pub fn start_under(under: &[&str], home: TempDir, settings: &str) -> Self {
        let place = home.path().display().to_string();
        let head = match settings.contains("[serve]") {
            true => String::new(),
            false => "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"sqlite:$HOME/commits.db\"\n".to_owned(),
        };
        let text = format!("{head}{settings}").replace("$HOME", &place);
        let path = home.path().join("twitcher.toml");
        fs::write(&path, text).expect("write the settings");
        // They may hold a password.
        set_mode(&path, 0o600);
        let under: Vec<String> = under.iter().map(|word| (*word).to_owned()).collect();
        let (child, address) = spawn(&under, home.path());
        Self { home, under, child, address }
    }

    /// Kills the server, and starts another one with the same directory.
    #[track_caller]
    pub fn kill_and_start_again(&mut self) {
        self.kill();
        (self.child, self.address) = spawn(&self.under, self.home.path());
    }

    pub fn kill(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM, and returns whether the server ends well.
    pub fn stop(&mut self) -> bool {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("send SIGTERM");
        self.child.wait().expect("wait for the server").success()
    }

    pub fn process(&self) -> Process {
        Process(self.child.id().cast_signed())
    }

    pub fn url(&self) -> String {
        format!("http://{}/diary", self.address)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(log_path(self.home.path())).unwrap_or_default()
    }

    /// Reads a metric of the namespace `diary`.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let (metrics, line) = (self.get("/-/metrics").text(), format!("{name}{{namespace=\"diary\"}} "));
        let value = metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
    }

    /// Changes a limit of the running server (`fsize`, `nofile`...).
    #[track_caller]
    pub fn limit(&self, resource: &str, value: &str) {
        let pid = format!("--pid={}", self.child.id());
        let done = command("prlimit").args([pid, format!("--{resource}={value}:")]).status();
        assert!(done.expect("run prlimit").success());
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("connect to the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream
    }

    /// Sends a request, and reads the reply.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let asked = self.try_ask(method, path, headers, body);
        asked.unwrap_or_else(|| panic!("no reply to {method} {path}\n{}", self.log()))
    }

    /// Returns `None` if the reply does not come, or is cut.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Response> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).ok()?;
        // A server that refuses a payload need not read it.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Response::parse(&bytes, method == "HEAD")
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], b"")
    }

    /// Saves a version of a key of `diary`.
    #[track_caller]
    pub fn save(&self, key: &str, version: u32, payload: &[u8]) -> Response {
        let headers = [("X-Rainer-Author", "eva"), ("X-Rainer-Comment", "why")];
        self.ask("POST", &format!("/diary/{key}/{version}"), &headers, payload)
    }

    /// Saves the first version of a key of `diary`.
    #[track_caller]
    pub fn save_with_comment(&self, key: &str, comment: &str) -> Response {
        let headers = [("X-Rainer-Author", "eva"), ("X-Rainer-Comment", comment)];
        self.ask("POST", &format!("/diary/{key}/1"), &headers, b"x")
    }
}

impl Drop for CommitServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log_path(home: &Path) -> PathBuf {
    home.join("serve.log")
}

#[track_caller]
fn spawn(under: &[String], home: &Path) -> (Child, String) {
    let log = File::create(log_path(home)).expect("create the log");
    let program = env!("CARGO_BIN_EXE_twitcher").to_owned();
    let words: Vec<&String> = under.iter().chain([&program]).collect();
    let mut command = command(words[0]);
    let command = command.args(&words[1..]).args(["serve", "--config-path"]).arg(home).stdin(Stdio::null());
    let mut child = command.stderr(log).spawn().expect("start the server");
    let address = wait_for("the server to listen", || {
        let text = fs::read_to_string(log_path(home)).unwrap_or_default();
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the server ended ({status}): {text}");
        }
        let line = text.lines().find(|line| line.contains(" serving "))?;
        Some(line.rsplit_once(" on ")?.1.to_owned())
    });
    (child, address)
}

impl Response {
    /// Returns `None` if the reply is not whole.
    fn parse(bytes: &[u8], has_no_body: bool) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: Vec<_> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut response = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if has_no_body {
            return Some(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunked(&response.body)?;
        } else if let Some(length) = response.header("content-length") {
            (response.body.len() == length.parse::<usize>().ok()?).then_some(())?;
        }
        Some(response)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(whole);
        }
        whole.extend(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}
