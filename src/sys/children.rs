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

/// Notes that this process started a child and will reap it, by [`reap_own_child`].
pub fn note_own_child(pid: i32) {
    with_own(|own| {
        if let Some(own) = own {
            own.insert(pid);
        }
    });
}

/// Reaps a child that this process started. `wait` returns at once, with nothing while the child is alive.
///
/// A list of children in /proc may lack some, so only this tells that a child is gone. Meanwhile no other
/// child is noted, as it could have the number of the one that is reaped.
pub fn reap_own_child<T>(pid: i32, wait: impl FnOnce() -> Option<T>) -> Option<T> {
    with_own(|own| {
        let reaped = wait();
        if let (Some(own), Some(_)) = (own, &reaped) {
            own.remove(&pid);
        }
        reaped
    })
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
        let ended: BTreeSet<i32> = children().into_iter().filter(|pid| has_ended(*pid)).collect();
        with_own(|own| {
            for pid in self.due(ended, own.get_or_insert_default()) {
                let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
            }
        });
        !self.seen.is_empty()
    }

    /// Returns which of the ended children are to be reaped now.
    fn due(&mut self, ended: BTreeSet<i32>, own: &BTreeSet<i32>) -> BTreeSet<i32> {
        let others = ended.into_iter().filter(|pid| !own.contains(pid));
        let (again, new) = others.partition(|pid| self.seen.contains(pid));
        self.seen = new;
        again
    }
}

fn has_ended(pid: i32) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(
        waitid(Id::Pid(Pid::from_raw(pid)), flags),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    )
}

/// Lists the children of all threads of this process. The list may lack some.
pub fn children() -> BTreeSet<i32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_ours_is_its_owners_until_it_was_reaped() {
        with_own(|own| *own = Some(BTreeSet::new()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        note_own_child(pid);
        assert_eq!(reap_own_child(pid, || None::<()>), None);
        // Whatever lists lack: it stays ours.
        while !has_ended(pid) {
            std::thread::yield_now();
        }
        assert!(with_own(|own| own.as_ref().is_some_and(|own| own.contains(&pid))));
        let status = reap_own_child(pid, || child.try_wait().unwrap());
        assert!(status.is_some_and(|status| status.success()));
        assert!(with_own(|own| own.as_ref().is_some_and(|own| !own.contains(&pid))));
    }

    // A child of ours may end before it is noted.
    #[test]
    fn only_children_of_others_that_were_seen_twice_are_reaped() {
        let mut reaper = Reaper { seen: BTreeSet::new() };
        let own = BTreeSet::from([1]);
        assert_eq!(reaper.due([1, 2, 3].into(), &own), [].into());
        assert_eq!(reaper.seen, [2, 3].into());
        let noted = BTreeSet::from([1, 3]);
        assert_eq!(reaper.due([1, 2, 3, 4].into(), &noted), [2].into());
        assert_eq!(reaper.seen, [4].into());
    }
}
