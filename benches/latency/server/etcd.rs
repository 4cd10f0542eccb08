//! The server of etcd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

pub(super) fn command(dir: &Path, port: u16, peer_port: u16, admin_port: u16) -> Command {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new(program("etcd"));
    command.args(["--logger=zap", "--log-level=warn", "--name=bench"]);
    command.arg(format!("--data-dir={}", dir.join("data").display()));
    command.arg(format!("--listen-client-urls={}", url(port)));
    command.arg(format!("--advertise-client-urls={}", url(port)));
    command.arg(format!("--listen-peer-urls={}", url(peer_port)));
    command.arg(format!("--initial-advertise-peer-urls={}", url(peer_port)));
    command.arg(format!("--initial-cluster=bench={}", url(peer_port)));
    command.arg(format!("--listen-metrics-urls={}", url(admin_port)));
    command
}

/// A program of etcd, where `tests/run` unpacks it, or in PATH.
pub fn program(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("etcd").join("usr/bin").join(name);
    if unpacked.exists() { unpacked } else { name.into() }
}

/// The request for a page.
pub(super) fn get(page: &str) -> String {
    format!("GET {page} HTTP/1.0\r\n\r\n")
}

pub(super) fn metric(metrics: &str, name: &str) -> Result<usize> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Ok(value.ok_or_else(|| format!("no {name} in etcd's metrics"))? as usize)
}

/// How many connections a server on this port of ours has.
pub(super) fn connections(port: u16) -> Result<usize> {
    const ESTABLISHED: &str = "01";
    let local = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp")?;
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|address| address.ends_with(&local)) && fields.nth(1) == Some(ESTABLISHED)
    };
    Ok(table.lines().filter(is_ours).count())
}
