//! What the commands ask of a directory. [`tree`] lists its nodes. [`bulk`] reads and
//! writes many, [`change`] does so on conditions, and [`rights`] says what would not be allowed.

mod bulk;
mod change;
mod rights;
mod tree;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;

use super::claim_file;
use super::file::{self, MAX_NODE_BYTES, Reading, Stamp};
use super::inside;
use super::remove;
use super::settings::DirectorySettings;
use crate::content;
use crate::model::{NodePath, Version};
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{Condition, Found, ReadNode, WriteOptions};
use crate::store::contention::Contention;
use crate::store::removal::Removal;
use crate::store::transaction::Outcome;

/// The lock that commands hold while they change nodes. People who edit the files directly do not ask for it.
const LOCK: &str = ".twitcher.lock";

/// How often to ask for a lock that somebody else has. They hold it for a few system calls.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How often to read a file again that changes while it is read.
const READ_RETRY: Duration = Duration::from_millis(1);

pub(crate) struct DirectoryClient {
    root: PathBuf,
    /// The URL, for errors.
    store: String,
    /// How long a command waits for others that change the same node.
    timeout: Duration,
}

impl DirectoryClient {
    pub(crate) fn new(settings: &DirectorySettings) -> Self {
        Self {
            root: settings.url.root.clone(),
            store: settings.url.to_string(),
            timeout: settings.session_timeout,
        }
    }

    pub(crate) async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        let content = self.read(node, file::read_data).await?.content;
        Ok(content::read(&content).map_err(|error| self.failed(node, Right::Read, error))?.into_owned())
    }

    pub(crate) async fn read_node(&self, node: &NodePath) -> Result<ReadNode, ClientError> {
        let reading = self.read(node, file::read_data).await?;
        let failed = |error| self.failed(node, Right::Read, error);
        let data = content::read(&reading.content).map_err(failed)?.into_owned();
        let metadata = fs::metadata(self.locate(node)?).map_err(failed)?;
        let facts = vec![
            ("mtime", (reading.stamp.mtime() / 1_000_000).into()),
            ("mode", format!("{:04o}", metadata.mode() & 0o7777).into()),
            ("uid", metadata.uid().into()),
            ("gid", metadata.gid().into()),
        ];
        Ok(ReadNode { data, version: reading.version(0), facts })
    }

    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        self.read(node, file::read_children).await.map(|reading| reading.content)
    }

    pub(crate) async fn set(
        &self,
        node: &NodePath,
        data: &[u8],
        options: &WriteOptions,
    ) -> Result<(), ClientError> {
        let condition = options.condition;
        self.require_nothing_else(options)?;
        let file = self.locate(node)?;
        if data.len() as u64 > MAX_NODE_BYTES {
            return Err(ClientError::TooLarge {
                node: node.clone(),
                store: self.store.clone(),
                size: data.len(),
                limit: format!(
                    "A node has at most {} MiB; put large content elsewhere",
                    MAX_NODE_BYTES >> 20
                ),
            });
        }
        let failed = |error| self.failed(node, Right::Write, error);
        if self.root.exists() && !self.root.is_dir() {
            return Err(self.no_directory(node));
        }
        match condition {
            Condition::None | Condition::Absent => fs::create_dir_all(&self.root).map_err(failed)?,
            // A directory that does not exist holds no such node.
            Condition::Number(_) | Condition::Same(_) => {
                self.check(node, condition).await?;
            }
        }
        let _lock = self.lock(node).await?;
        self.check(node, condition).await?;
        self.make_parents(node)?;
        self.stay_inside(node, Right::Write, &file)?;
        if file.is_dir() {
            if data.is_empty() {
                return Ok(());
            }
            let names = file::names(&file).map_err(failed)?;
            if !names.is_empty() || node.as_str() == "/" {
                return Err(self.data_beside_children(node));
            }
            fs::remove_dir(&file).map_err(failed)?;
        }
        if claim_file::is_dead(&file) {
            // For readers it is gone. Its keeper is not alive, and another one would hold the lock.
            fs::remove_file(&file).map_err(failed)?;
        }
        match replace(&file, data, condition == Condition::Absent) {
            // Somebody created the file who did not ask for the lock.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.check(node, condition).await.and(Err(failed(error)))
            }
            replaced => replaced.map_err(failed),
        }
    }

    /// Returns an error if the node is not what the condition asks for.
    async fn check(&self, node: &NodePath, condition: Condition) -> Result<(), ClientError> {
        if condition == Condition::None {
            return Ok(());
        }
        let found = match self.read(node, file::read_data).await {
            Ok(reading) => Some(reading.version(0)),
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => None,
            Err(error) => return Err(error),
        };
        let holds = match (condition, found) {
            (Condition::Number(wanted), Some(found)) => found.number == wanted,
            (Condition::Same(before), Some(found)) => found.is_same_state(before),
            (Condition::Absent, found) => found.is_none(),
            (Condition::Number(_) | Condition::Same(_), None) => false,
            (Condition::None, _) => true,
        };
        if holds {
            return Ok(());
        }
        let found = found.map_or(Found::Nothing, |Version { number, .. }| Found::Version(number));
        Err(ClientError::ConditionFailed { node: node.clone(), store: self.store.clone(), condition, found })
    }

    /// Returns an error if the options ask for what a directory does not have.
    fn require_nothing_else(&self, options: &WriteOptions) -> Result<(), ClientError> {
        let unsupported = |reason: &str| {
            Err(ClientError::Unsupported { store: self.store.clone(), reason: reason.to_owned() })
        };
        match options {
            WriteOptions { ttl: Some(_), .. } => {
                unsupported("a directory has no leases that let a node expire (--ttl)")
            }
            WriteOptions { acl: Some(_), .. } => self.set_acl(),
            WriteOptions { acl: None, ttl: None, condition: _ } => Ok(()),
        }
    }

    pub(crate) fn set_acl(&self) -> Result<(), ClientError> {
        let reason = format!(
            "a directory store has no ACLs (--acl); the owners and modes of the files in {} say who \
             may do what",
            self.root.display()
        );
        Err(ClientError::Unsupported { store: self.store.clone(), reason })
    }

    pub(crate) fn without_tables(&self) -> ClientError {
        ClientError::Unsupported {
            store: self.store.clone(),
            reason: "a directory store has no typed tables; only `etcd://` has them".to_owned(),
        }
    }

    pub(crate) fn transact(&self) -> Result<Outcome, ClientError> {
        Err(ClientError::Unsupported {
            store: self.store.clone(),
            reason: "a directory store has no transactions; only `zk://` and `etcd://` have them".to_owned(),
        })
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        let file = self.locate(node)?;
        // Read before locking, because the lock's file would be an odd thing to leave in a directory that is
        // no store.
        self.read(node, file::read_data).await?;
        let _lock = self.lock(node).await?;
        self.stay_inside(node, Right::Write, &file)?;
        let mut contention = self.contention(node);
        loop {
            if file.is_dir() {
                return Err(self.refused(node, "a directory holds no data that could be written again"));
            }
            let before = self.read(node, file::read_data).await?;
            // People who edit the file directly ask for no lock, so look again as late as possible.
            if file::stamp(&file) == Some(before.stamp) {
                let replaced =
                    content::read(&before.content).and_then(|content| replace(&file, &content, false));
                return replaced.map_err(|error| self.failed(node, Right::Write, error));
            }
            contention.thwarted()?;
            tokio::time::sleep(READ_RETRY).await;
        }
    }

    pub(crate) async fn rm(
        &self,
        node: &NodePath,
        recursive: bool,
        condition: Condition,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        let file = self.locate(node)?;
        let failed = |error| self.failed(node, Right::Remove, error);
        // Any file can be removed, even if it is no node, but it must exist.
        let metadata = match fs::symlink_metadata(&file) {
            Ok(metadata) => metadata,
            Err(error) => {
                return Err(self.check(node, condition).await.err().unwrap_or_else(|| failed(error)));
            }
        };
        let _lock = self.lock(node).await?;
        self.check(node, condition).await?;
        self.stay_inside(node, Right::Remove, &file)?;
        removal.found(1);
        let removed = if !metadata.is_dir() {
            fs::remove_file(&file)
        } else if recursive {
            // On a thread of its own, so that the command can be interrupted.
            let tree = file.clone();
            let removed = tokio::task::spawn_blocking(move || remove::tree(&tree)).await;
            removed.unwrap_or_else(|error| Err(io::Error::other(error)))
        } else {
            fs::remove_dir(&file)
        };
        removed.map(|()| removal.one_is_gone()).map_err(failed)
    }

    /// Reads again until the file does not change while it is read.
    async fn read<T>(
        &self,
        node: &NodePath,
        read: impl Fn(&Path, &Path) -> io::Result<Reading<T>>,
    ) -> Result<Reading<T>, ClientError> {
        let file = self.locate(node)?;
        let mut contention = self.contention(node);
        loop {
            let reading = read(&self.root, &file).map_err(|error| self.failed(node, Right::Read, error))?;
            if reading.stable {
                return Ok(reading);
            }
            contention.thwarted()?;
            tokio::time::sleep(READ_RETRY).await;
        }
    }

    fn contention<'a>(&'a self, node: &'a NodePath) -> Contention<'a> {
        Contention::new(node, &self.store, self.timeout)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn locate(&self, node: &NodePath) -> Result<PathBuf, ClientError> {
        file::locate(&self.root, node).map_err(|hidden| {
            self.refused(
                node,
                &format!("{hidden:?} starts with a dot and names no node; choose another name"),
            )
        })
    }

    /// Makes the directories above `node`. An empty file on the way becomes a directory: both are the same
    /// node, and only a directory can have children.
    pub(super) fn make_parents(&self, node: &NodePath) -> Result<(), ClientError> {
        let failed = |error| self.failed(node, Right::Create, error);
        let mut parent = self.root.clone();
        let mut components = node.components().peekable();
        while let Some(component) = components.next()
            && components.peek().is_some()
        {
            parent.push(component);
            self.stay_inside(node, Right::Create, &parent)?;
            match fs::metadata(&parent) {
                Ok(metadata) if metadata.is_dir() => continue,
                Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
                    fs::remove_file(&parent).map_err(failed)?;
                }
                Ok(_) => return Err(self.parent_with_data(node, Some(component))),
                Err(_) => {}
            }
            match fs::create_dir(&parent) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Returns an error if the file to change is out of the store, where a link may lead.
    pub(super) fn stay_inside(&self, node: &NodePath, right: Right, file: &Path) -> Result<(), ClientError> {
        // If the file itself is a link, it is replaced or removed, and not followed.
        let directory = file.parent().filter(|_| node.as_str() != "/").unwrap_or(&self.root);
        inside::stay_inside(&self.root, directory).map_err(|error| self.failed(node, right, error))
    }

    pub(super) async fn lock(&self, node: &NodePath) -> Result<Flock<File>, ClientError> {
        let path = self.root.join(LOCK);
        let failed = |error| self.failed(node, Right::Write, error);
        // Everybody can read it, because other users may have to lock it too.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o666)
            .custom_flags(O_NOFOLLOW)
            .open(&path)
            .or_else(|error| {
                let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(&path);
                // Why it cannot be created says more than that it does not exist.
                opened.map_err(|second| if file::is_absence(&second) { error } else { second })
            })
            .map_err(failed)?;
        let started = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((unlocked, Errno::EWOULDBLOCK)) => file = unlocked,
                Err((_, error)) => return Err(failed(error.into())),
            }
            if started.elapsed() >= self.timeout {
                let reason = format!(
                    "another command has held {} for {} s; the node was not changed",
                    path.display(),
                    self.timeout.as_secs_f64()
                );
                let (node, store) = (node.clone(), self.store.clone());
                return Err(ClientError::Hindered { node, store, reason });
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }

    fn no_directory(&self, node: &NodePath) -> ClientError {
        self.refused(node, &format!("{} is no directory", self.root.display()))
    }

    fn data_beside_children(&self, node: &NodePath) -> ClientError {
        self.refused(node, "a node with children is a directory and holds only empty data")
    }

    fn parent_with_data(&self, node: &NodePath, parent: Option<&str>) -> ClientError {
        let parent = parent.unwrap_or_default();
        let reason = format!(
            "its parent {parent:?} holds data, and a node with children is a directory that holds none"
        );
        self.refused(node, &reason)
    }

    fn refused(&self, node: &NodePath, reason: &str) -> ClientError {
        ClientError::Refused { node: node.clone(), store: self.store.clone(), reason: reason.to_owned() }
    }

    pub(super) fn failed(&self, node: &NodePath, right: Right, source: io::Error) -> ClientError {
        let (own, store) = (node.clone(), self.store.clone());
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => match right {
                Right::Read | Right::Remove if !self.root.is_dir() => {
                    ClientError::NoRoot { node: own, store, what: "the directory".to_owned() }
                }
                Right::Read => ClientError::Missing { node: own, store, remedy: ClientError::CREATE },
                Right::Remove => ClientError::NothingToRemove { node: own, store },
                Right::Write | Right::Create | Right::Administrate => {
                    ClientError::File { node: own, store, source }
                }
            },
            io::ErrorKind::PermissionDenied => {
                let file = file::locate(&self.root, node).unwrap_or_else(|_| self.root.clone());
                let remedy = format!(
                    "check the owners and modes of {} and of the directories above it",
                    file.display()
                );
                ClientError::Forbidden { node: own, store, right, remedy }
            }
            io::ErrorKind::DirectoryNotEmpty => ClientError::NotEmpty { node: own, store },
            // The enum is open.
            _ => ClientError::File { node: own, store, source },
        }
    }
}

/// Replaces `file` by a file with this content, so that every reader sees either the old or the new one. If
/// `creates`, a file that is there is an error.
fn replace(file: &Path, data: &[u8], creates: bool) -> io::Result<()> {
    let parent = file.parent().unwrap_or(Path::new("/"));
    // The new file has the permissions of the old one. Without an old one, the umask decides.
    let old = fs::metadata(file).ok();
    let mut draft = tempfile::Builder::new()
        .prefix(".twitcher-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)?;
    draft.write_all(data)?;
    if let Some(old) = old {
        draft.as_file().set_permissions(old.permissions())?;
        // Two writes within one tick of the file system's clock would have one version, which others could
        // not tell apart in a condition.
        let (before, own) = (Stamp::of(&old).mtime(), Stamp::of(&draft.as_file().metadata()?).mtime());
        if own <= before && before >= 0 {
            let later = UNIX_EPOCH + Duration::from_nanos(before.unsigned_abs() + 1);
            draft.as_file().set_modified(later)?;
        }
    }
    // Without this, a crash of the machine could leave an empty file.
    draft.as_file().sync_all()?;
    if creates {
        draft.persist_noclobber(file)?;
    } else {
        draft.persist(file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
