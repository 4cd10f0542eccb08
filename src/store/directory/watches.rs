//! inotify watches on directories, by the node path of each.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

/// What may have happened. Never more than a reason to look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The entry `path` (a node path) did this.
    Entry { path: String, change: EntryChange },
    /// The directory itself (a node path; the root's is empty) was removed or moved away.
    DirectoryLost(String),
    /// Some hints were lost.
    Overflow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryChange {
    /// Appeared, and may still be empty.
    Created,
    /// Was written to, or truncated.
    Modified,
    /// Was closed by a writer.
    Closed,
    /// Became readable, say.
    Attributes,
    /// Was renamed to this name, perhaps over another file.
    MovedIn,
    /// Was removed or renamed away.
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
    /// A directory can be reached by several paths (symbolic links), and the kernel gives it one descriptor.
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

    /// Watches the directory `file`, whose node path is `path`: the one that is there now, even if another
    /// was watched under this path before.
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
                self.disarm(path);
                ArmResult::Missing
            }
            Err(error) => ArmResult::Refused(error),
        }
    }

    /// Watches neither the directory `path` nor anything below it any more.
    pub(super) fn disarm_tree(&mut self, path: &str) {
        let below = |candidate: &str| {
            candidate.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let lost: Vec<String> = self.descriptors.keys().filter(|path| below(path)).cloned().collect();
        for path in lost {
            self.disarm(&path);
        }
    }

    /// Watches the directory `path` no more, but still what is below it.
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
            // Fails for a directory that is gone, whose watch went with it.
            let _ = self.inotify.get_ref().0.rm_watch(descriptor);
        }
    }

    /// Waits until [`Self::drain`] has something to give, and has to be followed by it: what comes while that
    /// drains makes this ready again.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.inotify.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// All hints so far, in the order in which things happened. Never waits.
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
