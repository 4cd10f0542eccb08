//! A ledger that cannot be used, and comes back.

use std::process::Command;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::super::database::BUSY_TIMEOUT;
use super::*;

#[test]
fn a_deleted_directory_is_created_again_and_locked() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    for created in [false, true] {
        fs::remove_dir_all(dir.root()).unwrap();
        if created {
            fs::create_dir(dir.root()).unwrap();
        }
        ledger.maintain();
        let (reason, path) = quarantined(ledger.next_event());
        assert!(reason.contains("was deleted"), "{reason}");
        assert_eq!(path, None);
        assert_eq!(round(&mut ledger), None);
        let other = Flock::lock(fs::File::open(dir.root()).unwrap(), FlockArg::LockExclusiveNonblock);
        assert_eq!(other.unwrap_err().1, Errno::EWOULDBLOCK, "no second daemon may use it");
    }
    assert_eq!(snapshot(&mut ledger, "round"), full_snapshot());
}

#[test]
fn a_directory_of_another_daemon_is_left_alone() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    fs::remove_dir_all(dir.root()).unwrap();
    fs::create_dir(dir.root()).unwrap();
    let other = Flock::lock(fs::File::open(dir.root()).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    assert!(lost_reason(round(&mut ledger)).contains("another twitcher uses the new one"));
    assert_eq!(dir.content(), []);
    drop(other);
    quarantined(round(&mut ledger));

    // Here, a file system with the ledger of an earlier daemon was mounted late.
    let mounted = TestDir::new();
    save_watch(&mut mounted.open(), "pull");
    let content = mounted.content();
    fs::remove_dir_all(dir.root()).unwrap();
    fs::rename(mounted.root(), dir.root()).unwrap();
    assert!(lost_reason(round(&mut ledger)).contains("restart the daemon to use it"));
    assert_eq!(dir.content(), content);
}

#[test]
fn an_idle_daemon_notices_that_its_ledger_was_replaced() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    save_watch(&mut ledger, "pull");
    ledger.commit();
    ledger.maintain();
    assert_eq!(ledger.next_event(), None);
    let backup = dir.path("backup");
    fs::copy(dir.path(FILE), &backup).unwrap();
    fs::rename(&backup, dir.path(FILE)).unwrap();
    assert!(ledger.maintain_at() > Instant::now(), "it is not examined all the time");
    ledger.maintain();
    assert!(quarantined(ledger.next_event()).0.contains("was replaced"));
    assert_works(&dir, ledger);
}

#[test]
fn a_directory_that_is_created_late_is_locked_and_used() {
    let dir = TestDir::new();
    let state_dir = dir.path("state");
    let mut ledger = Ledger::open_with(&state_dir, limits()).unwrap();
    let reason = lost_reason(ledger.next_event());
    assert!(reason.contains(state_dir.to_str().unwrap()), "{reason}");
    assert!(reason.contains("create the directory"), "{reason}");
    assert!(
        ledger.load_watches("git.twc").is_empty() && ledger.unfinished().is_empty() && !ledger.is_dirty()
    );
    fs::create_dir(&state_dir).unwrap();
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert_eq!(snapshot(&mut ledger, "round"), full_snapshot());
    let other = Flock::lock(fs::File::open(&state_dir).unwrap(), FlockArg::LockExclusiveNonblock);
    assert_eq!(other.unwrap_err().1, Errno::EWOULDBLOCK, "no second daemon may use it");
}

#[test]
fn a_foreign_transaction_holds_the_daemon_up_for_a_moment_only() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    assert!(lost_reason(round(&mut ledger)).contains("has it open"));
    // One timeout for the write, one for the commit and one for each attempt between, on a busy machine.
    assert!(start.elapsed() < 10 * BUSY_TIMEOUT, "{:?}", start.elapsed());
    assert_eq!(round(&mut ledger), None, "reported once");
    shell.execute_batch("COMMIT").unwrap();
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert_works(&dir, ledger);
}

#[test]
fn a_lost_ledger_is_not_tried_again_at_once() {
    let dir = TestDir::new();
    let mut ledger = dir.open_with(Duration::from_secs(3600), Retention::default());
    let shell = Connection::open(dir.path(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    lost_reason(round(&mut ledger));
    shell.execute_batch("COMMIT").unwrap();
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(round(&mut ledger), None);
    }
    assert!(start.elapsed() < BUSY_TIMEOUT);
    assert_eq!(dir.select("SELECT count(*) FROM watches"), ["0"]);
}

/// A file system of its own, of 512 KiB.
struct Disk {
    dir: TestDir,
}

impl Disk {
    /// `None` if this process may not mount.
    fn new() -> Option<Self> {
        let disk = Self { dir: TestDir::new() };
        disk.mount(&["-t", "tmpfs", "-o", "size=512k", "ledger"]).then_some(disk)
    }

    fn mount(&self, how: &[&str]) -> bool {
        Command::new("mount").args(how).arg(self.dir.root()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because an abandoned connection may still have files open.
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.root()).status();
    }
}

#[test]
fn a_full_disk_is_reported_once_and_its_end_too() {
    let Some(disk) = Disk::new() else { return };
    let mut ledger = disk.dir.open();
    assert_eq!(ledger.next_event(), None);
    record_intents(&mut ledger, "before");
    ledger.commit();
    let filler = disk.dir.path("filler");
    // Takes all the room there is.
    assert!(fs::write(&filler, vec![0; 1024 * 1024]).is_err());
    for run in 0..100 {
        record_intents(&mut ledger, &run.to_string());
        ledger.ended(&run.to_string(), RunOutcome::Exited(0), &[b'x'; 4096]);
        ledger.commit();
    }
    let reason = lost_reason(ledger.next_event());
    assert!(reason.contains("full"), "{reason}");
    assert_eq!(round(&mut ledger), None);
    fs::remove_file(&filler).unwrap();
    assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
    assert_eq!(ledger.unfinished()[0].intent.run, "before");
    assert_works(&disk.dir, ledger);
}

#[test]
fn a_ledger_that_cannot_be_written_is_lost() {
    let Some(disk) = Disk::new() else { return };
    save_watch(&mut disk.dir.open(), "pull");
    for is_there in [true, false] {
        if !is_there {
            fs::remove_file(disk.dir.path(FILE)).unwrap();
        }
        assert!(disk.mount(&["-o", "remount,ro"]));
        let mut ledger = disk.dir.open();
        let reason = lost_reason(ledger.next_event());
        assert!(reason.contains("writable"), "{reason}");
        assert_eq!(stored_watch(&mut ledger, "pull").is_some(), is_there, "it can be read");
        assert_eq!(round(&mut ledger), None);
        assert!(disk.mount(&["-o", "remount,rw"]));
        assert_eq!(round(&mut ledger), Some(LedgerEvent::Back));
        assert_eq!(stored_watch(&mut ledger, "pull").is_some(), is_there);
    }
}
