//! One watch with nothing to do: wakeups and memory.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::contender::{Against, Both, Contender, Nodes, Side};
use crate::table::{Goal, Table, Unit};
use crate::usage::Usage;
use crate::{Bench, Result, Scale};

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("{} s idle, both sides at once ...", scale.idle_seconds);
    bench.armed(&mut [], 0).await?;
    let nodes = Nodes::create(bench, "/bench/idle", 1).await?;
    let mut floor = Contender::start(Side::Floor, Against::Floor, bench, &nodes)?;
    let mut daemon = Contender::start(Side::Daemon, Against::Floor, bench, &nodes)?;
    bench.armed(&mut [&mut floor, &mut daemon], 2).await?;
    let both = Both { floor, daemon };
    both.daemon.settled_memory().await?;

    let wakeups =
        || -> Result<_> { Ok(Both { floor: both.floor.wakeups()?, daemon: both.daemon.wakeups()? }) };
    let (before, start) = (wakeups()?, Instant::now());
    sleep(Duration::from_secs(scale.idle_seconds)).await;
    let (after, seconds) = (wakeups()?, start.elapsed().as_secs_f64());

    let memory = Both { floor: both.floor.memory()?, daemon: both.daemon.memory()? };
    let rate = |before: Usage, after: Usage| Usage {
        own: (after.own - before.own) / seconds,
        stores: (after.stores - before.stores) / seconds,
    };
    let rates = Both { floor: rate(before.floor, after.floor), daemon: rate(before.daemon, after.daemon) };
    table.usage("idle with one watch, wakeups a second", Unit::Rate, &rates, Goal::AtMost(3.0));
    table.usage("  memory (PSS)", Unit::Mebibytes, &memory, Goal::AtMost(12.0));
    Ok(())
}
