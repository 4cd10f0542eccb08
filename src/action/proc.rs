//! What /proc tells of processes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// More than `/proc/PID/stat` can have: some 50 numbers of at most 20 digits, and a name of 64 bytes.
const STAT_BYTES: usize = 2048;

/// Identifies a process, also after its number went to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: i32,
    /// Its start, in clock ticks since the machine was booted: field 22 of /proc/PID/stat.
    pub started: u64,
}

/// A process that is alive, which a zombie is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    pub pid: i32,
    pub group: i32,
    pub session: i32,
    /// Its start, in clock ticks since the machine was booted.
    pub started: u64,
}

/// What a process uses of the machine's resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub processor: Duration,
    pub threads: u64,
    /// In bytes.
    pub resident: u64,
    /// In bytes.
    pub virtual_memory: u64,
}

/// Lists every process that is alive.
pub fn processes() -> impl Iterator<Item = ProcessStat> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| read_stat(entry.ok()?.file_name().to_str()?.parse().ok()?))
}

/// Reads `/proc/PID/stat`. `None` if there is no such process, or it has ended.
pub fn read_stat(pid: i32) -> Option<ProcessStat> {
    parse(pid, &stat(pid).ok()?)
}

/// Whether the process has ended, with all its threads, and was not reaped. The first thread alone is a
/// zombie already when others outlive it.
pub fn is_zombie(pid: Pid) -> bool {
    let stat = stat(pid.as_raw()).unwrap_or_default();
    field(&stat, 3) == Some("Z") && matches!(field(&stat, 20), Some("0" | "1"))
}

/// Reads `/proc/PID/stat` at once. The process's name may be no UTF-8.
fn stat(pid: i32) -> io::Result<String> {
    let mut buffer = [0; STAT_BYTES];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Identifies a process that exists; an error if it is gone.
pub fn id_of(pid: Pid) -> io::Result<ProcessId> {
    let stat = stat(pid.as_raw())?;
    let started = started(&stat).ok_or(io::ErrorKind::InvalidData)?;
    Ok(ProcessId { pid: pid.as_raw(), started })
}

/// The clock tick since the machine was booted, as the kernel counts it for a process that starts now. `None`
/// if that cannot be known.
pub fn current_tick() -> Option<u64> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).ok()?;
    let rate = setting(SysconfVar::CLK_TCK).map(u128::from)?;
    // The kernel counts in whole nanoseconds, and by other rules where a tick has none. No machine does.
    let tick = SECOND.checked_div(rate).filter(|tick| tick * rate == SECOND)?;
    u64::try_from(now.as_nanos() / tick).ok()
}

const SECOND: u128 = 1_000_000_000;

/// Identifies a child that was made after [`current_tick`] had returned `tick`, and that nobody has reaped.
///
/// To ask /proc takes some 50 µs of processor time, and the end of a process that was asked about another 10.
/// So it is asked only if the tick is over, and once to see whether it tells the same.
pub fn id_of_new(child: Pid, tick: Option<u64>) -> io::Result<ProcessId> {
    static IS_SAME: OnceLock<bool> = OnceLock::new();
    match computed_id(child, tick) {
        Some(id) if *IS_SAME.get_or_init(|| id_of(child).is_ok_and(|told| told == id)) => Ok(id),
        Some(_) | None => id_of(child),
    }
}

fn computed_id(child: Pid, tick: Option<u64>) -> Option<ProcessId> {
    let started = tick.filter(|_| current_tick() == tick)?;
    Some(ProcessId { pid: child.as_raw(), started })
}

/// How long the process has existed. Zero if the clocks cannot be read.
pub fn age(process: ProcessId) -> Duration {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    ticks(process.started).map_or(Duration::ZERO, |started| now.saturating_sub(started))
}

/// The resources that this process uses.
pub fn usage() -> io::Result<Usage> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(parse_usage(&stat).ok_or(io::ErrorKind::InvalidData)?)
}

/// How many descriptors this process has open.
pub fn open_descriptors() -> io::Result<usize> {
    // One of them is the directory that is being read.
    Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1))
}

fn parse_usage(stat: &str) -> Option<Usage> {
    let number = |place| field(stat, place)?.parse::<u64>().ok();
    Some(Usage {
        processor: ticks(number(14)? + number(15)?)?,
        threads: number(20)?,
        virtual_memory: number(23)?,
        resident: number(24)? * setting(SysconfVar::PAGE_SIZE)?,
    })
}

/// Converts clock ticks. `None` if their rate is unknown.
pub fn ticks(count: u64) -> Option<Duration> {
    let rate = setting(SysconfVar::CLK_TCK)?;
    (count * 1000).checked_div(rate).map(Duration::from_millis)
}

fn setting(name: SysconfVar) -> Option<u64> {
    sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok())
}

fn parse(pid: i32, stat: &str) -> Option<ProcessStat> {
    let group = field(stat, 5)?.parse().ok()?;
    let session = field(stat, 6)?.parse().ok()?;
    match field(stat, 3)? {
        "Z" | "X" => None,
        _ => Some(ProcessStat { pid, group, session, started: started(stat)? }),
    }
}

fn started(stat: &str) -> Option<u64> {
    field(stat, 22)?.parse().ok()
}

/// Field `number` of /proc/PID/stat as proc(5) counts them, from the third on. The second field is the
/// process's name in parentheses, which may hold anything, so the fields are counted from its last
/// parenthesis.
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
        let processes = |group, session| Some(ProcessStat { pid: 7, group, session, started: 4711 });
        assert_eq!(stat("7 (a) b) S 1 42 43"), processes(42, 43));
        assert_eq!(stat("7 (x S 1 42) S 1 7 8"), processes(7, 8));
        assert_eq!(stat("7 (zombie) Z 1 42 42"), None);
        assert_eq!(parse(7, "7 (cut) S 1"), None);
    }

    #[test]
    fn usage_is_in_seconds_and_bytes() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 3 0 4711 8192 2 0";
        let page = setting(SysconfVar::PAGE_SIZE).unwrap();
        let processor = ticks(300).unwrap();
        let expected = Usage { processor, threads: 3, virtual_memory: 8192, resident: 2 * page };
        assert_eq!(parse_usage(stat), Some(expected));
        assert_eq!(ticks(setting(SysconfVar::CLK_TCK).unwrap()), Some(Duration::from_secs(1)));
        assert_eq!(parse_usage("7 (cut) S 1"), None);
        let ours = usage().unwrap();
        assert!(ours.threads >= 1 && ours.resident > page && ours.virtual_memory > ours.resident, "{ours:?}");
        assert!(open_descriptors().unwrap() >= 3);
    }

    #[test]
    fn a_process_that_has_ended_is_a_zombie_until_it_is_reaped() {
        assert!(!is_zombie(Pid::this()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        while !is_zombie(pid) {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success() && !is_zombie(pid));
    }

    #[test]
    fn a_new_child_is_identified_as_proc_does_it() {
        let mut computed = 0;
        while computed < 20 {
            let tick = current_tick();
            let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
            let pid = Pid::from_raw(child.id().cast_signed());
            let id = computed_id(pid, tick);
            let told = id_of(pid).unwrap();
            assert_eq!(id.unwrap_or(told), told);
            assert_eq!(id_of_new(pid, tick).unwrap(), told);
            computed += usize::from(id.is_some());
            while current_tick() == tick {
                std::thread::yield_now();
            }
            assert_eq!(computed_id(pid, tick), None, "it may have started in either tick");
            assert_eq!(id_of_new(pid, tick).unwrap(), told);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn we_are_alive_and_not_older_than_the_machine() {
        let ours = id_of(Pid::this()).unwrap();
        let found = processes().find(|processes| processes.pid == ours.pid).unwrap();
        assert_eq!(found.started, ours.started);
        assert!(age(ours) < Duration::from_secs(3600), "{:?}", age(ours));
        assert_eq!(read_stat(ours.pid), Some(found));
    }
}
