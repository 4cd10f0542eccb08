//! Which directory or mode keeps a user from a file, judged by owners and modes as the kernel does.
//!
//! ACLs and security modules are not judged. So a finding is certain only about what the modes forbid.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{getegid, geteuid, getgroups};

use crate::model::{Credentials, Identity};
use crate::text::{printable, quoted};

/// The identity with which a file is used.
pub struct Accessor {
    user: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Accessor {
    pub fn of(identity: &Identity) -> Self {
        let user = printable(identity.user.as_bytes());
        match &identity.change {
            Some(Credentials { uid, gid, groups }) => {
                Self { user, uid: *uid, gid: *gid, groups: groups.clone() }
            }
            None => Self {
                user,
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
                groups: getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()).collect(),
            },
        }
    }

    /// Whether the mode lets this user execute the file, or enter the directory.
    pub fn may_execute(&self, file: &Metadata) -> bool {
        let mode = file.mode();
        if self.uid == 0 {
            // Root may enter every directory, and execute what anybody may.
            return file.is_dir() || mode & 0o111 != 0;
        }
        let bit = match () {
            () if file.uid() == self.uid => 0o100,
            () if file.gid() == self.gid || self.groups.contains(&file.gid()) => 0o010,
            () => 0o001,
        };
        mode & bit != 0
    }

    pub fn user(&self) -> &str {
        &self.user
    }
}

/// Explains why `who` cannot enter the directory at `path`.
pub fn directory(path: &Path, who: &Accessor, error: &io::Error) -> Option<String> {
    match error.raw_os_error()? {
        libc::ENOENT => Some(missing(path)),
        libc::ENOTDIR => Some("it is not a directory; name one".to_owned()),
        libc::EACCES => on_the_way(path, who).or_else(|| {
            let directory = fs::metadata(path).ok()?;
            (!who.may_execute(&directory)).then(|| closed(path, &directory, who))
        }),
        libc::ELOOP => Some("its links lead in a circle".to_owned()),
        _ => None,
    }
}

/// Says which part of a path is missing.
pub fn missing(path: &Path) -> String {
    let (mut last, mut upper) = (path, path.parent());
    while let Some(above) = upper {
        if fs::symlink_metadata(last).is_ok() {
            break;
        }
        if fs::metadata(above).is_ok() {
            return match last == path {
                true => format!("create it in {}, or name another", shown(above)),
                false => format!("{} does not exist either", shown(last)),
            };
        }
        (last, upper) = (above, above.parent());
    }
    match fs::read_link(last) {
        Ok(target) => format!("{} is a link to {}, which does not exist", shown(last), shown(&target)),
        Err(_) => "create it, or name another".to_owned(),
    }
}

/// Names the first directory on the way to `path` that `who` cannot enter. Looks at the way as it is written,
/// and at the way without links.
pub fn on_the_way(path: &Path, who: &Accessor) -> Option<String> {
    let resolved = fs::canonicalize(path).ok();
    [Some(path.to_owned()), resolved].into_iter().flatten().find_map(|path| {
        let above: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        above.into_iter().rev().find_map(|directory| {
            let metadata = fs::metadata(&directory).ok()?;
            if !metadata.is_dir() {
                return Some(format!("{} is not a directory", shown(&directory)));
            }
            (!who.may_execute(&metadata)).then(|| closed(&directory, &metadata, who))
        })
    })
}

fn closed(directory: &Path, metadata: &Metadata, who: &Accessor) -> String {
    format!(
        "user {} may not enter {} ({}); to allow it, run `chmod o+x {}`, or use another directory",
        who.user(),
        shown(directory),
        owner_and_mode(metadata),
        quoted(&directory.to_string_lossy())
    )
}

/// Returns `mode 0644, owner 0, group 0`.
pub fn owner_and_mode(metadata: &Metadata) -> String {
    format!("mode {:04o}, uid {}, gid {}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

/// Whether the file system of `path` lets nobody execute programs.
pub fn is_noexec(path: &Path) -> bool {
    statvfs(path).is_ok_and(|of| of.flags().contains(FsFlags::ST_NOEXEC))
}

pub fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    printable(path.as_os_str().as_bytes())
}
