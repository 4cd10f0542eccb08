//! Information of the kernel about a process.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// A process by number. It need not be a child of ours.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub i32);

impl Process {
    /// Parses a process number that an action has noted.
    #[track_caller]
    pub fn parse(pid: &str) -> Self {
        Self(pid.trim().parse().unwrap_or_else(|_| panic!("{pid:?} is no process number")))
    }

    /// Returns whether the process runs. A zombie does not.
    pub fn is_alive(self) -> bool {
        !matches!(self.stat().first().map(String::as_str), None | Some("Z" | "X"))
    }

    /// The processor time used so far, in clock ticks of 10 ms.
    pub fn cpu_ticks(self) -> u64 {
        let stat = self.stat();
        let field = |n: usize| stat.get(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        // utime and stime, fields 14 and 15 in proc(5). The first two fields are cut off.
        field(11) + field(12)
    }

    /// The resident memory in KiB.
    #[track_caller]
    pub fn resident(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        size.unwrap_or_else(|| panic!("process {} occupies no memory: {status}", self.0))
    }

    /// The memory in KiB that the process holds for itself: without the pages of its program and libraries.
    /// The kernel maps those in the moment in which they are used first, a hundred KiB at once and more, and
    /// takes them away again as it likes.
    #[track_caller]
    pub fn held(self) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.0)).unwrap_or_default();
        let mut held = 0;
        // What counts of the present mapping. One that is shared, such as the ledger's index, counts whole.
        let mut counted = "Rss:";
        for line in maps.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                [name, size, ..] if name == counted => held += size.parse::<u64>().expect("a size"),
                [name, ..] if name.ends_with(':') => {}
                [_, rights, _, _, inode, ..] => {
                    let is_image = rights.ends_with('p') && inode != "0";
                    counted = if is_image { "Anonymous:" } else { "Rss:" };
                }
                _ => {}
            }
        }
        assert!(held > 0, "process {} holds no memory: {maps}", self.0);
        held
    }

    pub fn threads(self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).map(Iterator::count).unwrap_or(0)
    }

    /// How often its threads have waited for something and were woken.
    pub fn wakeups(self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        let count = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|line| line.trim().parse::<u64>().ok())
        };
        threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok().and_then(count))
            .sum()
    }

    pub fn open_files(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).map(Iterator::count).unwrap_or(0)
    }

    /// The child processes, zombies included, except those that serve stores.
    pub fn children(self) -> Vec<Process> {
        self.all_children().into_iter().filter(|child| !child.is_half()).collect()
    }

    /// The child processes that serve stores.
    pub fn halves(self) -> Vec<Process> {
        self.all_children().into_iter().filter(|child| child.is_half()).collect()
    }

    /// The child processes that keep members in stores.
    pub fn keepers(self) -> Vec<Process> {
        self.children().into_iter().filter(|child| child.is_twitcher("keep")).collect()
    }

    fn is_half(self) -> bool {
        self.is_twitcher("store")
    }

    /// A line of `/proc/PID/status`.
    #[track_caller]
    pub fn status(self, name: &str) -> String {
        self.try_status(name).unwrap_or_else(|| panic!("no {name} of {}", self.0))
    }

    /// A line of `/proc/PID/status`, of a process that may have ended.
    pub fn try_status(self, name: &str) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|line| line.trim().to_owned())
    }

    /// Whether it is a Twitcher with this subcommand.
    pub fn is_twitcher(self, subcommand: &str) -> bool {
        let words = format!("twitcher\0{subcommand}\0");
        fs::read(format!("/proc/{}/cmdline", self.0)).is_ok_and(|found| found == words.as_bytes())
    }

    fn all_children(self) -> Vec<Process> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        children.flat_map(|pids| pids.split_whitespace().map(Self::parse).collect::<Vec<_>>()).collect()
    }

    pub fn signal(self, signal: Signal) {
        kill(Pid::from_raw(self.0), signal).unwrap_or_else(|e| panic!("send {signal} to {}: {e}", self.0));
    }

    /// The fields of `/proc/PID/stat` from the state on.
    fn stat(self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // The name before the state stands in parentheses and may contain anything.
        let after_name = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        after_name.split_whitespace().map(str::to_owned).collect()
    }
}

/// Panics unless the suite runs as root. Only root can start programs as other users.
#[track_caller]
pub fn require_root() {
    assert!(geteuid().is_root(), "this test changes users: run the suite as root (sudo tests/run)");
}
