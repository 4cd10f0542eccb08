//! Files that root creates or opens at a path on which directories of other users may lie.
//!
//! A user who can change a directory on the way could put a link there, and so choose which of root's files
//! is written to. So links are followed only in directories that nobody but root can change, such as
//! `/var/run`. A process without root's rights follows every link: it can do no more than its own user.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::libc::{S_IFLNK, S_IFMT, S_IFREG};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::rule::{self, Location, Untrusted};

/// The kernel does not follow more symlinks either.
const MAX_SYMLINKS: usize = 40;

/// The directory of a file that may not exist, and its name there.
pub struct Place {
    directory: OwnedFd,
    name: OsString,
    /// The first directory on the way that users other than root can change.
    untrusted: Option<Untrusted>,
}

impl Place {
    /// Finds the directory of the file at `path`, which must be absolute. The last name is not followed.
    pub fn find(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else { return Err(ErrorKind::IsADirectory.into()) };
        let above = path.parent().unwrap_or(Path::new("/"));
        let (directory, untrusted) = match geteuid().is_root() {
            true => walk(above)?,
            false => (open_directory(above, OFlag::empty())?, None),
        };
        Ok(Self { directory, name: name.to_owned(), untrusted })
    }

    /// Returns the warning that users other than root can change a directory on the way to `path`, if they
    /// can. `what` says what is there.
    pub fn warning(what: &str, path: &Path) -> Option<String> {
        let untrusted = Self::find(path).ok()?.untrusted?;
        Some(format!("{what} {}: {}", path.display(), untrusted.elsewhere()))
    }

    /// Opens the file, which must be a regular one; `flags` say how. A link is refused, as is a file with
    /// other names where other users could have given it one.
    pub fn open(&self, flags: OFlag, mode: u32) -> io::Result<File> {
        // Without O_NONBLOCK, a pipe that nobody reads would hold us up.
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = openat(&self.directory, &*self.name, flags, Mode::from_bits_truncate(mode));
        let file = File::from(opened.map_err(|error| match error {
            Errno::ENXIO => not_a_file(),
            Errno::ELOOP => io::Error::other("a symbolic link; name the file itself"),
            error => error.into(),
        })?);
        let stat = fstat(&file)?;
        if stat.st_mode & S_IFMT != S_IFREG {
            return Err(not_a_file());
        }
        match &self.untrusted {
            Some(untrusted) if stat.st_nlink > 1 => Err(io::Error::other(format!(
                "a file with other names, below a directory that other users can change; remove it, or {}",
                untrusted.elsewhere()
            ))),
            Some(_) | None => Ok(file),
        }
    }

    /// Removes the file, if it is still the one with this metadata.
    pub fn remove(&self, file: &FileStat) -> io::Result<()> {
        let now = fstatat(&self.directory, &*self.name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if (now.st_dev, now.st_ino) == (file.st_dev, file.st_ino) {
            unlinkat(&self.directory, &*self.name, UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(())
    }
}

fn not_a_file() -> io::Error {
    io::Error::other("not a regular file")
}

fn open_directory(path: &Path, more: OFlag) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | more;
    Ok(openat(AT_FDCWD, path, flags, Mode::empty())?)
}

/// Walks to the directory at `path`. Returns it with the first directory on the way that is not trusted.
fn walk(path: &Path) -> io::Result<(OwnedFd, Option<Untrusted>)> {
    let top = || open_directory(Path::new("/"), OFlag::empty());
    let mut here = top()?;
    let mut at = PathBuf::from("/");
    let mut ahead = names(path);
    let mut untrusted = judge(&at, &fstat(&here)?);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = |flags| openat(&here, &*name, flags, Mode::empty());
        // Opening a directory as one triggers mounts on demand.
        let next = match open(flags | OFlag::O_DIRECTORY) {
            Err(Errno::ENOTDIR) => open(flags)?,
            opened => opened?,
        };
        let stat = fstat(&next)?;
        if stat.st_mode & S_IFMT == S_IFLNK {
            refuse_foreign_link(&at, &fstat(&here)?, &at.join(&name), &stat)?;
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(Errno::ELOOP.into());
            }
            let target = PathBuf::from(readlinkat(&next, "")?);
            if target.is_absolute() {
                (here, at) = (top()?, PathBuf::from("/"));
            }
            ahead.extend(names(&target));
            continue;
        }
        at = if name == ".." { at.parent().unwrap_or(Path::new("/")).to_owned() } else { at.join(&name) };
        untrusted = untrusted.or_else(|| judge(&at, &stat));
        here = next;
    }
    // A file is no directory.
    if fstat(&here)?.st_mode & S_IFMT == S_IFREG {
        return Err(Errno::ENOTDIR.into());
    }
    Ok((here, untrusted))
}

fn judge(path: &Path, stat: &FileStat) -> Option<Untrusted> {
    rule::check(path, stat.st_uid, stat.st_mode, Location::Ancestor).err()
}

/// Fails unless only root can have put the link into its directory. In a sticky directory, that is a link
/// that root owns.
fn refuse_foreign_link(directory: &Path, of: &FileStat, link: &Path, stat: &FileStat) -> io::Result<()> {
    match judge(directory, of) {
        None if stat.st_uid == 0 => Ok(()),
        None => Err(format!("owned by uid {}", stat.st_uid)),
        Some(_) => Err("in a directory that other users can change".to_owned()),
    }
    .map_err(|why| {
        io::Error::other(format!(
            "{} is a symbolic link {why}, so another user could choose what root writes to; name the real \
             path",
            link.display()
        ))
    })
}

/// The names in `path`, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    fn append(path: &Path) -> io::Result<File> {
        Place::find(path)?.open(OFlag::O_APPEND | OFlag::O_WRONLY | OFlag::O_CREAT, 0o640)
    }

    #[test]
    fn links_lead_only_where_root_alone_may_put_them() {
        if !geteuid().is_root() {
            return;
        }
        let home = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
        let at = |name: &str| home.path().join(name);
        for name in ["real", "theirs", "theirs/below"] {
            fs::create_dir(at(name)).unwrap();
        }
        symlink(at("real"), at("link")).unwrap();
        symlink("../real", at("theirs/link")).unwrap();
        chown(at("theirs"), Some(65534), Some(65534)).unwrap();

        append(&at("link/file")).unwrap();
        append(&at("theirs/../real/file")).unwrap();
        append(&at("theirs/below/file")).unwrap();
        let refused = append(&at("theirs/link/other")).unwrap_err().to_string();
        assert!(refused.contains("theirs/link is a symbolic link"), "{refused}");
        assert!(!at("real/other").exists());

        // In a sticky directory, others can add links, but not replace root's.
        fs::create_dir(at("sticky")).unwrap();
        fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink(at("real"), at("sticky/link")).unwrap();
        append(&at("sticky/link/file")).unwrap();
        lchown(at("sticky/link"), Some(65534), Some(65534)).unwrap();
        append(&at("sticky/link/file")).unwrap_err();

        // A second name is as good as a link.
        fs::hard_link(at("real/file"), at("theirs/below/name")).unwrap();
        append(&at("theirs/below/name")).unwrap_err();
        append(&at("real/file")).unwrap();
    }

    #[test]
    fn only_the_same_file_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pid");
        let place = Place::find(&path).unwrap();
        let file = place.open(OFlag::O_RDWR | OFlag::O_CREAT, 0o600).unwrap();
        let ours = fstat(&file).unwrap();
        fs::rename(&path, home.path().join("old")).unwrap();
        fs::write(&path, "another").unwrap();
        place.remove(&ours).unwrap();
        assert!(path.exists());
        fs::rename(home.path().join("old"), &path).unwrap();
        place.remove(&ours).unwrap();
        assert!(!path.exists());
    }
}
