//! `twitcher export | twitcher import` between ZooKeeper and etcd, beside loops that copy node by node with
//! kazoo and etcdctl.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use futures_util::future::try_join_all;
use serde_json::Value;

use crate::client::Client;
use crate::contender::Both;
use crate::server::{Server, Store, etcd_program};
use crate::table::{Goal, Table, Unit};
use crate::{Result, Scale};

/// How many nodes have the same parent.
const SIBLINGS: usize = 1000;

/// How many bytes of data each node has.
const BYTES: usize = 100;

/// A tree in one store that is copied to the other.
struct Copy<'a> {
    from: &'a Server,
    to: &'a Server,
    node: &'a str,
    /// How many nodes it has.
    nodes: usize,
}

/// Copies all nodes, and some of them beside loops.
pub async fn measure(scale: &Scale, table: &mut Table) -> Result<()> {
    let (zookeeper, etcd) = (Server::start(Store::ZooKeeper)?, Server::start(Store::Etcd)?);
    let python = python();
    if python.is_none() {
        eprintln!("kazoo is missing (tests/run installs it): the copies are not compared with loops");
    }
    for (from, to) in [(&zookeeper, &etcd), (&etcd, &zookeeper)] {
        if let Some(python) = &python {
            let looped = match from.store {
                Store::ZooKeeper => scale.put_by_etcdctl,
                Store::Etcd => scale.created_by_kazoo,
            };
            let name = from.store.name();
            let [by_loop, by_us] = [format!("/loop-from-{name}"), format!("/us-from-{name}")];
            for node in [&by_loop, &by_us] {
                create(from, node, looped).await?;
            }
            let copies = Both { floor: &by_loop, daemon: &by_us };
            let copies = copies.map(|node| Copy { from, to, node, nodes: with_parents(looped) });
            eprintln!("{}, by a loop and by us ...", copies.floor.describe());
            let seconds = Both { floor: copies.floor.by_loop(python)?, daemon: copies.daemon.by_us()? };
            copies.daemon.rows(table, seconds, Goal::AtMostFloorTimes(1.0))?;
        }
        let node = format!("/all-from-{}", from.store.name());
        create(from, &node, scale.copied).await?;
        let copy = Copy { from, to, node: &node, nodes: with_parents(scale.copied) };
        eprintln!("{} ...", copy.describe());
        let one = |value| Both { floor: f64::NAN, daemon: value };
        copy.rows(table, one(copy.by_us()?), Goal::None)?;
        let again = copy.by_us()?;
        table.row("  once more, which changes nothing", Unit::Milliseconds, one(again * 1e3), Goal::None);
    }
    Ok(())
}

/// So many nodes, their parents, and the one above.
fn with_parents(count: usize) -> usize {
    count + count.div_ceil(SIBLINGS) + 1
}

/// Creates nodes with a few parents, below one that is not there yet.
async fn create(server: &Server, top: &str, count: usize) -> Result<()> {
    // A client of its own: while a copy runs, nothing would keep a session alive.
    let client = Client::connect(server.store, &server.address()).await?;
    client.create(top, b"").await?;
    for first in (0..count).step_by(SIBLINGS) {
        let parent = format!("{top}/parent-{}", first / SIBLINGS);
        client.create(&parent, b"").await?;
        let paths: Vec<_> =
            (first..count.min(first + SIBLINGS)).map(|node| format!("{parent}/node-{node}")).collect();
        let data: Vec<_> = paths.iter().map(|path| format!("{path:.<BYTES$}")).collect();
        let creating = paths.iter().zip(&data).map(|(path, data)| client.create(path, data.as_bytes()));
        try_join_all(creating).await?;
    }
    Ok(())
}

impl Copy<'_> {
    fn describe(&self) -> String {
        format!("{} nodes, {} to {}", self.nodes, self.from.store.title(), self.to.store.title())
    }

    fn rows(&self, table: &mut Table, seconds: Both<f64>, goal: Goal) -> Result<()> {
        table.row(&self.describe(), Unit::Milliseconds, seconds.map(|seconds| seconds * 1e3), goal);
        let each = seconds.map(|seconds| seconds * 1e3 / self.nodes as f64);
        table.row("  for each node", Unit::Milliseconds, each, Goal::None);
        let wrong = Both { floor: f64::NAN, daemon: self.differences()? as f64 };
        table.row("  nodes that are missing or differ", Unit::Count, wrong, Goal::AtMost(0.0));
        Ok(())
    }

    /// Copies with `export | import`, and returns how many seconds that takes.
    fn by_us(&self) -> Result<f64> {
        let start = Instant::now();
        let mut export = self.twitcher("export", self.from).arg(self.node).stdout(Stdio::piped()).spawn()?;
        let output = export.stdout.take().ok_or("no output")?;
        let import = self.twitcher("import", self.to).stdin(output).stderr(Stdio::piped()).output()?;
        if !(export.wait()?.success() && import.status.success()) {
            return Err(format!("export | import: {}", String::from_utf8_lossy(&import.stderr)).into());
        }
        Ok(start.elapsed().as_secs_f64())
    }

    fn twitcher(&self, what: &str, server: &Server) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twitcher"));
        // What a copy cannot carry is said on stderr each time.
        command.args([what, "--store", &server.url()]).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Copies with a loop, and returns how many seconds that takes.
    fn by_loop(&self, python: &Path) -> Result<f64> {
        let script = match self.from.store {
            Store::ZooKeeper => include_str!("copy_to_etcd.py"),
            Store::Etcd => include_str!("copy_to_zookeeper.py"),
        };
        let (zookeeper, etcd) = match self.from.store {
            Store::ZooKeeper => (self.from.address(), self.to.address()),
            Store::Etcd => (self.to.address(), self.from.address()),
        };
        let start = Instant::now();
        let mut command = Command::new(python);
        command.args(["-c", script, &zookeeper]).arg(etcd_program("etcdctl")).args([&etcd, self.node]);
        match command.env("ETCDCTL_API", "3").stdin(Stdio::null()).status()?.success() {
            true => Ok(start.elapsed().as_secs_f64()),
            false => Err("the loop failed".into()),
        }
    }

    /// How many nodes differ in the two stores.
    fn differences(&self) -> Result<usize> {
        let (mut left, right) = (self.read(self.from)?, self.read(self.to)?);
        let extra = right.iter().filter(|(node, data)| left.remove(*node).as_ref() != Some(data)).count();
        Ok(extra + left.len() + self.nodes.abs_diff(right.len()))
    }

    /// The data of each node.
    fn read(&self, server: &Server) -> Result<BTreeMap<String, Value>> {
        let output = self.twitcher("export", server).arg(self.node).output()?;
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let mut record: Value = serde_json::from_slice(line)?;
                let node = record["znode"].as_str().ok_or("no node")?.to_owned();
                Ok((node, record["data"].take()))
            })
            .collect()
    }
}

/// The Python into which `tests/run` installs kazoo.
fn python() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kazoo").join("bin/python3");
    let python = std::env::var_os("TWITCHER_TEST_PYTHON").map_or(installed, PathBuf::from);
    let has_kazoo = Command::new(&python).args(["-c", "import kazoo"]).stderr(Stdio::null()).status();
    has_kazoo.is_ok_and(|status| status.success()).then_some(python)
}
