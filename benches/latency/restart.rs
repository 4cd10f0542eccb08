//! The process of a store is killed under many watches: how long until all of them are armed again, against
//! the first arming of the same daemon.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::arming::PARENT;
use crate::contender::{Against, Both, Contender, Nodes, Side};
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};

/// An action that has not run within this time is lost.
const TIMEOUT: Duration = Duration::from_secs(5);

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("the process of a store is killed under {} watches ...", scale.watches);
    let nodes = Nodes::create(bench, &format!("/bench/restart/{PARENT}"), scale.watches).await?;
    let last = nodes.paths().last().ok_or("no node")?;
    let (mut armed, mut restarted, mut ran) = (Vec::new(), Vec::new(), Vec::new());
    for restart in 0..scale.restarts {
        bench.armed(&mut [], 0).await?;
        let (mut daemon, connect) =
            Contender::start_and_arm(Side::Daemon, Against::Floor, bench, &nodes).await?;
        armed.push(connect.elapsed().as_secs_f64() * 1e3);
        daemon.settled_memory().await?;

        daemon.kill_store()?;
        let killed = Instant::now();
        // The server drops the watches with the connection.
        while bench.server.watches()? == scale.watches {
            sleep(Duration::from_millis(1)).await;
        }
        bench.armed(&mut [&mut daemon], scale.watches).await?;
        restarted.push(killed.elapsed().as_secs_f64() * 1e3);
        bench.setter.set_data(&last, restart.to_string().as_bytes()).await?;
        let stamp = bench.stamps.next(TIMEOUT).await.ok_or("an update was lost")?;
        if stamp.node != last {
            return Err(format!("{} ran for nothing", stamp.node).into());
        }
        ran.push(killed.elapsed().as_secs_f64() * 1e3);
    }
    // The same daemon is measured on both sides: when it is started, and after the kill.
    let name = format!("{} watches, armed again after a kill", scale.watches);
    let values = Both { floor: percentile(&armed, 0.5), daemon: percentile(&restarted, 0.5) };
    table.row(&name, Unit::Milliseconds, values, Goal::AtMostFloorTimes(2.0));
    let values = Both { floor: f64::NAN, daemon: percentile(&ran, 0.5) };
    table.row("  until a change has run its action", Unit::Milliseconds, values, Goal::None);
    Ok(())
}
