//! What the commands ask of a directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;

use super::file::{self, MAX_NODE_BYTES, Reading};
use super::remove;
use super::settings::DirectorySettings;
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::removal::Removal;

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
        self.read(node, file::read_data).await.map(|reading| reading.content)
    }

    pub(crate) async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        self.read(node, file::read_children).await.map(|reading| reading.content)
    }

    pub(crate) async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
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
            return Err(self.refused(node, &format!("{} is no directory", self.root.display())));
        }
        fs::create_dir_all(&self.root).map_err(failed)?;
        let _lock = self.lock(node).await?;
        self.make_parents(node)?;
        self.stay_inside(node, Right::Write, &file)?;
        if file.is_dir() {
            if data.is_empty() {
                return Ok(());
            }
            let names = file::names(&file).map_err(failed)?;
            if !names.is_empty() || node.as_str() == "/" {
                return Err(
                    self.refused(node, "a node with children is a directory and holds only empty data")
                );
            }
            fs::remove_dir(&file).map_err(failed)?;
        }
        replace(&file, data).map_err(failed)
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        let file = self.locate(node)?;
        // Read before locking, because the lock's file would be an odd thing to leave in a directory that is
        // no store.
        self.read(node, file::read_data).await?;
        let _lock = self.lock(node).await?;
        self.stay_inside(node, Right::Write, &file)?;
        let (started, mut tries) = (Instant::now(), 0);
        loop {
            if file.is_dir() {
                return Err(self.refused(node, "a directory holds no data that could be written again"));
            }
            let before = self.read(node, file::read_data).await?;
            // People who edit the file directly ask for no lock, so look again as late as possible.
            if file::stamp(&file) == Some(before.stamp) {
                let replaced = replace(&file, &before.content);
                return replaced.map_err(|error| self.failed(node, Right::Write, error));
            }
            tries += 1;
            self.wait_for_others(node, started, tries).await?;
        }
    }

    pub(crate) async fn rm(
        &self,
        node: &NodePath,
        recursive: bool,
        removal: &Removal,
    ) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        let file = self.locate(node)?;
        let failed = |error| self.failed(node, Right::Remove, error);
        // Any file can be removed, even if it is no node, but it must exist.
        let metadata = fs::symlink_metadata(&file).map_err(failed)?;
        let _lock = self.lock(node).await?;
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
        let (started, mut tries) = (Instant::now(), 0);
        loop {
            let reading = read(&self.root, &file).map_err(|error| self.failed(node, Right::Read, error))?;
            if reading.stable {
                return Ok(reading);
            }
            tries += 1;
            self.wait_for_others(node, started, tries).await?;
        }
    }

    /// Waits a moment while others write to the node's file, but not for ever.
    async fn wait_for_others(
        &self,
        node: &NodePath,
        started: Instant,
        tries: u64,
    ) -> Result<(), ClientError> {
        if started.elapsed() >= self.timeout {
            let (node, store) = (node.clone(), self.store.clone());
            return Err(ClientError::Contended { node, store, tries, timeout: self.timeout });
        }
        tokio::time::sleep(READ_RETRY).await;
        Ok(())
    }

    fn locate(&self, node: &NodePath) -> Result<PathBuf, ClientError> {
        file::locate(&self.root, node).map_err(|hidden| {
            self.refused(
                node,
                &format!("{hidden:?} starts with a dot and names no node; choose another name"),
            )
        })
    }

    /// Makes the directories above `node`. An empty file on the way becomes a directory: both are the same
    /// node, and only a directory can have children.
    fn make_parents(&self, node: &NodePath) -> Result<(), ClientError> {
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
                Ok(_) => {
                    let reason = format!(
                        "its parent {component:?} holds data, and a node with children is a directory that \
                         holds none"
                    );
                    return Err(self.refused(node, &reason));
                }
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
    fn stay_inside(&self, node: &NodePath, right: Right, file: &Path) -> Result<(), ClientError> {
        // If the file itself is a link, it is replaced or removed, and not followed.
        let directory = file.parent().filter(|_| node.as_str() != "/").unwrap_or(&self.root);
        file::stay_inside(&self.root, directory).map_err(|error| self.failed(node, right, error))
    }

    async fn lock(&self, node: &NodePath) -> Result<Flock<File>, ClientError> {
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
                    "another command has held {} for {} s; nothing was changed",
                    path.display(),
                    self.timeout.as_secs_f64()
                );
                return Err(self.refused(node, &reason));
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }

    fn refused(&self, node: &NodePath, reason: &str) -> ClientError {
        ClientError::Refused { node: node.clone(), store: self.store.clone(), reason: reason.to_owned() }
    }

    fn failed(&self, node: &NodePath, right: Right, source: io::Error) -> ClientError {
        let (own, store) = (node.clone(), self.store.clone());
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => match right {
                Right::Read | Right::Remove if !self.root.is_dir() => {
                    ClientError::NoRoot { node: own, store, what: "the directory".to_owned() }
                }
                Right::Read => ClientError::Missing { node: own, store },
                Right::Remove => ClientError::NothingToRemove { node: own, store },
                Right::Write | Right::Create => ClientError::File { node: own, store, source },
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

/// Replaces `file` by a file with this content, so that every reader sees either the old or the new one.
fn replace(file: &Path, data: &[u8]) -> io::Result<()> {
    let parent = file.parent().unwrap_or(Path::new("/"));
    // The new file has the permissions of the old one. Without an old one, the umask decides.
    let permissions = fs::metadata(file).map(|metadata| metadata.permissions()).ok();
    let mut draft = tempfile::Builder::new()
        .prefix(".twitcher-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)?;
    draft.write_all(data)?;
    if let Some(permissions) = permissions {
        draft.as_file().set_permissions(permissions)?;
    }
    // Without this, a crash of the machine could leave an empty file.
    draft.as_file().sync_all()?;
    draft.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeFacet;
    use crate::store::directory::DirectoryUrl;

    fn node(path: &str) -> NodePath {
        NodePath::parse(path).unwrap()
    }

    fn with_client<F: Future<Output = ()>>(body: impl FnOnce(DirectoryClient, PathBuf) -> F) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("nodes");
        let url = DirectoryUrl { root: root.clone() };
        let client = DirectoryClient::new(&DirectorySettings {
            url,
            session_timeout: Duration::from_secs(10),
            rescan_interval: Duration::from_secs(60),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(body(client, root));
    }

    #[test]
    fn what_is_set_is_read_back_listed_and_removed() {
        with_client(|client, _| async move {
            client.set(&node("/git/head"), b"1").await.unwrap();
            client.set(&node("/git/head"), b"2").await.unwrap();
            client.set(&node("/git/base"), b"\0\xff").await.unwrap();
            assert_eq!(client.get(&node("/git/head")).await.unwrap(), b"2");
            assert_eq!(client.get(&node("/git/base")).await.unwrap(), b"\0\xff");
            assert_eq!(client.get(&node("/git")).await.unwrap(), b"");
            assert_eq!(client.ls(&node("/git")).await.unwrap(), ["base", "head"]);
            assert_eq!(client.ls(&node("/")).await.unwrap(), ["git"]);
            assert!(matches!(
                client.rm(&node("/git"), false, &Removal::default()).await,
                Err(ClientError::NotEmpty { .. })
            ));
            client.rm(&node("/git/base"), false, &Removal::default()).await.unwrap();
            client.rm(&node("/git"), true, &Removal::default()).await.unwrap();
            assert!(client.ls(&node("/")).await.unwrap().is_empty());
            assert!(matches!(
                client.rm(&node("/"), true, &Removal::default()).await,
                Err(ClientError::Root { .. })
            ));
        });
    }

    #[test]
    fn no_command_goes_through_a_link_out_of_the_store() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let path = outside.path().to_owned();
        with_client(|client, root| async move {
            fs::create_dir_all(&root).unwrap();
            std::os::unix::fs::symlink(&path, root.join("d")).unwrap();
            std::os::unix::fs::symlink(path.join("created"), root.join(LOCK)).unwrap();
            assert!(client.get(&node("/d/secret")).await.is_err());
            assert!(client.ls(&node("/d")).await.is_err());
            assert!(client.set(&node("/head"), b"1").await.is_err());
            assert!(!path.join("created").exists());
            fs::remove_file(root.join(LOCK)).unwrap();
            for deep in ["/d/new", "/d/new/deeper"] {
                let refused = client.set(&node(deep), b"1").await.unwrap_err().to_string();
                assert!(refused.contains("leads out of the store"), "{refused}");
            }
            assert!(client.rm(&node("/d/secret"), false, &Removal::default()).await.is_err());
            assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
            // The link itself belongs to the store.
            client.rm(&node("/d"), false, &Removal::default()).await.unwrap();
        });
    }

    #[test]
    fn a_poke_makes_a_new_state_of_the_same_content() {
        with_client(|client, root| async move {
            let head = node("/head");
            assert!(matches!(client.poke(&head).await, Err(ClientError::NoRoot { .. })));
            fs::create_dir(&root).unwrap();
            assert!(matches!(client.poke(&head).await, Err(ClientError::Missing { .. })));
            client.set(&head, b"1").await.unwrap();
            fs::set_permissions(root.join("head"), Permissions::from_mode(0o640)).unwrap();
            let before = file::read(&root, &root.join("head"), NodeFacet::Data).unwrap().unwrap().version(0);
            client.poke(&head).await.unwrap();
            let after = file::read(&root, &root.join("head"), NodeFacet::Data).unwrap().unwrap().version(0);
            assert_ne!(before.revision, after.revision);
            assert_eq!(client.get(&head).await.unwrap(), b"1");
            assert_eq!(fs::metadata(root.join("head")).unwrap().permissions().mode() & 0o777, 0o640);
        });
    }

    #[test]
    fn a_directory_holds_no_data() {
        with_client(|client, _| async move {
            client.set(&node("/a/b"), b"").await.unwrap();
            client.set(&node("/a/b/c"), b"1").await.unwrap();
            client.set(&node("/a"), b"").await.unwrap();
            let error = client.set(&node("/a"), b"x").await.unwrap_err().to_string();
            assert!(error.contains("node /a in dir:") && error.contains("with children"), "{error}");
            let error = client.set(&node("/a/b/c/d"), b"x").await.unwrap_err().to_string();
            assert!(error.contains("its parent \"c\" holds data"), "{error}");
            client.rm(&node("/a/b/c"), false, &Removal::default()).await.unwrap();
            client.set(&node("/a/b"), b"2").await.unwrap();
            assert_eq!(client.get(&node("/a/b")).await.unwrap(), b"2");
        });
    }

    #[test]
    fn an_error_names_the_node_the_store_and_the_remedy() {
        with_client(|client, _| async move {
            let error = client.get(&node("/head")).await.unwrap_err().to_string();
            assert!(
                error.contains("/head") && error.contains("dir:") && error.contains("twitcher set"),
                "{error}"
            );
            let error = client.set(&node("/.git/x"), b"").await.unwrap_err().to_string();
            assert!(error.contains("starts with a dot"), "{error}");
        });
    }
}
