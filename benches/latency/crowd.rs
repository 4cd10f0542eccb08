//! Thousands of watches on one node: how a change of it delays the watch of another node, and the loop.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::contender::{Against, Both, CROWD, Contender, Nodes, Side};
use crate::operators::fetch;
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};

/// If no run comes within this time, the remaining ones are lost.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The wait after the last run for runs that should not come.
const QUIET: Duration = Duration::from_millis(500);

/// The wait between two questions to the loop, which does not answer while it is blocked.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    let watches = scale.watches;
    eprintln!("{watches} watches on one node, {} times ...", scale.crowds);
    bench.armed(&mut [], 0).await?;
    let mut nodes = Nodes::create(bench, "/bench/crowd", 2).await?;
    nodes.crowd = watches;
    let mut daemon = Contender::start(Side::Daemon, Against::Floor, bench, &nodes)?;
    bench.armed(&mut [&mut daemon], nodes.count).await?;
    daemon.settled_memory().await?;

    // The same daemon is measured on both sides: undisturbed, and while the crowd runs.
    let mut latencies = Both::<Vec<f64>>::default();
    let other = nodes.paths().last().ok_or("no node")?;
    for index in 0..scale.updates / 2 {
        let set = now();
        bench.setter.set_data(&other, index.to_string().as_bytes()).await?;
        let stamp = bench.stamps.next(TIMEOUT).await.ok_or("an update was lost")?;
        latencies.floor.push((stamp.at - set) as f64 / 1e6);
        sleep(pause()).await;
    }
    let (mut wrong, mut seconds, mut answers) = (0, Vec::new(), Vec::new());
    // The first time is not counted, because caches are cold.
    for round in 0..=scale.crowds {
        let probe = Probe::start(daemon.control_socket());
        let once = once(bench, &nodes, round).await?;
        let asked = probe.stop()?;
        wrong += once.wrong;
        if round > 0 {
            seconds.push(once.seconds);
            latencies.daemon.extend(once.others);
            answers.extend(asked);
        }
    }

    let one = |value| Both { floor: f64::NAN, daemon: value };
    let name = format!("{watches} watches on one node, actions a second");
    table.row(&name, Unit::Count, one(watches as f64 / percentile(&seconds, 0.5)), Goal::None);
    table.row("  updates lost or run twice", Unit::Count, one(wrong as f64), Goal::AtMost(0.0));
    for (share, goal) in [(0.5, Goal::None), (0.99, Goal::AtMost(20.0))] {
        let name = format!("  another node's watch meanwhile, p{:.0}", share * 100.0);
        table.row(&name, Unit::Milliseconds, latencies.map(|values| percentile(values, share)), goal);
    }
    table.row(
        "  an answer of the loop, p99",
        Unit::Milliseconds,
        one(percentile(&answers, 0.99)),
        Goal::None,
    );
    table.row("    the longest", Unit::Milliseconds, one(percentile(&answers, 1.0)), Goal::AtMost(50.0));
    Ok(())
}

/// The time between a run of the other node's watch and the next update. A watch whose updates arrive while
/// it runs would be taken for one that runs itself in circles, and would be held back.
fn pause() -> Duration {
    Duration::from_micros(fastrand::u64(30_000..50_000))
}

/// How a change of the node went that all watch.
struct Once {
    /// Until the last action's first instruction.
    seconds: f64,
    /// How many runs were lost or too many.
    wrong: usize,
    /// The latencies of the other node's watch meanwhile, in milliseconds.
    others: Vec<f64>,
}

/// Updates the node that all watch, and meanwhile the other node again and again.
async fn once(bench: &mut Bench, nodes: &Nodes, round: usize) -> Result<Once> {
    let (crowded, other) = (nodes.paths().next().ok_or("no node")?, nodes.paths().last().ok_or("no node")?);
    let mut waiting: HashSet<String> = (0..nodes.crowd).map(|number| format!("{CROWD}{number}")).collect();
    waiting.insert(crowded.clone());
    let (mut last, mut wrong, mut others, mut other_set) = (0, 0, Vec::new(), None);
    let started = now();
    bench.setter.set_data(&crowded, round.to_string().as_bytes()).await?;
    let mut next_at = Instant::now() + pause();
    loop {
        let sets_other = other_set.is_none() && !waiting.is_empty();
        if sets_other && next_at <= Instant::now() {
            let at = now();
            bench.setter.set_data(&other, at.to_string().as_bytes()).await?;
            other_set = Some(at);
            continue;
        }
        let timeout = match () {
            () if sets_other => next_at.saturating_duration_since(Instant::now()),
            () if other_set.is_none() => QUIET,
            () => TIMEOUT,
        };
        let Some(stamp) = bench.stamps.next(timeout).await else {
            match sets_other && now() - last.max(started) < TIMEOUT.as_nanos() as i64 {
                true => continue,
                false => break,
            }
        };
        if stamp.node != other {
            last = last.max(stamp.at);
            wrong += usize::from(!waiting.remove(&stamp.node));
        } else if let Some(at) = other_set.take() {
            others.push((stamp.at - at) as f64 / 1e6);
            next_at = Instant::now() + pause();
        } else {
            wrong += 1;
        }
    }
    wrong += waiting.len() + usize::from(other_set.is_some());
    Ok(Once { seconds: (last - started) as f64 / 1e9, wrong, others })
}

/// A client that asks the loop again and again how the daemon is.
struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::result::Result<Vec<f64>, String>>,
}

impl Probe {
    fn start(socket: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut answers = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                answers.push(fetch(&socket, "/v1/status").map_err(|error| error.to_string())?);
                thread::sleep(PROBE_INTERVAL);
            }
            Ok(answers)
        });
        Self { stop, thread }
    }

    /// Returns how many milliseconds each answer took.
    fn stop(self) -> Result<Vec<f64>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the probe panicked")??)
    }
}
