//! Opens the config directory, and everything in it relative to its descriptor.
//!
//! The descriptors on the way are judged, so nobody can replace a file between the judgement and the reading.
//!
//! Under root's rule ([`Trust::Root`]), this module follows links itself, and judges every directory that
//! they lead through, also above the config directory. A link in the config directory must not lead out of
//! it; it may be relative or start with the directory's own path. Without the rule, the kernel follows links
//! wherever they lead.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat};
use nix::libc::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use super::rule::{self, Fault, Location, Trust, Untrusted};
use super::way::push;

/// The kernel does not follow more symlinks either.
const MAX_SYMLINKS: usize = 40;

/// Why something cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot read: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl OpenError {
    /// Returns the text that follows `path`, the path of what was to be opened.
    pub fn reason_at(&self, path: &Path) -> String {
        match self {
            Self::System(_) => self.to_string(),
            Self::Untrusted(untrusted) => untrusted.reason_at(path),
        }
    }

    /// Whether the error means that nothing has this path.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The open config directory.
pub struct Root {
    trust: Trust,
    here: PathHandle,
}

/// A regular file, open for reading.
pub struct OpenedFile {
    pub file: File,
    pub stat: FileStat,
    /// Why root's rule would refuse the file, if `--allow-untrusted` reduces that to a warning.
    pub warning: Option<String>,
}

/// A directory and the names in it.
pub struct Listing {
    directory: Dir,
    pub stat: FileStat,
    pub warning: Option<String>,
    /// The names, sorted.
    pub names: Vec<OsString>,
}

/// An open file of any kind.
struct PathHandle {
    descriptor: OwnedFd,
    stat: FileStat,
    /// The path from the start of the walk, without links.
    path: PathBuf,
}

impl Root {
    /// Opens the directory at `path`. Under root's rule, `path` must be absolute, and every directory above
    /// it is judged.
    pub fn open(path: &Path, trust: Trust) -> Result<Self, OpenError> {
        let here = match trust {
            Trust::Root => {
                let top = PathHandle::top()?;
                let mut steps = walk(&top, path, Location::Ancestor)?;
                steps.pop().unwrap_or(top)
            }
            Trust::Warned | Trust::Anyone => {
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                let descriptor = openat(AT_FDCWD, path, flags, Mode::empty())?;
                let stat = fstat(&descriptor)?;
                PathHandle { descriptor, stat, path: PathBuf::new() }
            }
        };
        if here.stat.st_mode & S_IFMT != S_IFDIR {
            return Err(Errno::ENOTDIR.into());
        }
        // Messages show the path that people know, links included.
        Ok(Self { trust, here: PathHandle { path: path.to_owned(), ..here } })
    }

    pub fn path(&self) -> &Path {
        &self.here.path
    }

    /// Returns the path that messages show for `below`.
    pub fn path_of(&self, below: &Path) -> PathBuf {
        if below.as_os_str().is_empty() { self.here.path.clone() } else { self.here.path.join(below) }
    }

    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Returns the metadata of the file at `below`, at the end of all links.
    pub fn look(&self, below: &Path) -> Result<FileStat, OpenError> {
        match self.trust {
            Trust::Root => {
                let steps = walk(&self.here, below, Location::Inside)?;
                Ok(steps.last().unwrap_or(&self.here).stat)
            }
            Trust::Warned | Trust::Anyone => {
                Ok(fstatat(&self.here.descriptor, or_itself(below), AtFlags::empty())?)
            }
        }
    }

    /// Opens the directory at `below`, and reads the names in it.
    pub fn list(&self, below: &Path) -> Result<Listing, OpenError> {
        let (descriptor, stat) = self.open_at(below, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut directory = Dir::from_fd(descriptor)?;
        let names =
            directory.iter().map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
        let mut names = names.collect::<Result<Vec<_>, Errno>>()?;
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(Listing { warning: self.warning(below, &stat), directory, stat, names })
    }

    /// Opens the regular file at `below`.
    pub fn read(&self, below: &Path) -> Result<OpenedFile, OpenError> {
        // The file may have become a pipe that nobody writes to.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let (descriptor, stat) = self.open_at(below, flags)?;
        if stat.st_mode & S_IFMT != S_IFREG {
            return Err(io::Error::other("not a regular file").into());
        }
        Ok(OpenedFile { file: descriptor.into(), warning: self.warning(below, &stat), stat })
    }

    /// Judges the file at `below` by its metadata `stat`. The file must not be a link.
    pub fn judge(&self, below: &Path, stat: &FileStat) -> Result<(), Untrusted> {
        match self.trust {
            Trust::Root => check(&self.path_of(below), stat, Location::Inside),
            Trust::Warned | Trust::Anyone => Ok(()),
        }
    }

    fn warning(&self, below: &Path, stat: &FileStat) -> Option<String> {
        match self.trust {
            Trust::Warned => {
                let path = self.path_of(below);
                check(&path, stat, Location::Inside).err().map(|untrusted| untrusted.warning())
            }
            Trust::Root | Trust::Anyone => None,
        }
    }

    fn open_at(&self, below: &Path, flags: OFlag) -> Result<(OwnedFd, FileStat), OpenError> {
        let flags = flags | OFlag::O_CLOEXEC;
        match self.trust {
            Trust::Root => {
                let steps = walk(&self.here, below, Location::Inside)?;
                let itself = OsStr::new(".");
                let (from, name, path) = match steps.split_last() {
                    Some((last, above)) => (
                        above.last().unwrap_or(&self.here),
                        last.path.file_name().unwrap_or(itself),
                        &last.path,
                    ),
                    None => (&self.here, itself, &self.here.path),
                };
                let opened = openat(&from.descriptor, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
                // Root may have replaced the file since the walk.
                let stat = fstat(&opened)?;
                check(path, &stat, Location::Inside)?;
                Ok((opened, stat))
            }
            Trust::Warned | Trust::Anyone => {
                let opened = openat(&self.here.descriptor, or_itself(below), flags, Mode::empty())?;
                let stat = fstat(&opened)?;
                Ok((opened, stat))
            }
        }
    }
}

impl Listing {
    /// Returns the metadata of the file with this name. A link is not followed.
    pub fn stat(&self, name: &OsStr) -> io::Result<FileStat> {
        Ok(fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }
}

impl PathHandle {
    fn top() -> Result<Self, OpenError> {
        let descriptor = openat(AT_FDCWD, "/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        let stat = fstat(&descriptor)?;
        let path = PathBuf::from("/");
        check(&path, &stat, Location::Ancestor)?;
        Ok(Self { descriptor, stat, path })
    }

    /// Opens the file with this name, if it is trusted. A link is not followed.
    fn enter(&self, name: &OsStr, location: Location) -> Result<Self, OpenError> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = |flags| openat(&self.descriptor, name, flags, Mode::empty());
        // Opening a directory as one triggers mounts on demand.
        let descriptor = match open(flags | OFlag::O_DIRECTORY) {
            Err(Errno::ENOTDIR) => open(flags)?,
            opened => opened?,
        };
        let (stat, path) = (fstat(&descriptor)?, self.path.join(name));
        check(&path, &stat, location)?;
        Ok(Self { descriptor, stat, path })
    }
}

fn check(path: &Path, stat: &FileStat, location: Location) -> Result<(), Untrusted> {
    rule::check(path, stat.st_uid, stat.st_mode, location)
}

/// Walks from `base` to `path` below it, and judges every step. Returns the steps: the last is the end, and
/// there is no step if the end is `base` itself.
fn walk(base: &PathHandle, path: &Path, location: Location) -> Result<Vec<PathHandle>, OpenError> {
    let mut steps: Vec<PathHandle> = Vec::new();
    let mut ahead: Vec<OsString> = Vec::new();
    let mut last_link = None;
    let mut links = 0;
    push(&mut ahead, path);
    while let Some(name) = ahead.pop() {
        if name == ".." {
            // "/" is its own parent.
            if steps.pop().is_none() && location == Location::Inside {
                return Err(last_link.map_or(Errno::EXDEV.into(), |link| leads_out(link).into()));
            }
            continue;
        }
        let step = steps.last().unwrap_or(base).enter(&name, location)?;
        if step.stat.st_mode & S_IFMT != S_IFLNK {
            steps.push(step);
            continue;
        }
        links += 1;
        if links > MAX_SYMLINKS {
            return Err(Errno::ELOOP.into());
        }
        let target = PathBuf::from(readlinkat(&step.descriptor, "")?);
        let link = (step.path, target.clone());
        if target.is_absolute() {
            steps.clear();
            let Ok(below) = target.strip_prefix(&base.path) else { return Err(leads_out(link).into()) };
            push(&mut ahead, below);
        } else {
            push(&mut ahead, &target);
        }
        last_link = Some(link);
    }
    // The config directory itself is judged by the stricter rule.
    if let (Location::Ancestor, Some(last)) = (location, steps.last()) {
        check(&last.path, &last.stat, Location::Inside)?;
    }
    Ok(steps)
}

fn leads_out((path, target): (PathBuf, PathBuf)) -> Untrusted {
    Untrusted { path, fault: Fault::LeadsOut { target } }
}

fn or_itself(below: &Path) -> &Path {
    if below.as_os_str().is_empty() { Path::new(".") } else { below }
}
