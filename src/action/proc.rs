//! What /proc says of processes.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// A process, so that it cannot be mistaken for another that has its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark {
    pub pid: i32,
    /// In clock ticks since the machine was booted: field 22 of /proc/PID/stat.
    pub started: u64,
}

/// A process that is alive: a zombie is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    pub pid: i32,
    pub group: i32,
    pub session: i32,
    /// In clock ticks since the machine was booted.
    pub started: u64,
}

/// Every process that is alive.
pub fn living() -> impl Iterator<Item = Living> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| look_at(entry.ok()?.file_name().to_str()?.parse().ok()?))
}

/// `None` if there is no such process, or it has ended.
pub fn look_at(pid: i32) -> Option<Living> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// What tells a process from another that has its number later. An error if it is gone.
pub fn mark(pid: Pid) -> io::Result<ProcessMark> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let started = started(&stat).ok_or(io::ErrorKind::InvalidData)?;
    Ok(ProcessMark { pid: pid.as_raw(), started })
}

/// How long the process has been there. Zero if the clocks cannot be read.
pub fn age(process: ProcessMark) -> Duration {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    match ticks {
        Some(ticks @ 1..) => now.saturating_sub(Duration::from_millis(process.started * 1000 / ticks)),
        Some(0) | None => Duration::ZERO,
    }
}

fn parse(pid: i32, stat: &str) -> Option<Living> {
    let group = field(stat, 5)?.parse().ok()?;
    let session = field(stat, 6)?.parse().ok()?;
    match field(stat, 3)? {
        "Z" | "X" => None,
        _ => Some(Living { pid, group, session, started: started(stat)? }),
    }
}

fn started(stat: &str) -> Option<u64> {
    field(stat, 22)?.parse().ok()
}

/// Field `number` of /proc/PID/stat as proc(5) counts them, from the third on: before it stands the name in
/// parentheses, which may hold anything.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number - 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_pose_as_anything() {
        let stat = |text: &str| parse(7, &format!("{text} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 4711 1"));
        let living = |group, session| Some(Living { pid: 7, group, session, started: 4711 });
        assert_eq!(stat("7 (a) b) S 1 42 43"), living(42, 43));
        assert_eq!(stat("7 (x S 1 42) S 1 7 8"), living(7, 8));
        assert_eq!(stat("7 (zombie) Z 1 42 42"), None);
        assert_eq!(parse(7, "7 (cut) S 1"), None);
    }

    #[test]
    fn we_are_alive_and_not_older_than_the_machine() {
        let ours = mark(Pid::this()).unwrap();
        let found = living().find(|living| living.pid == ours.pid).unwrap();
        assert_eq!(found.started, ours.started);
        assert!(age(ours) < Duration::from_secs(3600), "{:?}", age(ours));
        assert_eq!(look_at(ours.pid), Some(found));
    }
}
