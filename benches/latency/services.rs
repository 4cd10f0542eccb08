//! Services: how soon others see that a check's verdict turned, and what services and their checks cost.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::contender::{Both, Contender, Directory, Side, turns};
use crate::operators::ask;
use crate::stamps::now;
use crate::table::{Goal, Table, Unit, percentile};
use crate::usage::{self, Usage};
use crate::{Bench, Result, Scale};

/// The node that the members are children of.
const SERVICE: &str = "/bench/services";

/// How long steps may take that are not measured, and what is measured at most.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A check that does as little as a program can.
const CHECK: &str = "/bin/true";

pub async fn measure(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    bench.setter.create("/bench", b"").await?;
    bench.setter.create(SERVICE, b"").await?;
    turn(bench, scale, table).await?;
    let services = scale.services;
    eprintln!(
        "{services} services, {} s idle and {} s with checks ...",
        scale.idle_seconds, scale.check_seconds
    );
    rest(bench, scale, table).await?;
    checks(bench, scale, table).await
}

/// From the end of the check that turns the verdict until another client is told of the member; and from a
/// bare create until the same client is told of that node.
async fn turn(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    eprintln!("{} turns of a check, and bare creates of a node ...", scale.turns);
    let observer = Client::connect(bench.server.store, &bench.server.address()).await?;
    let dir = Directory::new()?;
    let well = dir.file("well");
    // The stamp is the last thing that a check does which passes.
    let check = format!(
        "test -e {} && exec {} {} turn",
        well.display(),
        bench.stamps.program.display(),
        bench.stamps.socket.display()
    );
    let config = format!(
        "RegisterService(#{{ service: \"{SERVICE}\", address: \"turn\", check: Exec(\"{check}\"), \
         interval: 0.1, timeout: 5, rise: 1, fall: 1 }});\n"
    );
    let mut daemon = Contender::start_daemon(&bench.server.url(), dir, vec![config], "")?;
    in_state(&mut daemon, "failing", 1).await?;
    let member = format!("{SERVICE}/turn");
    let mut times = Both::<Vec<f64>>::default();
    for (index, side) in turns(scale.turns).enumerate() {
        match side {
            Side::Floor => {
                let node = format!("{SERVICE}/bare-{index}");
                let mut watch = observer.watch_presence(&node).await?;
                let created = now();
                let create = bench.setter.create(&node, b"{}");
                let (created_it, seen) = tokio::join!(create, async {
                    timeout(TIMEOUT, observer.came_or_went(&mut watch)).await??;
                    Result::Ok(now())
                });
                created_it?;
                times.floor.push((seen? - created) as f64 / 1e6);
            }
            Side::Daemon => {
                let mut watch = observer.watch_presence(&member).await?;
                fs::write(&well, "")?;
                timeout(TIMEOUT, observer.came_or_went(&mut watch)).await??;
                let seen = now();
                let turned = bench.stamps.next(TIMEOUT).await.ok_or("no check passed")?;
                times.daemon.push((seen - turned.at) as f64 / 1e6);
                let mut watch = observer.watch_presence(&member).await?;
                fs::remove_file(&well)?;
                timeout(TIMEOUT, observer.came_or_went(&mut watch)).await??;
                // Checks that passed meanwhile.
                while bench.stamps.next(Duration::ZERO).await.is_some() {}
            }
        }
    }
    for (share, goal) in [(0.5, Goal::AtMostFloorTimes(2.0)), (0.99, Goal::None)] {
        let name = format!("check turns to visible, p{:.0} (a bare create)", share * 100.0);
        table.row(&name, Unit::Milliseconds, times.map(|times| percentile(times, share)), goal);
    }
    Ok(())
}

/// Many services with nothing to do: memory and wakeups.
async fn rest(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    let mut daemon = start(bench, scale.services, "rest", "")?;
    in_state(&mut daemon, "announced", scale.services).await?;
    daemon.settled_memory().await?;
    let (before, start) = (daemon.wakeups()?, Instant::now());
    sleep(Duration::from_secs(scale.idle_seconds)).await;
    let (after, seconds) = (daemon.wakeups()?, start.elapsed().as_secs_f64());
    let none = Usage { own: f64::NAN, stores: f64::NAN };
    let rate =
        Usage { own: (after.own - before.own) / seconds, stores: (after.stores - before.stores) / seconds };
    let one = |daemon: Usage| Both { floor: none, daemon };
    let name = format!("{} services, wakeups a second", scale.services);
    table.usage(&name, Unit::Rate, &one(rate), Goal::None);
    table.usage("  memory (PSS)", Unit::Mebibytes, &one(daemon.memory()?), Goal::None);
    table.usage("  memory (RSS)", Unit::Mebibytes, &one(daemon.resident()?), Goal::None);
    Ok(())
}

/// Many checks in a second: what they cost, beside a loop that runs the same program as often.
async fn checks(bench: &mut Bench, scale: &Scale, table: &mut Table) -> Result<()> {
    let check = format!(", check: Exec([\"{CHECK}\"]), interval: 1, timeout: 10");
    let mut daemon = start(bench, scale.services, "checks", &check)?;
    in_state(&mut daemon, "announced", scale.services).await?;
    let (checked, used, start) = (finished_checks(&daemon)?, daemon.processor()?, Instant::now());
    sleep(Duration::from_secs(scale.check_seconds)).await;
    let seconds = start.elapsed().as_secs_f64();
    let (used, checked) = (daemon.processor()?.total() - used.total(), finished_checks(&daemon)? - checked);
    drop(daemon);

    // At the same rate, because a processor that has rested is slower.
    let (rate, check_seconds) = (checked / seconds, scale.check_seconds);
    // The benchmark's sessions go on meanwhile.
    let own = std::process::id();
    let before = usage::processor(own)?;
    let starts = spawn_blocking(move || start_bare(rate, Duration::from_secs(check_seconds))).await??;
    let bare = (usage::processor(own)?.total() - before.total()) / starts;
    // In milliseconds for each check, which is a thousandth of a second for a thousand of them.
    let each = Both { floor: bare, daemon: used / checked };
    table.row("a check a second each: checks a second", Unit::Rate, one_of(rate), Goal::None);
    table.row(
        "  processor time of a check (posix_spawn)",
        Unit::Milliseconds,
        each.map(|ms| *ms),
        Goal::None,
    );
    let per_second = each.map(|each| each * 500.0);
    table.row("  of 500 checks, in a second", Unit::Milliseconds, per_second, Goal::None);
    Ok(())
}

/// Starts the check's program so many times a second. Returns how often it did.
fn start_bare(rate: f64, lasting: Duration) -> io::Result<f64> {
    let (start, mut starts) = (Instant::now(), 0.0);
    while start.elapsed() < lasting {
        let mut command = Command::new(CHECK);
        // Nothing that keeps the standard library from posix_spawn.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.status()?;
        starts += 1.0;
        let due = Duration::from_secs_f64(starts / rate);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(starts)
}

fn one_of(daemon: f64) -> Both<f64> {
    Both { floor: f64::NAN, daemon }
}

/// Starts a daemon with so many services, all with these further keys.
fn start(bench: &Bench, services: usize, name: &str, keys: &str) -> Result<Contender> {
    let config = format!(
        "for index in 0..{services} {{\n    RegisterService(#{{ service: \"{SERVICE}/{name}\", \
         address: \"member-\" + index{keys} }});\n}}\n"
    );
    Contender::start_daemon(&bench.server.url(), Directory::new()?, vec![config], "")
}

/// Waits until so many services of the daemon are in this state.
async fn in_state(daemon: &mut Contender, state: &str, count: usize) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let line = format!("twitcher_services{{state=\"{state}\"}} {count}\n");
    loop {
        // It does not answer before it has its socket.
        let metrics = ask(&daemon.control_socket(), "/metrics").unwrap_or_default();
        if metrics.contains(&line) {
            return Ok(());
        }
        daemon.check()?;
        if Instant::now() > deadline {
            return Err(format!("not {count} services are {state} after {TIMEOUT:?}:\n{metrics}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many checks have ended.
fn finished_checks(daemon: &Contender) -> Result<f64> {
    const COUNTER: &str = "twitcher_service_checks_total";
    let metrics = ask(&daemon.control_socket(), "/metrics")?;
    let counts = metrics.lines().filter(|line| line.starts_with(COUNTER));
    Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}
