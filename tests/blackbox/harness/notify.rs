//! A substitute for systemd. It receives what the daemon sends to `NOTIFY_SOCKET`.

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::wait::{wait_for, wait_until};

/// The time within which the listening thread notices that its test has ended.
const TURN: Duration = Duration::from_millis(100);

/// The listening socket, until it is dropped.
pub struct Notify {
    name: String,
    heard: Arc<Mutex<Vec<Message>>>,
}

/// One datagram and its time of arrival.
#[derive(Clone, Debug)]
pub struct Message {
    pub at: Instant,
    pub lines: Vec<String>,
}

impl Message {
    /// The rest of the line that starts with `KEY=`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// `READY`, `RELOADING` or `STOPPING`, if the message announces one of these.
    fn stage(&self) -> Option<&'static str> {
        ["READY", "RELOADING", "STOPPING"].into_iter().find(|key| self.value(key) == Some("1"))
    }
}

impl Notify {
    #[track_caller]
    pub fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("listen");
        Self::on(socket, path.to_str().expect("temporary paths are UTF-8").to_owned())
    }

    /// Listens at an abstract name instead of a path.
    #[track_caller]
    pub fn abstract_at(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).expect("a short name");
        Self::on(UnixDatagram::bind_addr(&address).expect("listen"), format!("@{name}"))
    }

    /// Listens on a socket that may have messages queued.
    pub fn on(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(TURN)).expect("set a timeout");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::downgrade(&heard);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(heard) = listener.upgrade() {
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        let text = String::from_utf8_lossy(&buffer[..length]);
                        let lines = text.lines().map(str::to_owned).collect();
                        heard.lock().unwrap().push(Message { at: Instant::now(), lines });
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        });
        Self { name, heard }
    }

    /// The value for `NOTIFY_SOCKET`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn heard(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }

    /// The stages that the daemon has announced, in order.
    pub fn stages(&self) -> Vec<&'static str> {
        self.heard().iter().filter_map(Message::stage).collect()
    }

    /// Waits for the `nth` announced stage, counted from 1, and returns its message. Panics if it is another
    /// stage.
    #[track_caller]
    pub fn wait_for_stage(&self, nth: usize, stage: &str) -> Message {
        wait_for(&format!("stage {nth} to be told, {stage}"), || {
            let heard = self.heard();
            let mut told = heard.iter().filter(|message| message.stage().is_some());
            let message = told.nth(nth - 1)?.clone();
            assert_eq!(message.stage(), Some(stage), "stage {nth} of {:?}", self.stages());
            Some(message)
        })
    }

    /// The last status that was sent before this message or with it.
    pub fn status_at(&self, message: &Message) -> Option<String> {
        let heard = self.heard();
        let until = heard.iter().take_while(|other| other.at <= message.at);
        until.filter_map(|message| message.value("STATUS")).last().map(str::to_owned)
    }

    #[track_caller]
    pub fn wait_for_status(&self, expected: &str) {
        wait_until(&format!("the status {expected:?}; last {:?}", self.statuses().last()), || {
            self.statuses().last().is_some_and(|status| status == expected)
        });
    }

    pub fn statuses(&self) -> Vec<String> {
        self.heard().iter().filter_map(|message| message.value("STATUS").map(str::to_owned)).collect()
    }

    /// The number of keep-alive messages that have come for the watchdog.
    pub fn feeds(&self) -> usize {
        self.heard().iter().filter(|message| message.value("WATCHDOG") == Some("1")).count()
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        if thread::panicking() {
            let heard: Vec<_> = self.heard().into_iter().map(|message| message.lines.join(" ")).collect();
            eprintln!("--- the service manager heard:\n{}\n---", heard.join("\n"));
        }
        if self.name.starts_with('/') {
            let _ = fs::remove_file(&self.name);
        }
    }
}
