//! Many watches: how long until the server holds them all, and what that costs in memory.

use std::time::Instant;

use crate::contender::{Against, Both, Contender, Nodes, turns};
use crate::table::{Goal, Table, Unit, median_usage, percentile};
use crate::usage::Usage;
use crate::{Bench, Result};

/// With the number, paths have some 110 bytes, which is longer than most.
pub const PARENT: &str =
    "production/eu-central-1/services/payment-gateway-settlement/configuration/instances";

/// What is measured.
pub struct Arming {
    /// The node above all of this measurement.
    pub parent: &'static str,
    pub watches: usize,
    /// How many times for each side.
    pub times: usize,
    /// The goal for the daemon's memory.
    pub max_mebibytes: f64,
}

pub async fn measure(bench: &mut Bench, arming: Arming, table: &mut Table) -> Result<()> {
    let Arming { parent, watches, times, max_mebibytes } = arming;
    eprintln!("{watches} watches, {times} times for each side ...");
    let nodes = Nodes::create(bench, &format!("/bench/{parent}/{PARENT}"), watches).await?;
    let mut connected = Both::<Vec<f64>>::default();
    let mut started = Both::<Vec<f64>>::default();
    let mut memory = Both::<Vec<Usage>>::default();
    for side in turns(times) {
        bench.armed(&mut [], 0).await?;
        let start = Instant::now();
        let (contender, connect) = Contender::start_and_arm(side, Against::Floor, bench, &nodes).await?;
        connected.of(side).push(connect.elapsed().as_secs_f64() * 1e3);
        started.of(side).push(start.elapsed().as_secs_f64() * 1e3);
        memory.of(side).push(contender.settled_memory().await?);
    }
    let median = |values: &Both<Vec<f64>>| values.map(|values| percentile(values, 0.5));
    let name = format!("{watches} watches, from connected to armed");
    table.row(&name, Unit::Milliseconds, median(&connected), Goal::AtMostFloorTimes(2.0));
    table.row("  from the start of the process", Unit::Milliseconds, median(&started), Goal::None);
    let memory = memory.map(|values| median_usage(values));
    table.usage("  memory (PSS)", Unit::Mebibytes, &memory, Goal::AtMost(max_mebibytes));
    Ok(())
}
