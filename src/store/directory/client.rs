//! What the commands ask of a directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;

use super::file::{self, Reading};
use super::settings::DirectorySettings;
use crate::model::NodePath;
use crate::store::client_error::ClientError;

/// The lock that commands hold while they change nodes. People who edit the files directly do not ask for it.
const LOCK: &str = ".twitcher.lock";

/// How often to ask for a lock that somebody else has. They hold it for a few system calls.
const LOCK_RETRY: Duration = Duration::from_millis(10);

pub(crate) struct DirectoryClient {
    root: PathBuf,
    /// The URL, for errors.
    store: String,
}

impl DirectoryClient {
    pub(crate) fn new(settings: &DirectorySettings) -> Self {
        Self { root: settings.url.root.clone(), store: settings.url.to_string() }
    }

    pub(crate) fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        self.read(node, file::read_data).map(|reading| reading.content)
    }

    pub(crate) fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        self.read(node, file::read_children).map(|reading| reading.content)
    }

    pub(crate) async fn set(&self, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
        let file = self.locate(node)?;
        fs::create_dir_all(&self.root).map_err(|error| self.failed(node, error))?;
        let _lock = self.lock().await.map_err(|error| self.failed(node, error))?;
        self.make_parents(node)?;
        self.stay_inside(node, &file)?;
        if file.is_dir() {
            if data.is_empty() {
                return Ok(());
            }
            let names = file::names(&file).map_err(|error| self.failed(node, error))?;
            if !names.is_empty() || node.as_str() == "/" {
                return Err(
                    self.refused(node, "a node with children is a directory and holds only empty data")
                );
            }
            fs::remove_dir(&file).map_err(|error| self.failed(node, error))?;
        }
        replace(&file, data).map_err(|error| self.failed(node, error))
    }

    pub(crate) async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        let file = self.locate(node)?;
        // Read before locking, because the lock's file would be an odd thing to leave in a directory that is
        // no store.
        self.read(node, file::read_data)?;
        let _lock = self.lock().await.map_err(|error| self.failed(node, error))?;
        self.stay_inside(node, &file)?;
        loop {
            if file.is_dir() {
                return Err(self.refused(node, "a directory holds no data that could be written again"));
            }
            let before = self.read(node, file::read_data)?;
            // People who edit the file directly ask for no lock, so look again as late as possible.
            if file::stamp(&file) == Some(before.stamp) {
                return replace(&file, &before.content).map_err(|error| self.failed(node, error));
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn rm(&self, node: &NodePath, recursive: bool) -> Result<(), ClientError> {
        if node.as_str() == "/" {
            return Err(ClientError::Root { store: self.store.clone() });
        }
        let file = self.locate(node)?;
        // Any file can be removed, even if it is no node, but it must exist.
        let metadata = fs::symlink_metadata(&file).map_err(|error| self.failed(node, error))?;
        let _lock = self.lock().await.map_err(|error| self.failed(node, error))?;
        self.stay_inside(node, &file)?;
        let removed = if !metadata.is_dir() {
            fs::remove_file(&file)
        } else if recursive {
            fs::remove_dir_all(&file)
        } else {
            fs::remove_dir(&file)
        };
        removed.map_err(|error| self.failed(node, error))
    }

    /// Reads again until the file does not change while it is read.
    fn read<T>(
        &self,
        node: &NodePath,
        read: impl Fn(&Path, &Path) -> io::Result<Reading<T>>,
    ) -> Result<Reading<T>, ClientError> {
        let file = self.locate(node)?;
        loop {
            let reading = read(&self.root, &file).map_err(|error| self.failed(node, error))?;
            if reading.stable {
                return Ok(reading);
            }
        }
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
        let mut parent = self.root.clone();
        let mut components = node.components().peekable();
        while let Some(component) = components.next()
            && components.peek().is_some()
        {
            parent.push(component);
            self.stay_inside(node, &parent)?;
            match fs::metadata(&parent) {
                Ok(metadata) if metadata.is_dir() => continue,
                Ok(metadata) if metadata.is_file() && metadata.len() == 0 => {
                    fs::remove_file(&parent).map_err(|error| self.failed(node, error))?;
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
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.failed(node, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Returns an error if the file to change is out of the store, where a link may lead.
    fn stay_inside(&self, node: &NodePath, file: &Path) -> Result<(), ClientError> {
        // If the file itself is a link, it is replaced or removed, and not followed.
        let directory = file.parent().filter(|_| node.as_str() != "/").unwrap_or(&self.root);
        file::stay_inside(&self.root, directory).map_err(|error| self.failed(node, error))
    }

    async fn lock(&self) -> io::Result<Flock<File>> {
        // Everybody can read it, because other users may have to lock it too.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o666)
            .custom_flags(O_NOFOLLOW)
            .open(self.root.join(LOCK))
            .or_else(|_| OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(self.root.join(LOCK)))?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((unlocked, Errno::EWOULDBLOCK)) => file = unlocked,
                Err((_, error)) => return Err(error.into()),
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }

    fn refused(&self, node: &NodePath, reason: &str) -> ClientError {
        ClientError::Refused { node: node.clone(), store: self.store.clone(), reason: reason.to_owned() }
    }

    fn failed(&self, node: &NodePath, source: io::Error) -> ClientError {
        let (node, store) = (node.clone(), self.store.clone());
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ClientError::Missing { node, store },
            io::ErrorKind::PermissionDenied => ClientError::Forbidden { node, store },
            io::ErrorKind::DirectoryNotEmpty => ClientError::NotEmpty { node, store },
            // The enum is open.
            _ => ClientError::File { node, store, source },
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
        let client =
            DirectoryClient::new(&DirectorySettings { url, session_timeout: Duration::from_secs(10) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(body(client, root));
    }

    #[test]
    fn what_is_set_is_read_back_listed_and_removed() {
        with_client(|client, _| async move {
            client.set(&node("/git/head"), b"1").await.unwrap();
            client.set(&node("/git/head"), b"2").await.unwrap();
            client.set(&node("/git/base"), b"\0\xff").await.unwrap();
            assert_eq!(client.get(&node("/git/head")).unwrap(), b"2");
            assert_eq!(client.get(&node("/git/base")).unwrap(), b"\0\xff");
            assert_eq!(client.get(&node("/git")).unwrap(), b"");
            assert_eq!(client.ls(&node("/git")).unwrap(), ["base", "head"]);
            assert_eq!(client.ls(&node("/")).unwrap(), ["git"]);
            assert!(matches!(client.rm(&node("/git"), false).await, Err(ClientError::NotEmpty { .. })));
            client.rm(&node("/git/base"), false).await.unwrap();
            client.rm(&node("/git"), true).await.unwrap();
            assert!(client.ls(&node("/")).unwrap().is_empty());
            assert!(matches!(client.rm(&node("/"), true).await, Err(ClientError::Root { .. })));
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
            assert!(client.get(&node("/d/secret")).is_err());
            assert!(client.ls(&node("/d")).is_err());
            assert!(client.set(&node("/head"), b"1").await.is_err());
            assert!(!path.join("created").exists());
            fs::remove_file(root.join(LOCK)).unwrap();
            for deep in ["/d/new", "/d/new/deeper"] {
                let refused = client.set(&node(deep), b"1").await.unwrap_err().to_string();
                assert!(refused.contains("leads out of the store"), "{refused}");
            }
            assert!(client.rm(&node("/d/secret"), false).await.is_err());
            assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
            // The link itself belongs to the store.
            client.rm(&node("/d"), false).await.unwrap();
        });
    }

    #[test]
    fn a_poke_makes_a_new_state_of_the_same_content() {
        with_client(|client, root| async move {
            let head = node("/head");
            assert!(matches!(client.poke(&head).await, Err(ClientError::Missing { .. })));
            client.set(&head, b"1").await.unwrap();
            fs::set_permissions(root.join("head"), Permissions::from_mode(0o640)).unwrap();
            let before = file::read(&root, &root.join("head"), NodeFacet::Data).unwrap().unwrap().version(0);
            client.poke(&head).await.unwrap();
            let after = file::read(&root, &root.join("head"), NodeFacet::Data).unwrap().unwrap().version(0);
            assert_ne!(before.revision, after.revision);
            assert_eq!(client.get(&head).unwrap(), b"1");
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
            client.rm(&node("/a/b/c"), false).await.unwrap();
            client.set(&node("/a/b"), b"2").await.unwrap();
            assert_eq!(client.get(&node("/a/b")).unwrap(), b"2");
        });
    }

    #[test]
    fn an_error_names_the_node_the_store_and_the_remedy() {
        with_client(|client, _| async move {
            let error = client.get(&node("/head")).unwrap_err().to_string();
            assert!(
                error.contains("/head") && error.contains("dir:") && error.contains("twitcher set"),
                "{error}"
            );
            let error = client.set(&node("/.git/x"), b"").await.unwrap_err().to_string();
            assert!(error.contains("starts with a dot"), "{error}");
        });
    }
}
