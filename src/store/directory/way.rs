//! Follows the directories and links above the store, which decide where the store's path leads.
//!
//! The store itself has other watches ([`super::watches`]), because the kernel has only one for a directory.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use crate::trust::way;

/// The places can change while they are looked up. Then they are looked up again, up to this many times.
const MAX_ROUNDS: usize = 8;

pub(super) struct Way {
    /// `None` if it cannot start. Then each rescan looks at the way, and tries again.
    inotify: Option<AsyncFd<Descriptor>>,
    root: PathBuf,
    places: BTreeSet<(PathBuf, OsString)>,
    watched: HashMap<WatchDescriptor, PathBuf>,
}

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Way {
    /// Follows the way to `root`, an absolute path.
    pub(super) fn new(root: &Path) -> Self {
        let mut way =
            Self { inotify: None, root: root.to_owned(), places: BTreeSet::new(), watched: HashMap::new() };
        way.look();
        way
    }

    /// Waits until [`Self::may_have_turned`] has something to look at, and must be followed by it.
    pub(super) async fn ready(&self) {
        let Some(inotify) = &self.inotify else { return pending().await };
        if let Ok(mut guard) = inotify.readable().await {
            guard.clear_ready();
        }
    }

    /// Whether the path may lead to another directory than at the last call. Never waits.
    pub(super) fn may_have_turned(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut is_relevant = false;
        loop {
            match inotify.get_ref().0.read_events() {
                Ok(events) => {
                    for event in events {
                        // Without a directory or a name, the event says that events or directories were lost.
                        let place = self.watched.get(&event.wd).cloned().zip(event.name);
                        is_relevant |= place.is_none_or(|place| self.places.contains(&place));
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        if is_relevant {
            self.look();
        }
        is_relevant
    }

    /// Looks which way the path takes, and watches it.
    pub(super) fn look(&mut self) {
        if self.inotify.is_none() {
            self.inotify = start().ok();
            self.places.clear();
        }
        for _ in 0..MAX_ROUNDS {
            let places = way(&self.root);
            if places == self.places {
                break;
            }
            self.places = places;
            self.watch();
        }
    }

    fn watch(&mut self) {
        let mask = AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF;
        let Some(inotify) = self.inotify.as_ref().map(|inotify| &inotify.get_ref().0) else { return };
        let directories: BTreeSet<&PathBuf> = self.places.iter().map(|(directory, _)| directory).collect();
        // A directory that cannot be watched is looked at in each rescan.
        let watched: HashMap<_, _> = directories
            .into_iter()
            .filter_map(|directory| Some((inotify.add_watch(directory, mask).ok()?, directory.clone())))
            .collect();
        for gone in self.watched.keys().filter(|descriptor| !watched.contains_key(descriptor)) {
            // Fails for a directory that is gone, because its watch is gone as well.
            let _ = inotify.rm_watch(*gone);
        }
        self.watched = watched;
    }
}

fn start() -> io::Result<AsyncFd<Descriptor>> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    #[allow(
        deprecated,
        reason = "its successor is unsafe; unsound only for what does not own its descriptor"
    )]
    AsyncFd::new(Descriptor(inotify))
}
