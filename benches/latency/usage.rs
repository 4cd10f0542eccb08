//! What a process and the processes that it has started for its stores and members use of the machine.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

use crate::Result;

/// An amount for the process itself, and one for the processes of its stores and of its members together.
#[derive(Clone, Copy)]
pub struct Usage {
    pub own: f64,
    pub stores: f64,
}

impl Usage {
    pub fn total(self) -> f64 {
        self.own + self.stores
    }
}

/// The memory in MiB. Of what a process has in common with others, such as its program, only its share is
/// counted (PSS).
pub fn memory(pid: u32) -> Result<Usage> {
    pages(pid, "Pss:")
}

/// The resident memory in MiB (RSS), with all that a process has in common with others.
pub fn resident(pid: u32) -> Result<Usage> {
    pages(pid, "Rss:")
}

fn pages(pid: u32, kind: &str) -> Result<Usage> {
    sum(pid, |process| {
        let sums = fs::read_to_string(process.join("smaps_rollup"))?;
        Ok(field(&sums, kind)? as f64 / 1024.0)
    })
}

/// How often the threads have gone to sleep since they were started.
pub fn wakeups(pid: u32) -> Result<Usage> {
    sum(pid, |process| {
        let mut sum = 0;
        for task in fs::read_dir(process.join("task"))? {
            sum += field(&fs::read_to_string(task?.path().join("status"))?, "voluntary_ctxt_switches:")?;
        }
        Ok(sum as f64)
    })
}

/// The processor time in milliseconds, with that of the children that were reaped, which are its actions.
pub fn processor(pid: u32) -> Result<Usage> {
    let rate = sysconf(SysconfVar::CLK_TCK)?.ok_or("the kernel does not tell its clock's rate")? as f64;
    sum(pid, |process| {
        let stat = fs::read_to_string(process.join("stat"))?;
        // The name, which comes before, may contain anything. The first field after it is the third.
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(14 - 3));
        let ticks: f64 =
            fields.into_iter().flatten().take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(ticks / rate * 1e3)
    })
}

/// The processes that a daemon has for its stores: those that watch nodes (`store`), or those that keep
/// members (`keep`).
pub fn helpers(pid: u32, kind: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?;
        let Some(child) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(status) = fs::read_to_string(process.path().join("status")) else { continue };
        let Ok(command) = fs::read(process.path().join("cmdline")) else { continue };
        let is_such = command.split(|byte| *byte == 0).nth(1) == Some(kind.as_bytes());
        if is_such && field(&status, "PPid:")? == u64::from(pid) {
            found.push(child);
        }
    }
    Ok(found)
}

fn sum(pid: u32, amount: impl Fn(&Path) -> Result<f64>) -> Result<Usage> {
    let process = |pid: u32| PathBuf::from(format!("/proc/{pid}"));
    let mut usage = Usage { own: amount(&process(pid))?, stores: 0.0 };
    for helper in [helpers(pid, "store")?, helpers(pid, "keep")?].concat() {
        usage.stores += amount(&process(helper))?;
    }
    Ok(usage)
}

fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| format!("no {name} in /proc").into())
}
