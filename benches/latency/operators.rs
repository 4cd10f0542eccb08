//! Status requests to a daemon with many watches: how long they take, and how they delay actions.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::contender::{Against, Both, Contender, Nodes, Side, turns};
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};

/// An action that has not run within this time is lost.
const TIMEOUT: Duration = Duration::from_secs(5);

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("status and metrics of {} watches ...", scale.watches);
    bench.armed(&mut [], 0).await?;
    let nodes = Nodes::create(bench, "/bench/operators", scale.watches).await?;
    let mut daemon = Contender::start(Side::Daemon, Against::Floor, bench, &nodes)?;
    bench.armed(&mut [&mut daemon], scale.watches).await?;
    daemon.settled_memory().await?;
    let socket = daemon.control_socket();

    for (what, resource) in [("status", "/v1/watches"), ("metrics", "/metrics")] {
        let times = (0..scale.updates / 10).map(|_| fetch(&socket, resource)).collect::<Result<Vec<_>>>()?;
        let name = format!("{what} of {} watches, median", scale.watches);
        let value = percentile(&times, 0.5);
        table.row(&name, Unit::Milliseconds, Both { floor: f64::NAN, daemon: value }, Goal::None);
    }

    // The same daemon is measured on both sides: undisturbed, and under constant requests.
    let path = nodes.paths().next().ok_or("no node")?;
    let mut latencies = Both::<Vec<f64>>::default();
    for (index, side) in turns(scale.updates).enumerate() {
        let requests = (side == Side::Daemon).then(|| ConstantRequests::start(socket.clone()));
        sleep(Duration::from_micros(fastrand::u64(35_000..65_000))).await;
        let set = now();
        bench.setter.set_data(&path, index.to_string().as_bytes()).await?;
        let stamp = bench.stamps.next(TIMEOUT).await.ok_or("an update was lost")?;
        latencies.of(side).push((stamp.at - set) as f64 / 1e6);
        drop(requests);
    }
    for share in [0.5, 0.99] {
        let name = format!("set to first instruction, p{:.0}, while asked", share * 100.0);
        table.row(&name, Unit::Milliseconds, latencies.map(|values| percentile(values, share)), Goal::None);
    }
    let memory = Both { floor: f64::NAN, daemon: daemon.memory()?.total() };
    table.row("  memory (PSS)", Unit::Mebibytes, memory, Goal::None);
    Ok(())
}

/// A client that requests everything without a pause, until it is dropped.
struct ConstantRequests {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ConstantRequests {
    fn start(socket: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for resource in ["/v1/watches", "/metrics"] {
                    if fetch(&socket, resource).is_err() {
                        return;
                    }
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for ConstantRequests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// How many milliseconds a request takes.
pub fn fetch(socket: &Path, resource: &str) -> Result<f64> {
    let start = Instant::now();
    ask(socket, resource)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Returns the reply to a request.
pub fn ask(socket: &Path, resource: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {resource} HTTP/1.1\r\nHost: twitcher\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let text = String::from_utf8_lossy(&reply).into_owned();
    if reply.starts_with(b"HTTP/1.1 200") { Ok(text) } else { Err(text.into()) }
}
