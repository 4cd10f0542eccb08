//! Hints from inotify that something may have changed in the config directory.
//!
//! Inotify loses events, misses changes in directories that it does not watch yet, and cannot follow
//! symlinks. So a hint only means "scan now". The scan finds the changes, and also comes from time to time
//! without a hint.

use std::collections::HashSet;
use std::io::{self, PipeReader, PipeWriter, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::scan::ConfigTree;
use crate::trust::{WayWatch, way};

/// The pauses before inotify is started again if it cannot start, for example because the user has too many
/// instances of it. An attempt is one system call.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// The changes in a directory of the tree, and not the loader's own reading.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_ONLYDIR
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_MODIFY)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// The changes of a file that a link leads to, which may lie in a directory outside of the tree.
const TARGET_EVENTS: AddWatchFlags =
    AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CLOSE_WRITE).union(AddWatchFlags::IN_ATTRIB);

/// The result of [`Hints::follow`].
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// All directories were watched before.
    Same,
    /// Some directories were not watched before. Scan again, because past changes in them gave no hint.
    New,
}

/// Watches the directories of the last scan, and the places that decide where the paths in it lead.
pub struct Hints {
    root: PathBuf,
    on_hint: Arc<dyn Fn() + Send + Sync>,
    /// `None`: inotify does not work, so no hint comes.
    watches: Option<Watches>,
    /// The time of the next attempt to start inotify, and the pause after it.
    retry: (Instant, Duration),
}

struct Watches {
    /// The directories in which every event counts, and the targets of links.
    inside: Arc<Inotify>,
    watched: HashSet<WatchDescriptor>,
    /// The ways to the root and to the targets of links.
    ways: WayWatch,
    /// Dropping it ends the thread that waits for events.
    _alive: PipeWriter,
}

impl Hints {
    /// Calls `on_hint` on another thread after each event that may mean a change.
    pub fn new(root: &Path, on_hint: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            root: root.to_owned(),
            on_hint: Arc::new(on_hint),
            watches: None,
            retry: (Instant::now(), MIN_RETRY_DELAY),
        }
    }

    /// Watches exactly the directories of `tree`, and the places on the way to them and to the targets of
    /// links.
    ///
    /// # Errors
    ///
    /// Inotify cannot start, or a directory could not be watched. There are limits:
    /// `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches`.
    pub fn follow(&mut self, tree: &ConfigTree) -> io::Result<Followed> {
        let (due, delay) = self.retry;
        if self.watches.is_none() && Instant::now() >= due {
            self.retry = (Instant::now() + delay, (delay * 2).min(MAX_RETRY_DELAY));
            self.watches = Some(Watches::start(self.on_hint.clone())?);
        }
        let Some(watches) = &mut self.watches else {
            return Err(io::Error::other("waiting to start inotify again"));
        };
        let mut places = way(&self.root);
        tree.links.iter().for_each(|path| places.extend(way(path)));
        let ways = watches.ways.follow(places);
        let inside = watches.follow(tree);
        Ok(if inside? | ways? { Followed::New } else { Followed::Same })
    }
}

impl Watches {
    /// Starts inotify, and the thread that waits for its events.
    fn start(on_hint: Arc<dyn Fn() + Send + Sync>) -> io::Result<Self> {
        let inside = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?);
        let ways = WayWatch::start({
            let on_hint = on_hint.clone();
            move || on_hint()
        })?;
        let (stop, alive) = pipe()?;
        let awaited = inside.clone();
        thread::Builder::new().name("hints".into()).spawn(move || listen(&awaited, &stop, &*on_hint))?;
        Ok(Self { inside, watched: HashSet::new(), ways, _alive: alive })
    }

    /// Watches exactly the directories of `tree` and the targets of its links. Returns whether one was not
    /// watched before.
    fn follow(&mut self, tree: &ConfigTree) -> Result<bool, Errno> {
        let mut watched = HashSet::new();
        let mut failure = None;
        let targets = tree.links.iter().map(|link| (link, TARGET_EVENTS));
        let directories = tree.directories.keys().map(|directory| (directory, EVENTS));
        // The directories come last: of one that is a target as well, every event counts.
        for (path, events) in targets.chain(directories) {
            // Several paths can lead to one directory, which has one descriptor. A directory that took the
            // place of another one has another descriptor.
            match self.inside.add_watch(path, events) {
                Ok(descriptor) => _ = watched.insert(descriptor),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                // A link can lead anywhere.
                Err(Errno::EACCES | Errno::ELOOP) if events == TARGET_EVENTS => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for gone in self.watched.difference(&watched) {
            // Fails for a directory that is gone, because its watch is gone as well.
            let _ = self.inside.rm_watch(*gone);
        }
        let is_new = !watched.is_subset(&self.watched);
        self.watched = watched;
        failure.map_or(Ok(is_new), Err)
    }
}

/// Calls `on_hint` after events, until the other end of `stop` is closed.
fn listen(inside: &Inotify, stop: &PipeReader, on_hint: &dyn Fn()) {
    loop {
        let mut awaited = [stop.as_fd(), inside.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut awaited, PollTimeout::NONE) {
            Ok(_) if awaited[0].any() == Some(false) => {}
            Err(Errno::EINTR) => continue,
            Ok(_) | Err(_) => return,
        }
        if has_events(inside) {
            on_hint();
        }
    }
}

/// Reads all events. Returns whether any may mean a change: the end of a watch does not.
fn has_events(inotify: &Inotify) -> bool {
    let mut found = false;
    loop {
        match inotify.read_events() {
            Ok(events) => found |= events.iter().any(|event| event.mask != AddWatchFlags::IN_IGNORED),
            Err(Errno::EINTR) => {}
            Err(_) => return found,
        }
    }
}
