//! Watches the directories and links that decide where a path leads, however busy others are in them.
//!
//! One thread does this for the whole process, so that strangers' files wake the process once and not once
//! for each path.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// What can change where a name leads, or who may follow it. The content of a file cannot.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_ONLYDIR
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_ATTRIB);

/// The kernel cannot leave out the events of other names, and a directory like `/tmp` can have thousands of
/// them in a second. So events are read once in this time while none of them is about a name on a way.
/// Changes of a way are noticed late by this at most.
const REST: Duration = Duration::from_secs(1);

/// How many reads for nothing may follow one another without a rest, if they come seldom otherwise.
const BURST: u32 = 5;

/// The watches of this process. They start when they are first needed, and end with the process.
static WATCHES: Mutex<Option<Arc<Watches>>> = Mutex::new(None);

/// Watches the ways of one owner.
pub struct WayWatch {
    watches: Arc<Watches>,
    owner: u64,
}

struct Watches {
    inotify: Inotify,
    owners: Mutex<Owners>,
}

#[derive(Default)]
struct Owners {
    next: u64,
    by_id: BTreeMap<u64, Owner>,
}

struct Owner {
    on_change: Arc<dyn Fn() + Send + Sync>,
    /// The watched directories, and the names in them that are on a way.
    watched: HashMap<WatchDescriptor, BTreeSet<OsString>>,
}

impl WayWatch {
    /// Calls `on_change`, which must not block, on another thread when a way may have changed.
    ///
    /// # Errors
    ///
    /// Inotify or the thread cannot start.
    pub fn start(on_change: impl Fn() + Send + Sync + 'static) -> io::Result<Self> {
        let watches = Watches::of_this_process()?;
        let owner = Owner { on_change: Arc::new(on_change), watched: HashMap::new() };
        let mut owners = lock(&watches.owners);
        owners.next += 1;
        let id = owners.next;
        owners.by_id.insert(id, owner);
        drop(owners);
        Ok(Self { watches, owner: id })
    }

    /// Watches exactly these names in these directories, as [`way`](super::way) returns them. Returns whether
    /// a directory was not watched before, so that nobody was told of its past changes.
    ///
    /// # Errors
    ///
    /// A directory could not be watched, although it is there and the user may read it. All others are.
    pub fn follow(&self, places: BTreeSet<(PathBuf, OsString)>) -> Result<bool, Errno> {
        let mut owners = lock(&self.watches.owners);
        let mut watched: HashMap<_, BTreeSet<OsString>> = HashMap::new();
        let mut failure = None;
        let mut directories: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
        for (directory, name) in places {
            directories.entry(directory).or_default().insert(name);
        }
        for (directory, names) in directories {
            // A directory that took the place of another one has another descriptor.
            match self.watches.inotify.add_watch(&directory, EVENTS) {
                Ok(descriptor) => watched.entry(descriptor).or_default().extend(names),
                // A user can pass through directories that the user cannot read.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let Some(owner) = owners.by_id.get_mut(&self.owner) else { return Ok(false) };
        let is_new = watched.keys().any(|descriptor| !owner.watched.contains_key(descriptor));
        let before = std::mem::replace(&mut owner.watched, watched);
        self.watches.release(&owners, before.into_keys());
        failure.map_or(Ok(is_new), Err)
    }
}

impl Drop for WayWatch {
    fn drop(&mut self) {
        let mut owners = lock(&self.watches.owners);
        if let Some(owner) = owners.by_id.remove(&self.owner) {
            self.watches.release(&owners, owner.watched.into_keys());
        }
    }
}

impl Watches {
    fn of_this_process() -> io::Result<Arc<Self>> {
        let mut started = lock(&WATCHES);
        if let Some(watches) = &*started {
            return Ok(watches.clone());
        }
        let watches = Arc::new(Self::new()?);
        let listening = watches.clone();
        thread::Builder::new().name("ways".into()).spawn(move || listening.listen())?;
        *started = Some(watches.clone());
        Ok(watches)
    }

    fn new() -> Result<Self, Errno> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, owners: Mutex::default() })
    }

    fn listen(&self) {
        let mut pace = Pace::new(Instant::now());
        loop {
            let mut awaited = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            match poll(&mut awaited, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                // Rescans look at the ways without this thread.
                Err(_) => return,
            }
            let changed = self.read();
            if changed.is_empty() {
                pace.note(Instant::now());
            }
            changed.iter().for_each(|on_change| on_change());
            if let Some(rest) = pace.rest(Instant::now()) {
                thread::sleep(rest);
            }
        }
    }

    /// Reads all events, and never waits. Returns what to call for the owners whose ways may have changed.
    fn read(&self) -> Vec<Arc<dyn Fn() + Send + Sync>> {
        let mut changed = BTreeSet::new();
        let owners = lock(&self.owners);
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for (id, owner) in &owners.by_id {
                        if !changed.contains(id) && events.iter().any(|event| owner.is_concerned(event)) {
                            changed.insert(*id);
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        changed.iter().filter_map(|id| Some(owners.by_id.get(id)?.on_change.clone())).collect()
    }

    /// Ends those of these watches that no owner needs.
    fn release(&self, owners: &Owners, descriptors: impl Iterator<Item = WatchDescriptor>) {
        for gone in descriptors {
            if owners.by_id.values().all(|owner| !owner.watched.contains_key(&gone)) {
                // Fails for a directory that is gone, because its watch is gone as well.
                let _ = self.inotify.rm_watch(gone);
            }
        }
    }
}

impl Owner {
    fn is_concerned(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return true;
        }
        // An event without a name is about the directory itself.
        let named = |names: &BTreeSet<_>| event.name.as_ref().is_none_or(|name| names.contains(name));
        self.watched.get(&event.wd).is_some_and(named)
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    // No caller panics while it holds the lock.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allows [`BURST`] at once, and one each [`REST`] in the long run.
struct Pace {
    /// The time at which a whole burst is allowed again.
    rested_at: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { rested_at: now }
    }

    fn note(&mut self, now: Instant) {
        self.rested_at = self.rested_at.max(now) + REST;
    }

    fn rest(&self, now: Instant) -> Option<Duration> {
        let debt = self.rested_at.saturating_duration_since(now);
        debt.checked_sub(REST * (BURST - 1)).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::super::way;
    use super::*;

    fn touch(path: &Path) {
        fs::write(path, "").unwrap();
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn strangers_wake_nobody_more_than_once_a_second_in_the_long_run() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut now, mut wakeups) = (start, 0);
        while now < start + Duration::from_secs(100) {
            assert!(pace.rest(now).is_none_or(|rest| rest <= REST));
            if pace.rest(now).is_none() {
                pace.note(now);
                wakeups += 1;
            }
            now += Duration::from_millis(7);
        }
        assert!((100..=100 + BURST).contains(&wakeups), "{wakeups}");
        assert_eq!(pace.rest(now + REST * BURST), None);
    }

    #[test]
    fn only_the_owner_of_a_way_is_told_and_only_of_names_on_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(root.join("1/nodes")).unwrap();
        symlink("1", root.join("current")).unwrap();
        // No thread reads these.
        let watches = Arc::new(Watches::new().unwrap());
        let watch = |owner: u64| {
            let new = Owner { on_change: Arc::new(|| ()), watched: HashMap::new() };
            lock(&watches.owners).by_id.insert(owner, new);
            WayWatch { watches: watches.clone(), owner }
        };
        let (one, other) = (watch(1), watch(2));
        let below = |path: &str| {
            let places = way(&root.join(path)).into_iter();
            places.filter(|(place, _)| place.starts_with(&root)).collect::<BTreeSet<_>>()
        };
        let follow = || one.follow(below("current/nodes"));
        assert_eq!((follow(), follow()), (Ok(true), Ok(false)));
        assert_eq!(other.follow(below("configs")), Ok(true), "nobody told this owner before");
        let told = || watches.read().len();
        touch(&root.join("stranger"));
        fs::write(root.join("1/nodes/node"), "within").unwrap();
        assert_eq!(told(), 0);
        symlink("1", root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("current")).unwrap();
        assert_eq!((told(), told()), (1, 0));
        touch(&root.join("configs"));
        assert_eq!(told(), 1);
        // A directory that is made again is another one, and is watched again.
        fs::remove_dir_all(root.join("1")).unwrap();
        fs::create_dir_all(root.join("1/nodes")).unwrap();
        assert_eq!((told(), follow(), told()), (1, Ok(true), 0));
        fs::remove_dir(root.join("1/nodes")).unwrap();
        assert_eq!(told(), 1);
        // What another owner needs stays watched.
        drop(other);
        symlink("1", root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("current")).unwrap();
        assert_eq!(told(), 1);
    }
}
