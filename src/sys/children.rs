//! Reaping child processes that the daemon did not start.
//!
//! Processes that lose their parent become children of the first process of a container, or of a subreaper. A
//! process also keeps its children when it executes another program. Nobody else can reap them.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// The children that the daemon started and waits for itself; `None` if nobody reaps others.
static OWN: Mutex<Option<BTreeSet<i32>>> = Mutex::new(None);

/// Notes that this process started a child and will reap it.
pub fn note_own_child(pid: i32) {
    with_own(|own| {
        if let Some(own) = own {
            own.insert(pid);
        }
    });
}

fn with_own<T>(work: impl FnOnce(&mut Option<BTreeSet<i32>>) -> T) -> T {
    work(&mut OWN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Finds and reaps ended children that this process did not start.
pub struct Reaper {
    /// The ended children of others that the last look found.
    seen: BTreeSet<i32>,
}

impl Reaper {
    /// Returns a reaper if this process can get children of others: it is the first process of its container
    /// or a subreaper, or has children already. Call it before this process starts its first child.
    pub fn if_needed() -> Option<Self> {
        let mut subreaper: libc::c_int = 0;
        // SAFETY: the pointer is a live local.
        unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper) };
        if std::process::id() != 1 && subreaper == 0 && children().is_empty() {
            return None;
        }
        with_own(|own| *own = Some(BTreeSet::new()));
        Some(Self { seen: BTreeSet::new() })
    }

    /// Reaps the ended children of others that the previous call had found already. So a child of our own
    /// that ended before it was noted is left to its owner. Returns whether there are more of them.
    pub fn reap(&mut self) -> bool {
        let before = with_own(|own| own.clone()).unwrap_or_default();
        let children = children();
        let own = with_own(|own| {
            let own = own.get_or_insert_default();
            // Those are reaped.
            own.retain(|pid| !before.contains(pid) || children.contains(pid));
            own.clone()
        });
        let ended: BTreeSet<i32> =
            children.into_iter().filter(|pid| !own.contains(pid) && has_ended(*pid)).collect();
        let (again, new) = ended.into_iter().partition(|pid| self.seen.contains(pid));
        self.seen = new;
        let again: BTreeSet<i32> = again;
        for pid in again {
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
        !self.seen.is_empty()
    }
}

fn has_ended(pid: i32) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(
        waitid(Id::Pid(Pid::from_raw(pid)), flags),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    )
}

/// Lists the children of all threads of this process.
fn children() -> BTreeSet<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists: Option<Vec<String>> =
        threads.map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    match lists {
        Some(lists) if !lists.is_empty() => lists
            .iter()
            .flat_map(|list| list.split_ascii_whitespace())
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        // A kernel without these lists, or a thread that has ended meanwhile.
        _ => children_of_all_processes(),
    }
}

fn children_of_all_processes() -> BTreeSet<i32> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before the state is in parentheses, and may contain anything.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').nth(1) == Some(&own)
    })
    .collect()
}
