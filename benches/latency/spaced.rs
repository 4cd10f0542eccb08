//! One update at a time: the latency from the update to the first instruction of the action.

use std::time::Duration;

use tokio::time::sleep;

use crate::contender::{Against, Both, Contender, Nodes, Side, turns};
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};

/// An action that has not run within this time is lost.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The wait after the last run for runs that should not come.
const QUIET: Duration = Duration::from_millis(500);

pub async fn measure(bench: &mut Bench, scale: &Scale, against: Against, table: &mut Table) -> Result<()> {
    eprintln!("{} spaced updates for each side ...", scale.updates);
    let parent = against.parent("spaced");
    let floor_node = Nodes::create(bench, &format!("{parent}/floor"), 1).await?;
    let daemon_node = Nodes::create(bench, &format!("{parent}/daemon"), 1).await?;
    let mut floor = Contender::start(Side::Floor, against, bench, &floor_node)?;
    let mut daemon = Contender::start(Side::Daemon, against, bench, &daemon_node)?;
    bench.armed(&mut [&mut floor, &mut daemon], 2).await?;
    let mut paths =
        Both { floor: floor_node.paths().collect::<String>(), daemon: daemon_node.paths().collect() };

    let (mut latencies, mut wrong) = (Both::<Vec<f64>>::default(), Both::<usize>::default());
    // The first two rounds are not counted, because caches are cold.
    for (index, side) in turns(scale.updates + 2).enumerate() {
        pause(bench, &paths, &mut wrong).await;
        let path = paths.of(side);
        let data = index.to_string();
        let set = now();
        bench.setter.set_data(path, data.as_bytes()).await?;
        match bench.stamps.next(TIMEOUT).await {
            Some(stamp) if stamp.node == *path && stamp.at > set => {
                if index >= 4 {
                    latencies.of(side).push((stamp.at - set) as f64 / 1e6);
                }
            }
            Some(_) | None => *wrong.of(side) += 1,
        }
    }
    sleep(QUIET).await;
    pause(bench, &paths, &mut wrong).await;

    let goals = match against {
        Against::Floor => [(0.5, Goal::AtMostFloorTimes(1.15)), (0.99, Goal::AtMostFloorTimes(1.5))],
        Against::NoLedger => [(0.5, Goal::AtMostFloorTimes(1.05)), (0.99, Goal::None)],
        Against::Etcdctl => [(0.5, Goal::AtMostFloorTimes(1.0)), (0.99, Goal::None)],
    };
    for (share, goal) in goals {
        let name = format!("set to first instruction, p{:.0}{}", share * 100.0, against.suffix());
        let values = latencies.map(|latencies| percentile(latencies, share));
        table.row(&name, Unit::Milliseconds, values, goal);
    }
    let wrong = wrong.map(|wrong| *wrong as f64);
    table.row("  updates lost or run twice", Unit::Count, wrong, Goal::AtMost(0.0));
    Ok(())
}

/// Waits some 50 ms, in which nothing may run.
async fn pause(bench: &mut Bench, paths: &Both<String>, wrong: &mut Both<usize>) {
    sleep(Duration::from_micros(fastrand::u64(35_000..65_000))).await;
    while let Some(stamp) = bench.stamps.next(Duration::ZERO).await {
        let side = if stamp.node == paths.floor { Side::Floor } else { Side::Daemon };
        *wrong.of(side) += 1;
    }
}
