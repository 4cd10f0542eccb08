//! Commits: what a save costs, how soon a host runs for it, and what a large journal costs.

mod server;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;
use twitcher::commits::Journal;

use crate::contender::{Both, Contender, Directory, Side, turns};
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, percentile};
use crate::{Bench, Result, Scale};
use server::{CommitServer, Place, commit, median, payload, table as table_of};

/// How many clients save at once.
const WRITERS: [usize; 3] = [1, 8, 64];

/// If an action has not run within this time, its update is lost.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the first publishing of all keys may take.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(600);

/// How many commits the journal is given at once.
const FILLED_AT_ONCE: usize = 256;

/// How many versions each key of the large journal has.
const VERSIONS: i64 = 10;

/// Longer than the benchmark: the leader begins no round by itself.
const NEVER: u32 = 1_000_000;

/// The parent of the nodes.
const PARENT: &str = "/bench/commits";

/// Saves, whatever the store: by the journal itself, and by a server.
pub async fn saves(database: Option<&str>, scale: &Scale, table: &mut Table) -> Result<()> {
    let place = Place::new(database)?;
    let kind = place.url.split(':').next().unwrap_or_default();
    eprintln!("{} s of saves in {kind}, by {WRITERS:?} writers ...", scale.save_seconds);
    table.head(&format!("commits in {kind}"), "journal", "server");
    let journal = place.journal(&table_of("journal")).await?;
    let namespace = format!("[serve.commits.bench]\ntable = \"{}\"\n", table_of("saves"));
    let server = CommitServer::start(&place, &namespace).await?;
    for writers in WRITERS {
        let (mut rates, mut last) = (Both::<f64>::default(), Both::<f64>::default());
        for side in turns(1) {
            let until = Instant::now() + Duration::from_secs(scale.save_seconds);
            let journal = &journal;
            let save = async |key: &str, version: i64| match side {
                Side::Floor => keep(&**journal, key, version).await,
                Side::Daemon => server.save(key, version).await,
            };
            let writer = async |number: usize| -> Result<Vec<f64>> {
                let (key, mut times) = (format!("of-{writers}-{number}"), Vec::new());
                while Instant::now() < until {
                    let start = Instant::now();
                    save(&key, times.len() as i64 + 1).await?;
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                }
                Ok(times)
            };
            let start = Instant::now();
            let times = try_join_all((0..writers).map(writer)).await?.concat();
            *rates.of(side) = times.len() as f64 / start.elapsed().as_secs_f64();
            *last.of(side) = percentile(&times, 0.99);
        }
        let name = if writers == 1 { "1 writer".to_owned() } else { format!("{writers} writers") };
        table.row(&format!("{name}: saves a second"), Unit::Rate, rates, Goal::None);
        table.row("  until one is answered, p99", Unit::Milliseconds, last, Goal::None);
    }
    Ok(())
}

async fn keep(journal: &dyn Journal, key: &str, version: i64) -> Result<()> {
    let kept = journal.save(commit(key, version)).await?;
    kept.map_err(|conflict| format!("{key}: {version} is not {}", conflict.expected).into())
}

/// What is published in a store.
pub async fn publishing(
    bench: &mut Bench,
    database: Option<&str>,
    scale: &Scale,
    table: &mut Table,
) -> Result<()> {
    let place = Place::new(database)?;
    let namespace = |name: &str| {
        format!(
            "[serve.commits.{name}]\ntable = \"{}\"\nstore = \"{}\"\npath = \"{PARENT}/{name}\"\n\
             publish_period = {NEVER}\n",
            table_of(&format!("{}_{name}", bench.server.store.name())),
            bench.server.url()
        )
    };
    let (one, many) = (namespace("bench"), namespace("many"));
    bench.setter.create("/bench", b"").await?;
    bench.setter.create(PARENT, b"").await?;
    let server = CommitServer::start(&place, &one).await?;
    server.metric("twitcher_serve_leader", "bench", 1.0).await?;
    sleep(Duration::from_secs(scale.idle_seconds)).await;
    let idle = server.resident()?;
    until_it_runs(bench, &place, &server, scale, table).await?;
    table.row("an idle server: memory (RSS)", Unit::Mebibytes, one_of(idle), Goal::AtMost(20.0));
    drop(server);
    large(&place, &many, &format!("{}_many", bench.server.store.name()), scale, table).await
}

/// From the start of `twitcher commits save` to the first instruction of a host's action, beside `twitcher
/// set` of a bare node.
async fn until_it_runs(
    bench: &mut Bench,
    place: &Place,
    server: &CommitServer,
    scale: &Scale,
    table: &mut Table,
) -> Result<()> {
    eprintln!("{} saves that a host runs for, and as many bare nodes ...", scale.updates / 2);
    let (bare, published) = (format!("{PARENT}/bare"), format!("{PARENT}/bench/data/key"));
    bench.setter.create(&bare, b"0").await?;
    server.save("key", 1).await?;
    server.metric("twitcher_serve_publish_lag_seconds", "bench", 0.0).await?;
    let others = bench.server.watches()?;
    let (program, socket) = (bench.stamps.program.display(), bench.stamps.socket.display());
    let watch = |node: &str| {
        format!(
            "RegisterWatch(#{{ znode: \"{node}\", action: Exec([\"{program}\", \"{socket}\", \"{node}\"]), \
             run_on_load: false }});\n"
        )
    };
    let configs = vec![[watch(&bare), watch(&published)].concat()];
    let mut daemon = Contender::start_daemon(&bench.server.url(), Directory::new()?, configs, "")?;
    bench.armed(&mut [&mut daemon], others + 2).await?;

    let directory = Directory::new()?;
    let file = directory.file("payload");
    let nodes = Both { floor: bare, daemon: published };
    let (mut times, mut version) = (Both::<Vec<f64>>::default(), 1);
    // The first round is not counted, because caches are cold.
    for (index, side) in turns(scale.updates / 2 + 1).enumerate() {
        sleep(Duration::from_micros(fastrand::u64(35_000..65_000))).await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
        let node = match side {
            Side::Floor => {
                let content = String::from_utf8(payload(index as i64))?;
                command.args(["set", "--store", &bench.server.url(), &nodes.floor, &content]);
                &nodes.floor
            }
            Side::Daemon => {
                version += 1;
                fs::write(&file, payload(version))?;
                command.args(["commits", "save", "key"]).arg(&file).args(["-m", "why", "--author", "bench"]);
                command.args(["--url", &server.url("bench")]);
                &nodes.daemon
            }
        };
        let began = now();
        let mut command = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let stamp = bench.stamps.next(TIMEOUT).await.ok_or("an update was lost")?;
        if !command.wait()?.success() {
            return Err("the command failed".into());
        }
        if stamp.node != *node {
            return Err(format!("{} ran for {node}", stamp.node).into());
        }
        if index >= 2 {
            times.of(side).push((stamp.at - began) as f64 / 1e6);
        }
    }
    let probe = table_of(&format!("{}_one", bench.server.store.name()));
    let journal = place.journal(&probe).await?;
    let kept = async |index: usize| keep(&*journal, "key", index as i64 + 1).await;
    let one_commit = median(scale, kept).await?;
    for (share, goal) in [(0.5, Goal::AtMostFloorTimesPlus(1.5, one_commit)), (0.99, Goal::None)] {
        let name = format!("`commits save` to first instruction, p{:.0} (`set`)", share * 100.0);
        table.row(&name, Unit::Milliseconds, times.map(|times| percentile(times, share)), goal);
    }
    table.row("  one commit of the journal", Unit::Milliseconds, one_of(one_commit), Goal::None);
    Ok(())
}

/// A journal with many keys of which nothing changes.
async fn large(place: &Place, namespace: &str, name: &str, scale: &Scale, table: &mut Table) -> Result<()> {
    let keys = scale.keys;
    eprintln!("{keys} keys with {VERSIONS} versions each ...");
    let journal = place.journal(&table_of(name)).await?;
    fill(&*journal, keys).await?;
    drop(journal);
    let server = CommitServer::start(place, namespace).await?;
    server.metric("twitcher_serve_store_connected", "many", 1.0).await?;
    let start = Instant::now();
    loop {
        // A connection has 30 s. The publishing goes on without it.
        if let Ok((checked, 0)) = server.publish("many").await {
            if checked != keys as u64 {
                return Err(format!("{checked} of {keys} keys were compared").into());
            }
            break;
        }
        if start.elapsed() > PUBLISH_TIMEOUT {
            return Err(format!("{keys} keys are not published after {PUBLISH_TIMEOUT:?}").into());
        }
    }
    let published = start.elapsed().as_secs_f64() * 1e3;
    let server = &server;
    let round = median(scale, async |_| match server.publish("many").await? {
        (_, 0) => Ok(()),
        (_, differing) => Err(format!("{differing} keys differ").into()),
    });
    let round = round.await?;
    let list = median(scale, async |_| server.get("/many").await.map(drop)).await?;
    let log = median(scale, async |index| {
        server.get(&format!("/many/key-{}/-/log", index * 7919 % keys)).await.map(drop)
    });
    let log = log.await?;
    let scrape = median(scale, async |_| server.get("/-/metrics").await.map(drop)).await?;
    let title = format!("{keys} keys with {VERSIONS} versions each: a round");
    table.row(&title, Unit::Milliseconds, one_of(round), Goal::AtMost(2000.0));
    for (name, value) in [
        ("  all published for the first time", published),
        ("  `list`", list),
        ("  `log`", log),
        ("  the metrics", scrape),
    ] {
        table.row(name, Unit::Milliseconds, one_of(value), Goal::None);
    }
    table.row("  memory afterwards (RSS)", Unit::Mebibytes, one_of(server.resident()?), Goal::None);
    Ok(())
}

/// Saves all versions of all keys, many at once.
async fn fill(journal: &dyn Journal, keys: usize) -> Result<()> {
    for version in 1..=VERSIONS {
        for first in (0..keys).step_by(FILLED_AT_ONCE) {
            let some = first..keys.min(first + FILLED_AT_ONCE);
            let saves = some.map(|number| journal.save(commit(&format!("key-{number}"), version)));
            for saved in join_all(saves).await {
                saved?.map_err(|conflict| format!("{} was expected", conflict.expected))?;
            }
        }
    }
    Ok(())
}

fn one_of(server: f64) -> Both<f64> {
    Both { floor: f64::NAN, daemon: server }
}
