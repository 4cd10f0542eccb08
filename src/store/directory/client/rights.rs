//! Whether the files can be changed that an import is to change, as far as that is known before it begins.
//!
//! A node is written by a new file in its directory, so that the rights of the directory count, and those of
//! the old file only where it is read.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc::S_ISVTX;
use nix::unistd::{AccessFlags, faccessat, geteuid};
use tokio::task::yield_now;

use super::{DirectoryClient, LOCK};
use crate::model::NodePath;
use crate::store::bulk::Entry;
use crate::store::client_error::{ClientError, Right};
use crate::store::directory::file::is_absence;

impl DirectoryClient {
    /// Returns an error if this entry cannot be written, unless the node has this data already.
    pub(super) async fn check_right(&self, Entry { node, data }: &Entry) -> Result<(), ClientError> {
        let path = self.locate(node)?;
        match self.is_writable(&path, data.is_empty()) {
            Ok(()) => Ok(()),
            Err(denied) => match self.get(node).await {
                Ok(found) if found == *data => Ok(()),
                Err(error @ ClientError::Forbidden { .. }) => Err(error),
                Ok(_) | Err(_) => Err(self.failed(node, Right::Write, denied)),
            },
        }
    }

    fn is_writable(&self, path: &Path, is_empty: bool) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() && is_empty => return Ok(()),
            // It is compared first.
            Ok(found) if found.is_file() => permits(path, AccessFlags::R_OK)?,
            Ok(_) => {}
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error),
        }
        let (directory, entry) = place(path)?;
        self.is_lockable()?;
        is_changeable(&directory, &entry)
    }

    /// See [`Client::check_removal`](crate::store::Client::check_removal).
    pub(crate) async fn check_removal(&self, nodes: &[NodePath]) -> Result<(), ClientError> {
        for node in nodes {
            let path = self.locate(node)?;
            let is_removable = || match (path.parent(), fs::symlink_metadata(&path)) {
                (Some(directory), Ok(_)) => self.is_lockable().and_then(|()| is_changeable(directory, &path)),
                (Some(_) | None, Err(error)) if !is_absence(&error) => Err(error),
                (Some(_) | None, Ok(_) | Err(_)) => Ok(()),
            };
            is_removable().map_err(|error| self.failed(node, Right::Remove, error))?;
            yield_now().await;
        }
        Ok(())
    }

    /// Returns an error if nobody lets us lock the store.
    fn is_lockable(&self) -> io::Result<()> {
        match permits(&self.root.join(LOCK), AccessFlags::R_OK) {
            Err(error) if is_absence(&error) => {
                let (directory, entry) = place(&self.root.join(LOCK))?;
                is_changeable(&directory, &entry)
            }
            known => known,
        }
    }
}

/// Returns the directory that has to be changed so that there is something at `path`, and what is changed in
/// it: parents are made that are missing, and take the place of empty files.
fn place(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let mut entry = path;
    loop {
        let directory = entry.parent().filter(|directory| *directory != Path::new(""));
        let directory = directory.unwrap_or(Path::new(if entry.is_absolute() { "/" } else { "." }));
        match fs::metadata(directory) {
            Ok(found) if found.is_dir() => return Ok((directory.to_owned(), entry.to_owned())),
            Ok(_) => entry = directory,
            Err(error) if is_absence(&error) && directory != Path::new(".") => entry = directory,
            Err(error) => return Err(error),
        }
    }
}

/// Returns an error if `entry` of this directory can be neither made, replaced nor removed.
fn is_changeable(directory: &Path, entry: &Path) -> io::Result<()> {
    permits(directory, AccessFlags::W_OK | AccessFlags::X_OK)?;
    let found = fs::metadata(directory)?;
    if found.mode() & S_ISVTX == 0 {
        return Ok(());
    }
    // In a sticky directory, as /tmp, only the owner of a file, or of the directory, can do so.
    let is_ours = |found: Metadata| found.uid() == geteuid().as_raw();
    let is_free = match fs::symlink_metadata(entry) {
        Ok(old) => is_ours(old) || is_ours(found) || ignores_owners(),
        Err(error) if is_absence(&error) => true,
        Err(error) => return Err(error),
    };
    if is_free { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
}

/// Asks the kernel, which also knows of ACLs, of file systems that are read-only, and of what is immutable.
fn permits(path: &Path, access: AccessFlags) -> io::Result<()> {
    Ok(faccessat(AT_FDCWD, path, access, AtFlags::AT_EACCESS)?)
}

/// Whether this process has the capability `CAP_FOWNER`. It is believed to have it where nothing tells.
fn ignores_owners() -> bool {
    const CAP_FOWNER: u32 = 3;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    capabilities.is_none_or(|capabilities| capabilities & (1 << CAP_FOWNER) != 0)
}
