//! What a watcher loses that is away for a while, beside `etcdctl watch`.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use crate::contender::{Against, Both, Contender, Nodes, Side};
use crate::proxy::Proxy;
use crate::table::{Goal, Table, Unit};
use crate::{Bench, Result, Scale};

/// If no run comes within this time, the remaining ones are lost. Watchers wait before they connect again.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The wait after the last run for runs that should not come.
const QUIET: Duration = Duration::from_millis(500);

/// How a watcher is away while nodes change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outage {
    CutOff,
    /// Meanwhile etcd forgets the revisions that the watcher has missed.
    CutOffUntilCompaction,
    /// Its process ends, as for an upgrade, and is started again.
    Restart,
}

impl Outage {
    fn describe(self) -> &'static str {
        match self {
            Self::CutOff => "was cut off",
            Self::CutOffUntilCompaction => "was cut off, compaction",
            Self::Restart => "was restarted",
        }
    }
}

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("{} nodes change while the watcher is away ...", scale.missed);
    for outage in [Outage::CutOff, Outage::CutOffUntilCompaction, Outage::Restart] {
        let mut wrong = Both::<usize>::default();
        for side in [Side::Floor, Side::Daemon] {
            *wrong.of(side) = once(bench, scale, outage, side).await?;
        }
        let name = format!("lost of {} changed while it {}", scale.missed, outage.describe());
        table.row(&name, Unit::Count, wrong.map(|wrong| *wrong as f64), Goal::AtMost(0.0));
    }
    Ok(())
}

/// Returns how many runs were lost or too many.
async fn once(bench: &mut Bench, scale: &Scale, outage: Outage, side: Side) -> Result<usize> {
    bench.armed(&mut [], 0).await?;
    let (against, count) = (Against::Etcdctl, scale.missed);
    let parent = match side {
        Side::Floor => format!("/bench/losses-{}/floor", outage as u8),
        Side::Daemon => format!("/bench/losses-{}/daemon", outage as u8),
    };
    let nodes = Nodes::create(bench, &parent, count).await?;
    let mut proxy = Proxy::to(&bench.server.address()).await?;
    let mut contender = Contender::start_at(&proxy.address(), side, against, bench, &nodes)?;
    bench.armed(&mut [&mut contender], against.watches(side, count)).await?;
    // Before the outage, both run everything.
    if set_all(bench, &nodes, "before").await? + missing(bench, &nodes).await > 0 {
        return Err("a run was lost without an outage".into());
    }

    match outage {
        Outage::CutOff | Outage::CutOffUntilCompaction => proxy.cut().await,
        Outage::Restart => contender.stop()?,
    }
    while bench.server.watches()? > 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let too_early = set_all(bench, &nodes, "meanwhile").await?;
    match outage {
        Outage::CutOff => proxy.mend().await?,
        Outage::CutOffUntilCompaction => {
            bench.setter.compact().await?;
            proxy.mend().await?;
        }
        Outage::Restart => contender.start_again()?,
    }
    Ok(too_early + missing(bench, &nodes).await)
}

/// Changes all nodes. Returns how many actions ran before.
async fn set_all(bench: &mut Bench, nodes: &Nodes, data: &str) -> Result<usize> {
    let mut ran = 0;
    while bench.stamps.next(Duration::ZERO).await.is_some() {
        ran += 1;
    }
    let paths: Vec<_> = nodes.paths().collect();
    try_join_all(paths.iter().map(|path| bench.setter.set_data(path, data.as_bytes()))).await?;
    Ok(ran)
}

/// Waits until the action of each node has run. Returns how many have not, or ran twice.
async fn missing(bench: &mut Bench, nodes: &Nodes) -> usize {
    let mut waiting: HashSet<String> = nodes.paths().collect();
    let mut twice = 0;
    loop {
        let timeout = if waiting.is_empty() { QUIET } else { TIMEOUT };
        let Some(stamp) = bench.stamps.next(timeout).await else { return waiting.len() + twice };
        twice += usize::from(!waiting.remove(&stamp.node));
    }
}
