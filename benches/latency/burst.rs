//! Many nodes updated at once.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::contender::{Against, Both, Contender, Nodes, Side, turns};
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};

/// If no run comes within this time, the remaining ones are lost.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The wait after the last run for runs that should not come.
const QUIET: Duration = Duration::from_millis(500);

pub async fn measure(bench: &mut Bench, scale: &Scale, against: Against, table: &mut Table) -> Result<()> {
    eprintln!("{} nodes updated at once, {} times for each side ...", scale.burst, scale.bursts);
    let parent = against.parent("burst");
    let mut nodes = Both {
        floor: Nodes::create(bench, &format!("{parent}/floor"), scale.burst).await?,
        daemon: Nodes::create(bench, &format!("{parent}/daemon"), scale.burst).await?,
    };
    let mut floor = Contender::start(Side::Floor, against, bench, &nodes.floor)?;
    let mut daemon = Contender::start(Side::Daemon, against, bench, &nodes.daemon)?;
    let watches = against.watches(Side::Floor, scale.burst) + scale.burst;
    bench.armed(&mut [&mut floor, &mut daemon], watches).await?;

    let (mut rates, mut wrong) = (Both::<Vec<f64>>::default(), Both::<usize>::default());
    // The first round is not counted, because caches are cold.
    let mut used = Both::<f64>::default();
    for (index, side) in turns(scale.bursts + 1).enumerate() {
        let contender = match side {
            Side::Floor => &floor,
            Side::Daemon => &daemon,
        };
        let before = contender.processor()?.total();
        let (rate, mistakes) = once(bench, nodes.of(side)).await?;
        if index >= 2 {
            rates.of(side).push(rate);
            *used.of(side) += contender.processor()?.total() - before;
        }
        *wrong.of(side) += mistakes;
    }
    let name = format!("{} nodes at once, actions a second{}", scale.burst, against.suffix());
    let goal = match against {
        Against::Floor | Against::Etcdctl => Goal::AtLeastFloor,
        Against::NoLedger => Goal::None,
    };
    table.row(&name, Unit::Count, rates.map(|rates| percentile(rates, 0.5)), goal);
    let actions = (scale.burst * scale.bursts) as f64;
    let name = format!("  processor time of each, with the action{}", against.suffix());
    table.row(&name, Unit::Milliseconds, used.map(|used| used / actions), Goal::None);
    let wrong = wrong.map(|wrong| *wrong as f64);
    table.row("  updates lost or run twice", Unit::Count, wrong, Goal::AtMost(0.0));
    Ok(())
}

/// Updates all nodes at once. Returns the actions per second, from the first update to the last action's
/// first instruction, and how many runs were lost or too many.
async fn once(bench: &mut Bench, nodes: &Nodes) -> Result<(f64, usize)> {
    let paths: Vec<_> = nodes.paths().collect();
    let mut waiting: HashSet<&str> = paths.iter().map(String::as_str).collect();
    let (mut last, mut twice) = (0, 0);
    let data = now().to_string();
    let started = now();
    let setting = try_join_all(paths.iter().map(|path| bench.setter.set_data(path, data.as_bytes())));
    let receiving = async {
        loop {
            let timeout = if waiting.is_empty() { QUIET } else { TIMEOUT };
            let Some(stamp) = bench.stamps.next(timeout).await else { break };
            last = last.max(stamp.at);
            twice += usize::from(!waiting.remove(stamp.node.as_str()));
        }
    };
    let (set, ()) = tokio::join!(setting, receiving);
    set?;
    let ran = paths.len() - waiting.len();
    Ok((ran as f64 / ((last - started) as f64 / 1e9), waiting.len() + twice))
}
