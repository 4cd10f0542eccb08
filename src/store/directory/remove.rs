//! Removes a directory with everything in it, however deep it is.
//!
//! The standard library keeps a descriptor open for each level, and a process may have 1,024.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// A directory on the way to the present one.
struct Level {
    /// The name in the directory above.
    name: OsString,
    /// The device and inode, by which the directory is known again on the way back.
    id: (u64, u64),
    /// The directories in it that are still to be removed.
    left: Vec<OsString>,
}

/// Removes the directory `path`. Links in it are removed and not followed.
pub(super) fn tree(path: &Path) -> io::Result<()> {
    let mut here = openat(AT_FDCWD, path, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
    let mut above: Vec<Level> = Vec::new();
    let mut level = empty(&here, OsString::new())?;
    loop {
        if let Some(name) = level.left.pop() {
            let below = match openat(&here, name.as_os_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
                Ok(below) => below,
                Err(Errno::ENOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            above.push(std::mem::replace(&mut level, empty(&below, name)?));
            here = below;
            continue;
        }
        let Some(parent) = above.pop() else { return std::fs::remove_dir(path) };
        here = openat(&here, "..", DIRECTORY, Mode::empty())?;
        if id(&here)? != parent.id {
            return Err(io::Error::other("somebody moved a directory while it was removed; try again"));
        }
        let name = std::mem::replace(&mut level, parent).name;
        match unlinkat(&here, name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes everything from the directory except the directories in it, which it returns.
fn empty(directory: &OwnedFd, name: OsString) -> io::Result<Level> {
    let mut names = Dir::openat(directory, ".", DIRECTORY, Mode::empty())?;
    let names: Vec<_> = names.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect();
    let mut left = Vec::new();
    for name in names {
        let name = name?;
        if [c".", c".."].contains(&name.as_c_str()) {
            continue;
        }
        match unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // Linux says EISDIR, and POSIX EPERM.
            Err(Errno::EISDIR | Errno::EPERM) => left.push(OsStr::from_bytes(name.to_bytes()).to_owned()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Level { name, id: id(directory)?, left })
}

fn id(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_tree_is_removed_however_deep_it_is_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (root, kept) = (directory.path().join("root"), directory.path().join("kept"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join("a/c")).unwrap();
        fs::write(root.join("a/b/file"), "1").unwrap();
        fs::write(&kept, "1").unwrap();
        symlink(&kept, root.join("a/link")).unwrap();
        symlink(directory.path(), root.join("a/c/link")).unwrap();
        // There are more levels than descriptors.
        let deep = "for n in $(seq 1500); do mkdir d && cd d || exit 1; done; touch leaf";
        assert!(Command::new("sh").args(["-c", deep]).current_dir(&root).status().unwrap().success());
        tree(&root).unwrap();
        assert!(!root.exists() && kept.exists());
        assert_eq!(tree(&kept).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(tree(&root).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
