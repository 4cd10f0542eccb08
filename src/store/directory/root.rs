//! The directory that is the store: whether it is there, and whether it is another one than before.
//!
//! A directory that is missing or cannot be used is an outage of the store, like a server that is away. It
//! says nothing about the nodes.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::file::{self, Reading};
use super::inside;
use crate::model::NodeSubject;
use crate::store::question::{Access, Apart};

pub(super) struct Root {
    /// Absolute.
    path: PathBuf,
    /// The directory that the last look found.
    known: Option<Identity>,
    /// Whether a former process saw nodes in the known directory, until this one knows by itself.
    had_nodes: bool,
    /// What the next process is told, if it takes the place of this one.
    remembered: Option<Memory>,
    /// The only directory that this process may read, if it runs apart from the daemon. The inner `None` is
    /// one that did not exist.
    permitted: Option<Option<Access>>,
}

/// The device, the inode and the time of creation, where the file system knows that. A file system may use an
/// inode again at once.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// What a process has the next one told: the known directory, and whether it had nodes.
type Memory = (Option<Identity>, bool);

/// What a look at the directory finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The directory that the last look found.
    Same,
    /// Another directory, for example because a link leads elsewhere.
    Another,
    /// Another directory, at which another process must look.
    BeyondReach,
    /// No directory that could be the store, for this reason.
    Away(String),
}

impl Root {
    pub(super) fn new(path: PathBuf, apart: Option<&Apart>) -> Self {
        let memory = apart.and_then(|apart| serde_json::from_str(apart.memory.as_ref()?).ok());
        let (known, had_nodes) = memory.unwrap_or_default();
        let permitted = apart.map(|apart| apart.permitted);
        Self { path, known, had_nodes, remembered: None, permitted }
    }

    /// Whether the directory is one that this process may not read.
    fn is_beyond_reach(&self) -> bool {
        let now = access(fs::metadata(&self.path));
        now.is_some() && self.permitted.is_some_and(|permitted| permitted != now)
    }

    /// Returns what the process that takes the place of this one must remember, if that is something else
    /// than before.
    pub(super) fn news_to_remember(&mut self, has_nodes: bool) -> Option<String> {
        let memory = (self.known, self.had_nodes || has_nodes);
        let is_known = self.remembered.replace(memory) == Some(memory);
        if is_known { None } else { serde_json::to_string(&memory).ok() }
    }

    /// Notes that this process knows by itself whether there are nodes.
    pub(super) fn nodes_are_known(&mut self) {
        self.had_nodes = false;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a node in the known directory, wherever the store's path leads: when the node was looked for,
    /// the directory may have been away for a moment, and that says nothing about the node.
    pub(super) fn read(&self, NodeSubject { path, facet }: &NodeSubject) -> io::Result<Option<Reading>> {
        let directory = open_directory(&self.path)?;
        if self.known != Some(identity_of(&directory.metadata()?)) {
            return Err(io::Error::other("it is looked for in another directory than before; trying again"));
        }
        let here = inside::descriptor(&directory);
        file::read(&here, &file::place(&here, path)?, *facet)
    }

    /// Looks at the directory. `had_nodes` tells whether any node was there at last.
    ///
    /// After an unmount, the path leads to the mount point, which usually is an empty directory. So an empty
    /// directory that takes the place of one with nodes is not believed: these nodes are not deleted, they
    /// are elsewhere. The directory that was there before is believed, also if it is empty now.
    pub(super) fn look(&mut self, had_nodes: bool) -> Look {
        if self.is_beyond_reach() {
            return Look::BeyondReach;
        }
        let path = self.path.display();
        let found = match usable(&self.path) {
            Ok(found) => found,
            Err(reason) => return Look::Away(reason),
        };
        if self.known == Some(found) {
            return Look::Same;
        }
        if self.known.is_some_and(|known| is_same(known, found)) {
            self.known = Some(found);
            return Look::Another;
        }
        if self.known.is_some() && is_empty(&self.path) && (self.had_nodes || had_nodes) {
            return Look::Away(format!(
                "cannot use directory {path}: it is empty, and another one than before; is its file system \
                 not mounted? If it is meant to be empty, put any file into it, such as .keep"
            ));
        }
        self.known = Some(found);
        // Nobody saw nodes in this one.
        self.had_nodes = false;
        Look::Another
    }
}

/// Returns which directory is at `path`, or why none there can be a store.
pub(super) fn usable(path: &Path) -> Result<Identity, String> {
    identity(path).map_err(|error| format!("cannot use directory {}: {}", path.display(), explain(&error)))
}

/// Returns which directory is at `path`, which must be one in which names can be looked up.
fn identity(path: &Path) -> io::Result<Identity> {
    // The dot has the kernel check both.
    fs::metadata(path.join(".")).map(|metadata| identity_of(&metadata))
}

fn identity_of(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

/// Opens the directory at `path`, if there is one, which this process is to read and no other. Returns it
/// with what tells it from others: another one can be at `path` in the next moment.
pub(in crate::store) fn permit(path: &Path) -> (Option<File>, Option<Access>) {
    match open_directory(path) {
        Ok(directory) => {
            let permitted = access(directory.metadata());
            (Some(directory), permitted)
        }
        Err(error) => (None, access(Err(error))),
    }
}

/// Opens a directory for looks at it and at what is below it.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// Returns what tells whether a process may read a directory, if there is one. A way that is closed to this
/// process, but perhaps not to another one, is like one more directory.
fn access(found: io::Result<Metadata>) -> Option<Access> {
    match found {
        Ok(metadata) if metadata.is_dir() => {
            Some((metadata.dev(), metadata.ino(), metadata.uid(), metadata.gid()))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some(CLOSED),
        Ok(_) | Err(_) => None,
    }
}

/// No directory has the inode 0.
const CLOSED: Access = (0, 0, 0, 0);

/// Disks are numbered as they come, so that the device of a directory says nothing after a reboot. No device
/// has this number.
const ANY_DEVICE: u64 = 0;

/// Returns what the first process of a daemon is told of what the last one of a former daemon knew.
pub(in crate::store) fn of_former_daemon(memory: &str) -> Option<String> {
    let (known, had_nodes): Memory = serde_json::from_str(memory).ok()?;
    let known = known.map(|(_, inode, created)| (ANY_DEVICE, inode, created));
    serde_json::to_string(&(known, had_nodes)).ok()
}

/// Whether the directory that a former daemon knew is this one.
fn is_same(known: Identity, found: Identity) -> bool {
    known.0 == ANY_DEVICE && (known.1, known.2) == (found.1, found.2)
}

/// Returns true if the directory has no entries at all, not even hidden ones.
pub(super) fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn explain(error: &io::Error) -> String {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "create it, or mount its file system",
        ErrorKind::NotADirectory => "put a directory there",
        ErrorKind::PermissionDenied => {
            "check the modes of it and of the directories above it: root's daemon reads it as its owner, and \
             what is root's as the user twitcher"
        }
        // The enum is open.
        _ => "check its file system",
    };
    format!("{error}; {remedy}")
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::unistd::{Uid, setfsuid};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn away(look: Look) -> String {
        match look {
            Look::Away(reason) => reason,
            Look::Same | Look::Another | Look::BeyondReach => panic!("{look:?}"),
        }
    }

    #[test]
    fn what_is_no_directory_is_away_and_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes");
        let mut root = Root::new(path.clone(), None);
        let missing = away(root.look(false));
        assert!(missing.contains("nodes: No such file") && missing.contains("create it"), "{missing}");
        symlink("nowhere", &path).unwrap();
        assert!(away(root.look(false)).contains("No such file"));
        fs::remove_file(&path).unwrap();
        symlink("nodes", &path).unwrap();
        assert!(away(root.look(false)).contains("levels of symbolic links"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(away(root.look(false)).contains("Not a directory"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(root.look(false), Look::Another);
        assert_eq!(root.look(false), Look::Same);
    }

    // A process that was confined while there was none cannot read it, whoever looks when.
    #[test]
    fn a_directory_that_comes_after_what_is_permitted_was_decided_is_beyond_reach() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes");
        let began = |permitted| {
            let apart = Apart { questions: unbounded_channel().0, memory: None, permitted };
            Root::new(path.clone(), Some(&apart))
        };
        let (opened, none) = permit(&path);
        assert!(opened.is_none() && none.is_none());
        fs::create_dir(&path).unwrap();
        assert_eq!(began(none).look(false), Look::BeyondReach);
        let (opened, permitted) = permit(&path);
        assert!(opened.is_some());
        assert_eq!(began(permitted).look(false), Look::Another);
        fs::rename(&path, directory.path().join("aside")).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(began(permitted).look(false), Look::BeyondReach);
    }

    #[test]
    fn what_a_former_process_saw_says_nothing_of_a_directory_that_came_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes");
        let apart = |memory| Apart { questions: unbounded_channel().0, memory, permitted: permit(&path).1 };
        let replaced = |name: &str| {
            fs::rename(&path, directory.path().join(name)).unwrap();
            fs::create_dir(&path).unwrap();
        };
        fs::create_dir(&path).unwrap();
        let mut first = Root::new(path.clone(), Some(&apart(None)));
        assert_eq!(first.look(false), Look::Another);
        let memory = first.news_to_remember(true);
        replaced("one");
        let mut second = Root::new(path.clone(), Some(&apart(memory.clone())));
        assert!(away(second.look(false)).contains("is empty, and another one"));
        fs::write(path.join(".keep"), "").unwrap();
        assert_eq!(second.look(false), Look::Another);
        let memory = second.news_to_remember(false);
        replaced("two");
        let mut third = Root::new(path.clone(), Some(&apart(memory)));
        assert_eq!(third.look(false), Look::Another, "the second had no nodes");
    }

    #[test]
    fn what_a_former_daemon_saw_is_believed_of_any_device() {
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("nodes"), directory.path().join("aside"));
        let apart = |memory| Apart { questions: unbounded_channel().0, memory, permitted: permit(&path).1 };
        fs::create_dir(&path).unwrap();
        let mut first = Root::new(path.clone(), Some(&apart(None)));
        assert_eq!(first.look(false), Look::Another);
        let memory = of_former_daemon(&first.news_to_remember(true).unwrap()).unwrap();
        let next = || Root::new(path.clone(), Some(&apart(Some(memory.clone()))));
        let mut emptied = next();
        assert_eq!(emptied.look(false), Look::Another, "it was emptied meanwhile");
        assert_eq!(emptied.look(false), Look::Same);
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        let mut unmounted = next();
        assert!(away(unmounted.look(false)).contains("is empty, and another one"));
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(unmounted.look(false), Look::BeyondReach, "it began in another one");
        assert_eq!(next().look(false), Look::Another);
        assert_eq!(of_former_daemon("no memory"), None);
    }

    #[test]
    fn an_empty_directory_in_place_of_one_with_nodes_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes");
        let aside = directory.path().join("aside");
        let mut root = Root::new(path.clone(), None);
        fs::create_dir(&path).unwrap();
        assert_eq!(root.look(true), Look::Another, "there was none before");
        assert_eq!(root.look(true), Look::Same, "it was emptied");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(away(root.look(true)).contains("is empty, and another one"));
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(root.look(true), Look::Same, "it came back");
        fs::rename(&path, &aside).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join(".keep"), "").unwrap();
        assert_eq!(root.look(true), Look::Another);
        fs::remove_file(path.join(".keep")).unwrap();
        assert_eq!(root.look(true), Look::Same);
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(root.look(false), Look::Another, "no node was there");
    }

    /// Does something as a user to whom modes matter.
    fn as_another<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        let work = || {
            // Of this thread alone.
            setfsuid(Uid::from_raw(65534));
            work()
        };
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    // Perhaps it is open to another process. If it is not, there is no use in asking for one again and again.
    #[test]
    fn a_way_that_was_closed_is_for_another_process_and_one_that_stays_closed_is_an_outage() {
        let directory = tempfile::tempdir().unwrap();
        let above = directory.path().join("above");
        let path = above.join("nodes");
        fs::create_dir_all(&path).unwrap();
        let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let (open, close) = (|| set_mode(&above, 0o755), || set_mode(&above, 0));
        set_mode(directory.path(), 0o755);
        set_mode(&path, 0o755);
        let (questions, _asked) = unbounded_channel();
        let next = |last: Option<&mut Root>| {
            let memory = last.and_then(|last| last.news_to_remember(true));
            as_another(|| {
                let (questions, permitted) = (questions.clone(), permit(&path).1);
                Root::new(path.clone(), Some(&Apart { questions, memory, permitted }))
            })
        };
        let look = |root: &mut Root| as_another(|| root.look(true));
        open();
        let mut first = next(None);
        assert_eq!(look(&mut first), Look::Another);
        close();
        assert_eq!(look(&mut first), Look::BeyondReach);
        let mut second = next(Some(&mut first));
        for _ in 0..2 {
            let reason = away(look(&mut second));
            assert!(reason.contains("Permission denied") && reason.contains("check the modes"), "{reason}");
        }
        open();
        assert_eq!(look(&mut second), Look::BeyondReach);
        let mut third = next(Some(&mut second));
        assert_eq!(look(&mut third), Look::Same, "it is the one that was there before");
    }
}
