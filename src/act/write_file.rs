//! Writes a file for a function action: replaces its content in one step where that is possible.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl, openat, readlinkat};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::stat::{Mode, fstat, fstatat, umask};
use nix::unistd::geteuid;
use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fsetxattr, getxattr, listxattr};

/// The kernel does not follow more symbolic links either.
const MAX_SYMLINKS: usize = 40;

/// How long to wait for a process that reads a pipe. A reader in a loop opens the pipe again within this
/// time.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);
const PIPE_RETRY: Duration = Duration::from_millis(20);

/// The kernel's limit for a list of attributes, and for the value of one.
const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;

/// How a file was written.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// In one step: a reader sees the old or the new content, even after a crash.
    AtOnce,
    /// In place, because of this error: a reader may see a part of the content.
    InPlace(String),
    /// It is a device or a pipe, which has no content of its own.
    Passed,
}

/// Replaces the content of the file at `path`. A symbolic link stays, and its target is written, even if that
/// does not exist yet.
pub fn write(path: &Path, content: &[u8]) -> io::Result<Written> {
    let existing = match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return pass(path, &metadata, content).map(|()| Written::Passed);
        }
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let target = follow_links(path)?;
    let replaced = replace(&target, existing.as_ref(), content);
    match (replaced, existing) {
        (Ok(()), _) => Ok(Written::AtOnce),
        (Err(error), Some(_)) if is_about_the_place(&error) => {
            overwrite(&target, content)?;
            Ok(Written::InPlace(error.to_string()))
        }
        (Err(error), _) => Err(error),
    }
}

/// Whether a file that cannot be replaced because of `error` may still be writable: nobody may make files in
/// its directory, or the file is a mount point, as in a container.
fn is_about_the_place(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EBUSY | Errno::EXDEV))
}

/// Returns the path at the end of the links at `path`, which need not exist.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        let Some(target) = read_link(&path)? else { return Ok(path) };
        path = directory_of(&path).join(target);
    }
    Err(Errno::ELOOP.into())
}

/// Returns the target of the link at `path`; `None` if there is no link.
fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let link: OwnedFd = match openat(AT_FDCWD, path, flags, Mode::empty()) {
        Ok(link) => link,
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let owner = fstat(&link)?.st_uid;
    let target = match readlinkat(&link, "") {
        Ok(target) => PathBuf::from(target),
        // It is no link.
        Err(Errno::EINVAL | Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The kernel's rule (`fs.protected_symlinks`): in a directory such as /tmp, the link of another user
    // could lead this process to a file that it should not write.
    let directory = fstatat(AT_FDCWD, directory_of(path), AtFlags::empty())?;
    let is_shared = directory.st_mode & 0o1002 == 0o1002;
    if is_shared && owner != geteuid().as_raw() && owner != directory.st_uid {
        return Err(Errno::EACCES.into());
    }
    Ok(Some(target))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Puts a new file in the place of `target`, which is no link.
fn replace(target: &Path, existing: Option<&Metadata>, content: &[u8]) -> io::Result<()> {
    let directory = directory_of(target);
    let mut file = tempfile::Builder::new().prefix(".twitcher-").tempfile_in(directory)?;
    file.write_all(content)?;
    let mode = match existing {
        Some(metadata) => {
            // Only root can give the file away. If another user replaces it, that user owns it, and the group
            // stays if the user is a member of it.
            if chown(file.path(), Some(metadata.uid()), Some(metadata.gid())).is_err() {
                let _ = chown(file.path(), None, Some(metadata.gid()));
            }
            mode_for(metadata, file.as_file().metadata()?.gid())
        }
        None => 0o666 & !current_umask().bits(),
    };
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    if existing.is_some() {
        copy_attributes(target, file.as_file())?;
    }
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// The rights of the read, write and execute bits for the owner, the group and others. Setuid and setgid are
/// given to a program that somebody has looked at, not to content that comes from a node, so they are not
/// among them.
const RIGHTS: u32 = 0o777;

/// The mode of a file with the group `group` that replaces a file with this metadata. Another group than
/// that of the old file has no more rights than all users.
fn mode_for(replaced: &Metadata, group: u32) -> u32 {
    let rights = replaced.mode() & RIGHTS;
    match replaced.gid() == group {
        true => rights,
        false => rights & 0o707 | (rights & 0o007) << 3,
    }
}

/// The access control list. Without it, the file's mode would mean something else.
const ACL: &str = "system.posix_acl_access";

/// Gives `to` the access control list, the SELinux label and the user's attributes of `from`.
fn copy_attributes(from: &Path, to: &File) -> io::Result<()> {
    let mut names = Vec::with_capacity(MAX_ATTRIBUTE_BYTES);
    // Not every file system has attributes.
    if listxattr(from, spare_capacity(&mut names)).is_err() {
        return Ok(());
    }
    for name in names.split(|byte| *byte == 0).filter_map(|name| str::from_utf8(name).ok()) {
        if name != ACL && name != "security.selinux" && !name.starts_with("user.") {
            continue;
        }
        let mut value = Vec::with_capacity(MAX_ATTRIBUTE_BYTES);
        let copied = getxattr(from, name, spare_capacity(&mut value))
            .and_then(|_| fsetxattr(to, name, &value, XattrFlags::empty()));
        match copied {
            Err(_) if name == ACL => return Err(Errno::EPERM.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Writes the existing file `target` in place. If that fails, its old content is put back.
fn overwrite(target: &Path, content: &[u8]) -> io::Result<()> {
    let before = fs::read(target);
    let mut file = File::options().write(true).open(target)?;
    // The kernel does this itself for those who may not do it, such as another user than the owner.
    let mode = file.metadata()?.mode();
    if mode & 0o7777 & !RIGHTS != 0 {
        let _ = file.set_permissions(Permissions::from_mode(mode & RIGHTS));
    }
    let mut put = |content: &[u8]| {
        file.rewind()?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        file.sync_all()
    };
    put(content).inspect_err(|_| {
        if let Ok(before) = before {
            let _ = put(&before);
        }
    })
}

/// Writes to a device or a pipe.
fn pass(path: &Path, metadata: &Metadata, content: &[u8]) -> io::Result<()> {
    if !metadata.file_type().is_fifo() {
        return File::options().write(true).custom_flags(O_NOCTTY).open(path)?.write_all(content);
    }
    let deadline = Instant::now() + PIPE_TIMEOUT;
    let mut pipe = loop {
        // Otherwise this would wait for a reader, perhaps for ever.
        match File::options().write(true).custom_flags(O_NONBLOCK).open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {
                if Instant::now() >= deadline {
                    return Err(io::Error::other("no process reads this pipe"));
                }
                sleep(PIPE_RETRY);
            }
            opened => break opened?,
        }
    };
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_WRONLY))?;
    pipe.write_all(content)
}

/// Returns the umask. The kernel only returns it when it sets another one; nothing else in this process makes
/// files meanwhile.
fn current_umask() -> Mode {
    let mask = umask(Mode::from_bits_truncate(0o022));
    umask(mask);
    mask
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn replacing_keeps_mode_and_link_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        assert_eq!(write(&file, b"one").unwrap(), Written::AtOnce);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        assert_eq!(write(&link, b"two").unwrap(), Written::AtOnce);
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert!(write(&directory.path().join("no/such"), b"").is_err());
        assert!(write(directory.path(), b"").is_err());
        assert_eq!(write(Path::new("/dev/null"), b"gone").unwrap(), Written::Passed);
    }

    #[test]
    fn new_content_gets_neither_setuid_nor_another_groups_rights() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
        let set = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "old").unwrap();
        set(0o6755);
        assert_eq!(write(&path, b"new").unwrap(), Written::AtOnce);
        assert_eq!(mode(), 0o755);
        set(0o6754);
        overwrite(&path, b"newer").unwrap();
        assert_eq!((mode(), fs::read(&path).unwrap()), (0o754, b"newer".to_vec()));
        for (mode, expected) in [(0o4664, 0o644), (0o2640, 0o600), (0o777, 0o777)] {
            set(mode);
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(mode_for(&metadata, metadata.gid() + 1), expected);
            assert_eq!(mode_for(&metadata, metadata.gid()), mode & 0o777);
        }
    }

    #[test]
    fn the_target_of_links_is_made_and_the_links_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("current")).unwrap();
        symlink("current/b", path("a")).unwrap();
        symlink("../c", path("current/b")).unwrap();
        assert_eq!(write(&path("a"), b"new").unwrap(), Written::AtOnce);
        assert_eq!(fs::read(path("c")).unwrap(), b"new");
        assert!(path("a").is_symlink() && path("current/b").is_symlink() && !path("c").is_symlink());
        symlink("loop", path("loop")).unwrap();
        assert_eq!(write(&path("loop"), b"").unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        symlink("missing/d", path("d")).unwrap();
        assert_eq!(write(&path("d"), b"").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn attributes_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let name = "user.origin";
        if rustix::fs::setxattr(&path, name, b"here", XattrFlags::empty()).is_err() {
            return;
        }
        assert_eq!(write(&path, b"new").unwrap(), Written::AtOnce);
        let mut value = Vec::with_capacity(MAX_ATTRIBUTE_BYTES);
        getxattr(&path, name, spare_capacity(&mut value)).unwrap();
        assert_eq!(value, b"here");
    }

    #[test]
    fn a_pipe_gets_the_content_if_somebody_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path).unwrap()
        });
        let content = vec![7; 1 << 20];
        assert_eq!(write(&path, &content).unwrap(), Written::Passed);
        assert_eq!(reader.join().unwrap(), content);
        let unread = write(&path, &content).unwrap_err();
        assert_eq!(unread.to_string(), "no process reads this pipe");
    }
}
