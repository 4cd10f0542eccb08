//! The daemon's speed on a real ZooKeeper and on a real etcd, against a floor measured in the same run.
//! `cargo bench -- --help` says how to run it, and what is measured.
//!
//! Both sides are processes with the same action, the same server and the same client that updates nodes.
//! They take turns, so that whatever else the machine does affects both. The daemon is compared with the
//! [`floor`], in `ledger` and `cached` with itself without a ledger and without a cache, and in `etcdctl`
//! with that program.

use std::error::Error;
use std::process::ExitCode;

mod arming;
mod burst;
mod cached;
mod client;
mod commits;
mod contender;
mod copy;
mod crowd;
mod fleet;
mod floor;
mod idle;
mod losses;
mod operators;
mod proxy;
mod restart;
mod server;
mod services;
mod spaced;
mod stamps;
mod table;
mod usage;

use arming::Arming;
use client::Client;
use contender::Against;
use server::{Server, Store};
use stamps::Stamps;
use table::Table;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = include_str!("help.txt");

const MEASUREMENTS: [&str; 15] = [
    "spaced",
    "burst",
    "crowd",
    "ledger",
    "arming",
    "restart",
    "many",
    "operators",
    "cached",
    "idle",
    "services",
    "commits",
    "fleet",
    "etcdctl",
    "copy",
];

/// How much is measured.
struct Scale {
    updates: usize,
    burst: usize,
    bursts: usize,
    crowds: usize,
    watches: usize,
    armings: usize,
    many_watches: usize,
    restarts: usize,
    idle_seconds: u64,
    services: usize,
    /// How often a check turns.
    turns: usize,
    /// How long the checks of services are measured.
    check_seconds: u64,
    /// How long each number of writers saves.
    save_seconds: u64,
    /// How many keys the large journal has.
    keys: usize,
    /// How often something is measured that takes a while.
    rounds: usize,
    hosts: usize,
    fleet_updates: usize,
    /// How many nodes change while a watcher is away.
    missed: usize,
    /// How many nodes are copied at once, and how many beside loops that put each by etcdctl or by kazoo.
    copied: usize,
    put_by_etcdctl: usize,
    created_by_kazoo: usize,
}

const FULL: Scale = Scale {
    updates: 200,
    burst: 1000,
    bursts: 6,
    crowds: 3,
    watches: 10_000,
    armings: 4,
    many_watches: 100_000,
    restarts: 3,
    idle_seconds: 20,
    services: 500,
    turns: 100,
    check_seconds: 10,
    save_seconds: 5,
    keys: 100_000,
    rounds: 9,
    hosts: 200,
    fleet_updates: 20,
    missed: 100,
    copied: 100_000,
    put_by_etcdctl: 2000,
    created_by_kazoo: 100_000,
};

const QUICK: Scale = Scale {
    updates: 30,
    burst: 300,
    bursts: 2,
    crowds: 1,
    watches: 2000,
    armings: 2,
    many_watches: 20_000,
    restarts: 1,
    idle_seconds: 4,
    services: 100,
    turns: 15,
    check_seconds: 3,
    save_seconds: 1,
    keys: 2000,
    rounds: 3,
    hosts: 20,
    fleet_updates: 4,
    missed: 20,
    copied: 10_000,
    put_by_etcdctl: 100,
    created_by_kazoo: 1000,
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
        args => match Plan::parse(args) {
            Ok(Some(plan)) => plan.run().await,
            Ok(None) => {
                print!("{HELP}");
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latency: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be measured.
struct Plan {
    scale: &'static Scale,
    stores: Vec<Store>,
    /// The names of measurements; all of them if there is none.
    only: Vec<String>,
    /// The database of commits, if it is not a file of SQLite.
    database: Option<String>,
}

impl Plan {
    /// Returns `None` if somebody asks for help.
    fn parse(args: &[String]) -> Result<Option<Self>> {
        let mut plan = Self { scale: &FULL, stores: Vec::new(), only: Vec::new(), database: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--database" => {
                    let url = args.next().ok_or("--database needs a URL: postgres://USER@HOST/DATABASE")?;
                    plan.database = Some(url.clone());
                }
                "--bench" => {}
                "--quick" => plan.scale = &QUICK,
                "--help" | "-h" => return Ok(None),
                name if MEASUREMENTS.contains(&name) => plan.only.push(name.to_owned()),
                name => match Store::from_name(name) {
                    Some(store) => plan.stores.push(store),
                    None => return Err(format!("nothing is called {name:?}\n\n{HELP}").into()),
                },
            }
        }
        if plan.stores.is_empty() {
            plan.stores.extend(Store::ALL);
        }
        Ok(Some(plan))
    }

    fn wants(&self, name: &str) -> bool {
        debug_assert!(MEASUREMENTS.contains(&name));
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }

    async fn run(&self) -> Result<()> {
        let mut table = Table::default();
        let database = self.database.as_deref();
        if self.wants("commits") {
            commits::saves(database, self.scale, &mut table).await?;
        }
        for store in &self.stores {
            self.measure(*store, &mut table).await?;
        }
        if self.wants("copy") && self.stores.len() == Store::ALL.len() {
            table.head("between ZooKeeper and etcd", "loop", "twitcher");
            copy::measure(self.scale, &mut table).await?;
        }
        print!("\n{table}");
        Ok(())
    }

    async fn measure(&self, store: Store, table: &mut Table) -> Result<()> {
        let beside_etcdctl = store == Store::Etcd && self.wants("etcdctl");
        let against_floor =
            MEASUREMENTS.iter().any(|name| !["etcdctl", "copy"].contains(name) && self.wants(name));
        if !against_floor && !beside_etcdctl {
            return Ok(());
        }
        let scale = self.scale;
        let server = Server::start(store)?;
        let setter = Client::connect(store, &server.address()).await?;
        let mut bench = Bench { server, setter, stamps: Stamps::start()? };
        let bench = &mut bench;
        if against_floor {
            eprintln!("{}:", store.title());
            table.head(store.title(), "floor", "daemon");
        }
        if self.wants("spaced") {
            spaced::measure(bench, scale, Against::Floor, table).await?;
        }
        if self.wants("burst") {
            burst::measure(bench, scale, Against::Floor, table).await?;
        }
        if self.wants("crowd") {
            crowd::measure(bench, scale, table).await?;
        }
        if self.wants("ledger") {
            spaced::measure(bench, scale, Against::NoLedger, table).await?;
            burst::measure(bench, scale, Against::NoLedger, table).await?;
        }
        if self.wants("arming") {
            let few = Arming {
                parent: "arming",
                watches: scale.watches,
                times: scale.armings,
                max_mebibytes: 30.0,
            };
            arming::measure(bench, few, table).await?;
        }
        if self.wants("restart") {
            restart::measure(bench, scale, table).await?;
        }
        if self.wants("many") {
            let many = Arming { parent: "many", watches: scale.many_watches, times: 1, max_mebibytes: 150.0 };
            arming::measure(bench, many, table).await?;
        }
        if self.wants("operators") {
            operators::measure(bench, scale, table).await?;
        }
        if self.wants("cached") {
            cached::measure(bench, scale, table).await?;
        }
        if self.wants("idle") {
            idle::measure(bench, scale, table).await?;
        }
        if self.wants("services") {
            services::measure(bench, scale, table).await?;
        }
        if self.wants("commits") {
            commits::publishing(bench, self.database.as_deref(), scale, table).await?;
        }
        if self.wants("fleet") {
            fleet::measure(bench, scale, table).await?;
        }
        if beside_etcdctl {
            eprintln!("beside etcdctl:");
            table.head("etcd, beside `etcdctl watch -- COMMAND`", "etcdctl", "daemon");
            spaced::measure(bench, scale, Against::Etcdctl, table).await?;
            burst::measure(bench, scale, Against::Etcdctl, table).await?;
            losses::measure(bench, scale, table).await?;
        }
        Ok(())
    }
}
