//! Many hosts watch one node: one `twitcher set`, and all run. Here the hosts are processes of one machine,
//! so this measures what the machine can start and what one server must do; real hosts work in parallel.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::contender::{Against, Both, Contender, Nodes, turns};
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, median_usage, percentile};
use crate::usage::Usage;
use crate::{Bench, Result, Scale};

/// If no run comes within this time, the remaining ones are lost.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The wait after the last run for runs that should not come.
const QUIET: Duration = Duration::from_millis(500);

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("{} hosts of each side on one node, {} updates for each ...", scale.hosts, scale.fleet_updates);
    bench.armed(&mut [], 0).await?;
    let mut nodes = Both {
        floor: Nodes::create(bench, "/bench/fleet/floor", 1).await?,
        daemon: Nodes::create(bench, "/bench/fleet/daemon", 1).await?,
    };
    let mut fleet = Vec::new();
    for side in turns(scale.hosts) {
        fleet.push((side, Contender::start(side, Against::Floor, bench, nodes.of(side))?));
    }
    let mut all: Vec<_> = fleet.iter_mut().map(|(_, contender)| contender).collect();
    bench.armed(&mut all, 2 * scale.hosts).await?;

    let (mut first, mut median, mut last) = <(Both<Vec<f64>>, Both<Vec<f64>>, Both<Vec<f64>>)>::default();
    let mut wrong = Both::<usize>::default();
    // The first round is not counted, because caches are cold.
    for (index, side) in turns(scale.fleet_updates + 1).enumerate() {
        let node = nodes.of(side).paths().collect::<String>();
        let times = once(bench, &node, index, scale.hosts).await?;
        *wrong.of(side) += times.len().abs_diff(scale.hosts);
        if index >= 2 {
            first.of(side).push(percentile(&times, 0.0));
            median.of(side).push(percentile(&times, 0.5));
            last.of(side).push(percentile(&times, 1.0));
        }
    }

    let mut memory = Both::<Vec<Usage>>::default();
    for (side, contender) in &fleet {
        memory.of(*side).push(contender.memory()?);
    }
    let typical = |values: &Both<Vec<f64>>| values.map(|values| percentile(values, 0.5));
    let hosts = scale.hosts;
    table.row(
        &format!("{hosts} hosts, `twitcher set` to first run"),
        Unit::Milliseconds,
        typical(&first),
        Goal::None,
    );
    table.row("  to the median run", Unit::Milliseconds, typical(&median), Goal::None);
    table.row("  to the last run", Unit::Milliseconds, typical(&last), Goal::None);
    table.row("  runs lost or too many", Unit::Count, wrong.map(|wrong| *wrong as f64), Goal::AtMost(0.0));
    let memory = memory.map(|values| median_usage(values));
    table.usage("  memory of one (PSS)", Unit::Mebibytes, &memory, Goal::None);
    Ok(())
}

/// When each host's action ran, in milliseconds after the start of `twitcher set`.
async fn once(bench: &mut Bench, node: &str, value: usize, hosts: usize) -> Result<Vec<f64>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
    command.args(["set", "--store", &bench.server.url(), node, &value.to_string()]);
    let set = now();
    let mut command = command.stdin(Stdio::null()).spawn()?;
    let mut times = Vec::new();
    loop {
        let timeout = if times.len() >= hosts { QUIET } else { TIMEOUT };
        let Some(stamp) = bench.stamps.next(timeout).await else { break };
        if stamp.node != node {
            return Err(format!("{} ran meanwhile", stamp.node).into());
        }
        times.push((stamp.at - set) as f64 / 1e6);
    }
    match command.wait()?.success() {
        true => Ok(times),
        false => Err("twitcher set failed".into()),
    }
}
