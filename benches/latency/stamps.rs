//! The action of both sides, which reports when it ran.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::libc;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::Result;

/// Nanoseconds of the clock that the action also reads.
pub fn now() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// One run of the action.
pub struct Stamp {
    /// When its first instruction ran, in nanoseconds of [`now`].
    pub at: i64,
    pub node: String,
}

pub struct Stamps {
    pub program: PathBuf,
    pub socket: PathBuf,
    received: UnboundedReceiver<Stamp>,
    _dir: TempDir,
}

impl Stamps {
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let socket = dir.path().join("socket");
        let receiver = UnixDatagram::bind(&socket)?;
        let (sender, received) = unbounded_channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length) = receiver.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let Some((at, node)) = text.split_once(' ') else { continue };
                let Ok(at) = at.parse() else { continue };
                if sender.send(Stamp { at, node: node.to_owned() }).is_err() {
                    return;
                }
            }
        });
        Ok(Self { program: compile(&dir)?, socket, received, _dir: dir })
    }

    /// The next run, if it comes within `timeout`.
    pub async fn next(&mut self, timeout: Duration) -> Option<Stamp> {
        tokio::time::timeout(timeout, self.received.recv()).await.ok().flatten()
    }
}

/// Compiles the action. Static C starts fastest, so the time that both sides have in common is small.
fn compile(dir: &TempDir) -> Result<PathBuf> {
    let source = dir.path().join("stamp.c");
    let program = dir.path().join("stamp");
    fs::write(&source, include_str!("stamp.c"))?;
    for flags in [&["-O2", "-static"][..], &["-O2"]] {
        let output = Command::new("cc").args(flags).arg("-o").args([&program, &source]).output();
        if output.map_err(|error| format!("cc: {error}"))?.status.success() {
            return Ok(program);
        }
    }
    Err("cc cannot compile the action: apt-get install -y gcc libc6-dev".into())
}
