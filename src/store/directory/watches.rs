//! The inotify watches on directories, and on the files behind links, by their node paths.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::IN_MASK_ADD;
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArmResult {
    Yes,
    /// There is no such directory, or no such link to a file.
    Missing,
    /// The kernel refuses, for this reason.
    Refused(String),
}

fn refused(file: &Path, error: Errno) -> ArmResult {
    ArmResult::Refused(format!(
        "cannot watch {} ({}): looking every second instead; raise fs.inotify.max_user_watches, or make it \
         readable",
        file.display(),
        error.desc(),
    ))
}

pub(super) struct Watches {
    inotify: AsyncFd<Descriptor>,
    directories: Watched,
    /// The files behind nodes that are links. What happens to such a file where it lies, in a directory that
    /// may not be watched, happens to the node.
    targets: Watched,
}

/// What is watched under which node path.
#[derive(Default)]
struct Watched {
    /// Several paths, because symbolic links can lead to one directory or file, which has one descriptor in
    /// the kernel.
    paths: HashMap<WatchDescriptor, Vec<String>>,
    descriptors: HashMap<String, WatchDescriptor>,
}

impl Watched {
    /// Returns the descriptor that is needed no more.
    fn put(&mut self, path: &str, descriptor: WatchDescriptor) -> Option<WatchDescriptor> {
        let before = self.descriptors.insert(path.to_owned(), descriptor);
        if before == Some(descriptor) {
            return None;
        }
        let gone = before.filter(|before| self.detach(*before, path));
        self.paths.entry(descriptor).or_default().push(path.to_owned());
        gone
    }

    /// Returns the descriptor that is needed no more.
    fn remove(&mut self, path: &str) -> Option<WatchDescriptor> {
        let descriptor = self.descriptors.remove(path)?;
        self.detach(descriptor, path).then_some(descriptor)
    }

    /// Takes the path from the descriptor, and returns whether it has no other.
    fn detach(&mut self, descriptor: WatchDescriptor, path: &str) -> bool {
        let Some(paths) = self.paths.get_mut(&descriptor) else { return false };
        paths.retain(|other| other != path);
        paths.is_empty() && self.paths.remove(&descriptor).is_some()
    }

    /// Notes that the kernel has dropped a watch.
    fn lose(&mut self, descriptor: WatchDescriptor) {
        for path in self.paths.remove(&descriptor).unwrap_or_default() {
            self.descriptors.remove(&path);
        }
    }

    fn paths(&self, descriptor: WatchDescriptor) -> &[String] {
        self.paths.get(&descriptor).map_or(&[], Vec::as_slice)
    }
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
        Ok(Self { inotify, directories: Watched::default(), targets: Watched::default() })
    }

    pub(super) fn is_armed(&self, path: &str) -> bool {
        self.directories.descriptors.contains_key(path)
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
                let gone = self.directories.put(path, descriptor);
                self.release(gone);
                ArmResult::Yes
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                if self.is_armed(path) {
                    self.disarm_tree(path);
                }
                ArmResult::Missing
            }
            Err(error) => refused(file, error),
        }
    }

    /// Watches the file behind `file`, whose node path is `path`, if that is a link to a file. If another one
    /// was watched under this path, it is watched no more.
    pub(super) fn arm_target(&mut self, path: &str, file: &Path) -> ArmResult {
        let is_link = fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_symlink());
        if !is_link || !fs::metadata(file).is_ok_and(|metadata| metadata.is_file()) {
            self.disarm_target(path);
            return ArmResult::Missing;
        }
        // If a directory took its place meanwhile, what is watched of that must not become less.
        let mask = AddWatchFlags::from_bits_retain(IN_MASK_ADD)
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        match self.inotify.get_ref().0.add_watch(file, mask) {
            Ok(descriptor) => {
                let gone = self.targets.put(path, descriptor);
                self.release(gone);
                ArmResult::Yes
            }
            // Who may not read it cannot watch it, and the read says so.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => ArmResult::Missing,
            Err(error) => refused(file, error),
        }
    }

    pub(super) fn disarm_target(&mut self, path: &str) {
        let gone = self.targets.remove(path);
        self.release(gone);
    }

    /// Stops watching the directory `path` and all directories below it.
    pub(super) fn disarm_tree(&mut self, path: &str) {
        let below = |candidate: &str| {
            candidate.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let lost: Vec<String> =
            self.directories.descriptors.keys().filter(|path| below(path)).cloned().collect();
        for path in lost {
            self.disarm(&path);
        }
    }

    /// Stops watching the directory `path`, but not the directories below it.
    pub(super) fn disarm(&mut self, path: &str) {
        let gone = self.directories.remove(path);
        self.release(gone);
    }

    fn release(&self, gone: Option<WatchDescriptor>) {
        if let Some(gone) = gone {
            // Fails for what is gone, because its watch is gone as well.
            let _ = self.inotify.get_ref().0.rm_watch(gone);
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
            self.directories.lose(event.wd);
            self.targets.lose(event.wd);
            return;
        }
        let change = change(event.mask);
        let directories = self.directories.paths(event.wd).iter();
        match event.name.as_deref().map(|name| name.to_str()) {
            // It is about the directory or the file itself.
            None => {
                if has(AddWatchFlags::IN_DELETE_SELF
                    | AddWatchFlags::IN_MOVE_SELF
                    | AddWatchFlags::IN_UNMOUNT)
                {
                    hints.extend(directories.cloned().map(Hint::DirectoryLost));
                }
                let targets = self.targets.paths(event.wd).iter().cloned();
                hints.extend(targets.map(|path| Hint::Entry { path, change }));
            }
            Some(Some(name)) if !name.starts_with('.') => {
                hints.extend(directories.map(|path| Hint::Entry { path: format!("{path}/{name}"), change }));
            }
            Some(_) => {}
        }
    }
}

fn change(mask: AddWatchFlags) -> EntryChange {
    let has = |flags| mask.intersects(flags);
    if has(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
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
    }
}
