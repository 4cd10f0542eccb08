//! The inotify watches on directories, by their node paths.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

/// What may have happened. A hint is only a reason to look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// This happened to the entry `path` (a node path).
    Entry { path: String, change: EntryChange },
    /// The directory itself (a node path; the root's is empty) was removed or moved away.
    DirectoryLost(String),
    /// Some hints were lost.
    Overflow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryChange {
    /// It appeared, and may still be empty.
    Created,
    /// It was written to, or truncated.
    Modified,
    /// A writer closed it.
    Closed,
    /// Its attributes changed, so that it may have become readable.
    Attributes,
    /// A file was renamed to it, perhaps over another one.
    MovedIn,
    /// It was removed or renamed away.
    Gone,
}

pub(super) enum ArmResult {
    Yes,
    /// There is no such directory.
    Missing,
    Refused(Errno),
}

pub(super) struct Watches {
    inotify: AsyncFd<Descriptor>,
    /// Several paths, because symbolic links can lead to one directory, which has one descriptor in the
    /// kernel.
    paths: HashMap<WatchDescriptor, Vec<String>>,
    descriptors: HashMap<String, WatchDescriptor>,
}

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watches {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe; unsound only for what does not own its descriptor"
        )]
        let inotify = AsyncFd::new(Descriptor(inotify))?;
        Ok(Self { inotify, paths: HashMap::new(), descriptors: HashMap::new() })
    }

    pub(super) fn is_armed(&self, path: &str) -> bool {
        self.descriptors.contains_key(path)
    }

    /// Watches the directory `file`, whose node path is `path`. If another directory was watched under this
    /// path, it is watched no more.
    pub(super) fn arm(&mut self, path: &str, file: &Path) -> ArmResult {
        let mask = AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        match self.inotify.get_ref().0.add_watch(file, mask) {
            Ok(descriptor) => {
                let before = self.descriptors.insert(path.to_owned(), descriptor);
                if before != Some(descriptor) {
                    if let Some(before) = before {
                        self.release(before, path);
                    }
                    self.paths.entry(descriptor).or_default().push(path.to_owned());
                }
                ArmResult::Yes
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                if self.is_armed(path) {
                    self.disarm_tree(path);
                }
                ArmResult::Missing
            }
            Err(error) => ArmResult::Refused(error),
        }
    }

    /// Stops watching the directory `path` and all directories below it.
    pub(super) fn disarm_tree(&mut self, path: &str) {
        let below = |candidate: &str| {
            candidate.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let lost: Vec<String> = self.descriptors.keys().filter(|path| below(path)).cloned().collect();
        for path in lost {
            self.disarm(&path);
        }
    }

    /// Stops watching the directory `path`, but not the directories below it.
    pub(super) fn disarm(&mut self, path: &str) {
        if let Some(descriptor) = self.descriptors.remove(path) {
            self.release(descriptor, path);
        }
    }

    fn release(&mut self, descriptor: WatchDescriptor, path: &str) {
        let Some(paths) = self.paths.get_mut(&descriptor) else { return };
        paths.retain(|other| other != path);
        if paths.is_empty() {
            self.paths.remove(&descriptor);
            // Fails for a directory that is gone, because its watch is gone as well.
            let _ = self.inotify.get_ref().0.rm_watch(descriptor);
        }
    }

    /// Waits until [`Self::drain`] has something to return, and must be followed by it. Events that arrive
    /// while it drains make this ready again.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.inotify.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Returns all hints so far, in the order of the events. Never waits.
    pub(super) fn drain(&mut self) -> Vec<Hint> {
        let mut hints = Vec::new();
        loop {
            match self.inotify.get_ref().0.read_events() {
                Ok(events) => events.iter().for_each(|event| self.translate(event, &mut hints)),
                Err(Errno::EINTR) => {}
                Err(_) => return hints,
            }
        }
    }

    fn translate(&mut self, event: &InotifyEvent, hints: &mut Vec<Hint>) {
        let has = |flags| event.mask.intersects(flags);
        if has(AddWatchFlags::IN_Q_OVERFLOW) {
            hints.push(Hint::Overflow);
            return;
        }
        if has(AddWatchFlags::IN_IGNORED) {
            for path in self.paths.remove(&event.wd).unwrap_or_default() {
                self.descriptors.remove(&path);
            }
            return;
        }
        let Some(directories) = self.paths.get(&event.wd) else { return };
        if has(AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_UNMOUNT) {
            hints.extend(directories.iter().cloned().map(Hint::DirectoryLost));
            return;
        }
        let Some(name) = event.name.as_deref().and_then(|name| name.to_str()) else { return };
        if name.starts_with('.') {
            return;
        }
        let change = if has(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
            EntryChange::Gone
        } else if has(AddWatchFlags::IN_MOVED_TO) {
            EntryChange::MovedIn
        } else if has(AddWatchFlags::IN_CLOSE_WRITE) {
            EntryChange::Closed
        } else if has(AddWatchFlags::IN_CREATE) {
            EntryChange::Created
        } else if has(AddWatchFlags::IN_MODIFY) {
            EntryChange::Modified
        } else {
            EntryChange::Attributes
        };
        hints.extend(directories.iter().map(|path| Hint::Entry { path: format!("{path}/{name}"), change }));
    }
}
