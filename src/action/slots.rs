//! The file `starts` in the state directory: who the processes are that the ledger may not know yet.
//!
//! The ledger learns of a process only after it was started, and the daemon may be killed in between. So each
//! process notes who it is in this file, before it executes its program. The file has a fixed number of
//! slots. The daemon writes the id of the run into a free one, and the process adds its own number and the
//! time ([`Slot`]). A slot is free again when the ledger knows the process, or the run is over.
//!
//! The file has its full size from the beginning, so that a disk that fills up later does no harm. What the
//! processes wrote outlives the daemon, though not the machine, which no process outlives either.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::libc::O_NOFOLLOW;

use crate::sys::{IDENTITY_BYTES, Slot};

/// The file's name in the state directory.
const FILE: &str = "starts";

/// What the file begins with, in the place of the first slot.
const MAGIC: &[u8] = b"twitcher starts, version 1\n";

/// The run's id, filled with zeros, and what the process writes.
const SLOT_BYTES: usize = RUN_BYTES + IDENTITY_BYTES;
const RUN_BYTES: usize = 48;

/// Far more than can start within the moment until the ledger is told. A start that finds no free slot goes
/// on without.
const SLOTS: usize = 1024;

/// What a former daemon left in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// No process was made for the run.
    NoProcess,
    /// The process `pid`, unless it was started more than `at` after the boot: then the number is another's.
    Process { pid: i32, at: Duration },
}

/// The slots of a state directory.
#[derive(Debug)]
pub struct Slots {
    path: PathBuf,
    /// `None` if the file cannot be used.
    file: Option<Arc<File>>,
    /// Whether the file was found to be there lately.
    is_checked: bool,
    /// Why the file could not be used the last time.
    error: Option<io::Error>,
    found: HashMap<String, (usize, Trace)>,
    /// The free slots. The last one is taken next.
    free: Vec<usize>,
    taken: HashMap<String, usize>,
}

impl Slots {
    /// Opens or creates the file. If that fails, nobody can take a slot, until it succeeds.
    pub fn open(state_dir: &Path) -> Self {
        let mut slots = Self {
            path: state_dir.join(FILE),
            file: None,
            is_checked: false,
            error: None,
            found: HashMap::new(),
            free: (1..=SLOTS).rev().collect(),
            taken: HashMap::new(),
        };
        slots.error = slots.read().err();
        slots
    }

    fn read(&mut self) -> io::Result<()> {
        let file = open(&self.path)?;
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        if bytes.starts_with(MAGIC) {
            let records = bytes.chunks_exact(SLOT_BYTES).enumerate().skip(1).take(SLOTS);
            self.found = records.filter_map(|(number, slot)| parse(slot, number)).collect();
        } else {
            file.set_len(0)?;
        }
        fill(&file)?;
        self.file = Some(Arc::new(file));
        Ok(())
    }

    /// What does not work, and the remedy.
    pub fn problem(&self) -> Option<String> {
        let (path, error) = (self.path.display(), self.error.as_ref()?);
        Some(format!(
            "{path}: {error}; if the daemon is killed, the next one may not find an action that had just \
             been started; make the file writable, with room for 64 KiB"
        ))
    }

    /// Finds out whether the file can be used again, if it could not.
    pub fn retry(&mut self) {
        if self.error.is_some() {
            self.is_checked = false;
            self.error = self.present_file().and_then(|file| file.write_all_at(MAGIC, 0)).err();
        }
    }

    /// What a former daemon left of a run. `None`: nobody knows whether there is a process.
    pub fn trace(&self, run: &str) -> Option<Trace> {
        self.found.get(run).map(|(_, trace)| *trace)
    }

    /// Keeps what a former daemon left of a run, until it is released.
    pub fn keep(&mut self, run: &str) {
        if let Some((number, _)) = self.found.get(run) {
            self.free.retain(|free| free != number);
            self.taken.insert(run.to_owned(), *number);
        }
    }

    /// Takes a slot for a run that is about to start. `None` if there is none, or it cannot be written.
    pub fn take(&mut self, run: &str) -> Option<Slot> {
        let number = *self.free.last()?;
        let mut record = [0; SLOT_BYTES];
        record[..RUN_BYTES].get_mut(..run.len())?.copy_from_slice(run.as_bytes());
        let offset = (number * SLOT_BYTES) as u64;
        let written = self.present_file().and_then(|file| file.write_all_at(&record, offset).map(|()| file));
        let file = match written {
            Ok(file) => file,
            Err(error) => {
                self.is_checked = false;
                self.error = Some(error);
                return None;
            }
        };
        self.error = None;
        self.free.pop();
        self.taken.insert(run.to_owned(), number);
        Some(Slot { file, offset: (offset + RUN_BYTES as u64).cast_signed() })
    }

    /// Frees the slot of a run whose process the ledger knows, or that is over.
    pub fn release(&mut self, run: &str) {
        self.free.extend(self.taken.remove(run));
    }

    #[cfg(test)]
    pub fn is_free(&self, run: &str) -> bool {
        !self.taken.contains_key(run)
    }

    /// Has the file looked for again before the next slot is taken. Called once for all runs that are about
    /// to start together.
    pub fn check_again(&mut self) {
        self.is_checked = false;
    }

    /// Returns the file. Makes it again if somebody deleted it, or moved it away with its directory, because
    /// the next daemon would not find it.
    fn present_file(&mut self) -> io::Result<Arc<File>> {
        let id = |file: &Metadata| (file.dev(), file.ino());
        let was_checked = std::mem::replace(&mut self.is_checked, true);
        if let Some(file) = &self.file
            && (was_checked
                || fs::symlink_metadata(&self.path)
                    .is_ok_and(|found| file.metadata().is_ok_and(|ours| id(&found) == id(&ours))))
        {
            return Ok(Arc::clone(file));
        }
        let file = open(&self.path)?;
        fill(&file)?;
        Ok(Arc::clone(self.file.insert(Arc::new(file))))
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Gives the file its full size, without holes.
fn fill(file: &File) -> io::Result<()> {
    let size = (SLOTS + 1) * SLOT_BYTES;
    let present = file.metadata()?.len().min(size as u64);
    file.write_all_at(&vec![0; size - present as usize], present)?;
    file.write_all_at(MAGIC, 0)
}

fn parse(slot: &[u8], number: usize) -> Option<(String, (usize, Trace))> {
    let (run, identity) = slot.split_at_checked(RUN_BYTES)?;
    let (pid, at) = identity.split_at_checked(IDENTITY_BYTES / 2)?;
    let run = run.split(|byte| *byte == 0).next().filter(|run| !run.is_empty())?;
    let integer = |bytes: &[u8]| Some(u64::from_ne_bytes(bytes.try_into().ok()?));
    let trace = match i32::try_from(integer(pid)?).ok()? {
        0 => Trace::NoProcess,
        pid => Trace::Process { pid, at: Duration::from_nanos(integer(at)?) },
    };
    Some((String::from_utf8(run.to_vec()).ok()?, (number, trace)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(directory: &Path) -> Slots {
        let slots = Slots::open(directory);
        assert_eq!(slots.problem(), None);
        slots
    }

    /// Writes what a process would.
    fn identify(slot: &Slot, pid: u64, at: u64) {
        let identity = [pid.to_ne_bytes(), at.to_ne_bytes()].concat();
        slot.file.write_all_at(&identity, slot.offset.cast_unsigned()).unwrap();
    }

    #[test]
    fn the_next_daemon_finds_what_was_noted_until_it_is_released_and_taken_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut slots = open(directory.path());
        let slot = slots.take("1.a-1").unwrap();
        slots.take("1.a-2").unwrap();
        identify(&slot, 42, 7);
        let mut next = open(directory.path());
        let process = Trace::Process { pid: 42, at: Duration::from_nanos(7) };
        assert_eq!(next.trace("1.a-1"), Some(process));
        assert_eq!(next.trace("1.a-2"), Some(Trace::NoProcess));
        assert_eq!(next.trace("1.a-3"), None);

        // What is kept is not overwritten; the rest is.
        next.keep("1.a-1");
        let taken = (0..).take_while(|run| next.take(&format!("2.b-{run}")).is_some()).count();
        assert_eq!(taken, SLOTS - 1);
        next.release("2.b-0");
        assert!(next.take("2.b-again").is_some() && next.take("2.b-more").is_none());
        let last = open(directory.path());
        assert_eq!((last.trace("1.a-1"), last.trace("1.a-2")), (Some(process), None));
        assert_eq!(last.trace("2.b-again"), Some(Trace::NoProcess));
    }

    #[test]
    fn a_slot_that_is_used_again_does_not_show_its_former_process() {
        let directory = tempfile::tempdir().unwrap();
        let mut slots = open(directory.path());
        let slot = slots.take("1.a-1").unwrap();
        identify(&slot, 42, 7);
        slots.release("1.a-1");
        slots.take("1.a-2").unwrap();
        assert_eq!(open(directory.path()).trace("1.a-2"), Some(Trace::NoProcess));
    }

    #[test]
    fn whatever_the_file_holds_it_has_its_size_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        for content in [&b""[..], b"garbage", MAGIC, &[255; 100_000]] {
            fs::write(&path, content).unwrap();
            let mut slots = open(directory.path());
            assert_eq!(fs::metadata(&path).unwrap().len(), ((SLOTS + 1) * SLOT_BYTES) as u64);
            assert!(slots.trace("1.a-1").is_none() && slots.take("1.a-1").is_some());
        }
    }

    #[test]
    fn a_deleted_file_is_made_again_and_one_that_cannot_be_made_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let mut slots = open(directory.path());
        let path = directory.path().join(FILE);
        fs::remove_file(&path).unwrap();
        slots.take("1.a-1").unwrap();
        assert_eq!(open(directory.path()).trace("1.a-1"), Some(Trace::NoProcess));
        fs::rename(path, directory.path().join("moved")).unwrap();
        slots.check_again();
        slots.take("1.a-2").unwrap();
        assert_eq!(open(directory.path()).trace("1.a-2"), Some(Trace::NoProcess));

        let missing = directory.path().join("missing");
        let mut none = Slots::open(&missing);
        assert!(none.take("1.a-1").is_none());
        assert!(none.problem().is_some_and(|problem| problem.contains("missing/starts: No such file")));
        none.retry();
        assert!(none.problem().is_some());
        fs::create_dir(missing).unwrap();
        none.retry();
        assert!(none.problem().is_none());
        assert!(none.take("1.a-1").is_some() && none.problem().is_none());
        // Ids are shorter than this.
        assert!(slots.take(&"x".repeat(RUN_BYTES + 1)).is_none());
    }
}
