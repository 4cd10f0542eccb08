//! The last contents of many nodes: how long `get --cached` takes beside a read of the store, and what the
//! cache of a daemon needs in memory.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::contender::{Both, Contender, Directory, Nodes, Side, turns};
use crate::operators::fetch;
use crate::table::{Goal, Table, Unit, median_usage, percentile};
use crate::usage::Usage;
use crate::{Bench, Result, Scale};

/// How long the cache may take until it has everything.
const TIMEOUT: Duration = Duration::from_secs(60);

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    let watches = scale.watches;
    eprintln!("the cache of {watches} watches, and a daemon without one ...");
    let nodes = Nodes::create(bench, "/bench/cached", watches).await?;
    let (mut memory, mut commands) = (Both::<Vec<Usage>>::default(), Both::<Vec<f64>>::default());
    let mut answers = Vec::new();
    // The daemon is compared with itself without its cache, and its answers with those of the store.
    for side in turns(scale.armings) {
        bench.armed(&mut [], 0).await?;
        let settings = match side {
            Side::Floor => "cache_size = 0\n",
            Side::Daemon => "",
        };
        let (url, configs) = (bench.server.url(), nodes.configs(bench));
        let mut daemon = Contender::start_daemon(&url, Directory::new()?, configs, settings)?;
        bench.armed(&mut [&mut daemon], watches).await?;
        memory.of(side).push(daemon.settled_memory().await?);
        if side == Side::Floor {
            continue;
        }
        let escaped = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
        let resource = |node: &str| format!("/v1/cached?store={}&node={}", escaped(&url), escaped(node));
        let socket = daemon.control_socket();
        let all: Vec<_> = nodes.paths().collect();
        let deadline = Instant::now() + TIMEOUT;
        while fetch(&socket, &resource(&all[watches - 1])).is_err() {
            if Instant::now() > deadline {
                return Err("the cache does not get what is followed".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        for number in 0..scale.updates {
            answers.push(fetch(&socket, &resource(&all[number * 7919 % watches]))?);
        }
        for (number, reader) in turns(scale.updates / 2).enumerate() {
            let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
            command.args(["get", "--store", &url, &all[number * 7919 % watches]]);
            if reader == Side::Daemon {
                command.arg("--cached").arg("--control-socket").arg(&socket);
            }
            let start = Instant::now();
            let output = command.stdin(Stdio::null()).output()?;
            commands.of(reader).push(start.elapsed().as_secs_f64() * 1e3);
            if !(output.status.success() && output.stdout == b"0" && output.stderr.is_empty()) {
                return Err(format!("twitcher get: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
        }
    }
    let median = |values: &Vec<f64>| percentile(values, 0.5);
    let answer = Both { floor: f64::NAN, daemon: median(&answers) };
    table.row(&format!("an answer of {watches} from the cache"), Unit::Milliseconds, answer, Goal::None);
    table.row("  `get`, and `get --cached`", Unit::Milliseconds, commands.map(median), Goal::None);
    let memory = memory.map(|values| median_usage(values));
    table.usage("  memory without a cache, and with (PSS)", Unit::Mebibytes, &memory, Goal::None);
    Ok(())
}
