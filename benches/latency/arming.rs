//! Many watches: how long until the server holds them all, and what that costs in memory.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::contender::{Against, Both, Contender, Nodes, turns};
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};

/// With the number, paths have some 110 bytes, which is longer than most.
const PARENT: &str =
    "/bench/arming/production/eu-central-1/services/payment-gateway-settlement/configuration/instances";

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("{} watches, {} times for each side ...", scale.watches, scale.armings);
    let nodes = Nodes::create(bench, PARENT, scale.watches).await?;
    let mut connected = Both::<Vec<f64>>::default();
    let mut started = Both::<Vec<f64>>::default();
    let mut memory = Both::<Vec<f64>>::default();
    for side in turns(scale.armings) {
        bench.armed(&mut [], 0).await?;
        let sessions = bench.server.sessions()?;
        let start = Instant::now();
        let mut contender = Contender::start(side, Against::Floor, bench, &nodes)?;
        while bench.server.sessions()? == sessions {
            contender.check()?;
            sleep(Duration::from_millis(5)).await;
        }
        let connect = Instant::now();
        bench.armed(&mut [&mut contender], scale.watches).await?;
        connected.of(side).push(connect.elapsed().as_secs_f64() * 1e3);
        started.of(side).push(start.elapsed().as_secs_f64() * 1e3);
        memory.of(side).push(contender.settled_memory().await?);
    }
    let median = |values: &Both<Vec<f64>>| values.map(|values| percentile(values, 0.5));
    let name = format!("{} watches, from connected to armed", scale.watches);
    table.row(&name, Unit::Milliseconds, median(&connected), Goal::AtMostFloorTimes(2.0));
    table.row("  from the start of the process", Unit::Milliseconds, median(&started), Goal::None);
    table.row("  resident memory", Unit::Mebibytes, median(&memory), Goal::AtMost(30.0));
    Ok(())
}
