//! The daemon's speed on a real ZooKeeper, against a floor measured in the same run.
//!
//! `cargo bench` measures everything, `cargo bench -- --quick` on a smaller scale, and `cargo bench -- burst
//! idle` only the named measurements (of `spaced`, `burst`, `ledger`, `arming`, `operators`, `idle` and
//! `fleet`).
//!
//! Both sides are processes with the same action, the same server and the same client that updates nodes.
//! They take turns, so that whatever else the machine does affects both. The daemon is compared with the
//! [`floor`], and in `ledger` with itself without a ledger.

use std::error::Error;
use std::process::ExitCode;

mod arming;
mod burst;
mod client;
mod contender;
mod fleet;
mod floor;
mod idle;
mod operators;
mod server;
mod spaced;
mod stamps;
mod table;

use client::Client;
use contender::Against;
use server::Server;
use stamps::Stamps;
use table::Table;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How much is measured.
struct Scale {
    updates: usize,
    burst: usize,
    bursts: usize,
    watches: usize,
    armings: usize,
    idle_seconds: u64,
    hosts: usize,
    fleet_updates: usize,
}

const FULL: Scale = Scale {
    updates: 200,
    burst: 1000,
    bursts: 6,
    watches: 10_000,
    armings: 4,
    idle_seconds: 20,
    hosts: 200,
    fleet_updates: 20,
};

const QUICK: Scale = Scale {
    updates: 30,
    burst: 300,
    bursts: 2,
    watches: 2000,
    armings: 2,
    idle_seconds: 4,
    hosts: 20,
    fleet_updates: 4,
};

/// What all measurements share.
struct Bench {
    server: Server,
    /// The client that updates nodes.
    setter: Client,
    stamps: Stamps,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [mode, args @ ..] if mode == floor::MODE => floor::run(args).await,
        args if !args.iter().any(|arg| arg == "--bench") => {
            // `cargo test --all-targets` runs benches too.
            println!("Run this by `cargo bench`.");
            Ok(())
        }
        args => {
            let scale = if args.iter().any(|arg| arg == "--quick") { &QUICK } else { &FULL };
            let only: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).map(String::as_str).collect();
            measure(scale, &only).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latency: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(scale: &Scale, only: &[&str]) -> Result<()> {
    let server = Server::start()?;
    let setter = Client::connect(&server.address()).await?;
    let mut bench = Bench { server, setter, stamps: Stamps::start()? };
    let mut table = Table::default();
    let wanted = |name| only.is_empty() || only.contains(&name);
    if wanted("spaced") {
        spaced::measure(&mut bench, scale, Against::Floor, &mut table).await?;
    }
    if wanted("burst") {
        burst::measure(&mut bench, scale, Against::Floor, &mut table).await?;
    }
    if wanted("ledger") {
        spaced::measure(&mut bench, scale, Against::NoLedger, &mut table).await?;
        burst::measure(&mut bench, scale, Against::NoLedger, &mut table).await?;
    }
    if wanted("arming") {
        arming::measure(&mut bench, scale, &mut table).await?;
    }
    if wanted("operators") {
        operators::measure(&mut bench, scale, &mut table).await?;
    }
    if wanted("idle") {
        idle::measure(&mut bench, scale, &mut table).await?;
    }
    if wanted("fleet") {
        fleet::measure(&mut bench, scale, &mut table).await?;
    }
    print!("\n{table}");
    Ok(())
}
