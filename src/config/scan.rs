//! One look at the config directory: which files there are, and whether they are the ones seen before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

/// A config of 10,000 lines is half a megabyte.
const LONGEST_SOURCE: u64 = 4 << 20;

/// What changes when a file does. The change time cannot be set back, so that an edit within the same second
/// that leaves the size and restores the modification time is seen all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    pub stamp: Stamp,
    /// What is wrong with its permissions, if anything.
    pub distrust: Option<String>,
}

/// A directory's device and inode: the same path may become another directory.
pub type DirectoryId = (u64, u64);

#[derive(Debug, Default)]
pub struct Tree {
    /// By path below the root.
    pub files: BTreeMap<String, Found>,
    pub directories: BTreeMap<PathBuf, DirectoryId>,
    /// With the reason. Nothing is known of what is below them.
    pub unreadable: BTreeMap<PathBuf, String>,
    /// Directories outside the tree where the targets of symlinks lie.
    pub link_targets: BTreeSet<PathBuf>,
    /// About directories.
    pub distrust: BTreeSet<String>,
}

impl Tree {
    /// Returns true if and only if the file's absence says nothing, since it could not be looked for.
    pub fn hides(&self, path: &Path) -> bool {
        self.unreadable.keys().any(|directory| path.starts_with(directory))
    }
}

/// Everything below `root`, symlinks followed, names that start with a dot skipped.
pub fn scan(root: &Path) -> Tree {
    let mut tree = Tree::default();
    walk(root, root, &mut Vec::new(), &mut tree);
    tree
}

fn walk(root: &Path, directory: &Path, above: &mut Vec<DirectoryId>, tree: &mut Tree) {
    match list(directory) {
        Ok((metadata, entries)) => {
            let id = (metadata.dev(), metadata.ino());
            // A symlink that leads back up would go on for ever.
            if above.contains(&id) {
                return;
            }
            tree.directories.insert(directory.to_owned(), id);
            tree.distrust.extend(distrust(directory, &metadata));
            above.push(id);
            for entry in entries {
                visit(root, &entry, above, tree);
            }
            above.pop();
        }
        // Gone since its parent was listed. Of the root, nobody listed anything.
        Err(error) if error.kind() == io::ErrorKind::NotFound && directory != root => {}
        Err(error) => {
            tree.unreadable.insert(directory.to_owned(), error.to_string());
        }
    }
}

fn list(directory: &Path) -> io::Result<(Metadata, Vec<PathBuf>)> {
    let metadata = fs::metadata(directory)?;
    let mut entries =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok((metadata, entries))
}

fn visit(root: &Path, path: &Path, above: &mut Vec<DirectoryId>, tree: &mut Tree) {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    if hidden {
        return;
    }
    let is_config = path.extension().is_some_and(|extension| extension == "twc");
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => walk(root, path, above, tree),
        Ok(metadata) if metadata.is_file() && is_config && path.to_str().is_none() => {
            let reason = "its name is no UTF-8; rename it";
            tree.unreadable.insert(path.to_owned(), reason.to_owned());
        }
        Ok(metadata) if metadata.is_file() && is_config => {
            if fs::symlink_metadata(path).is_ok_and(|link| link.is_symlink()) {
                let target = fs::canonicalize(path).ok();
                tree.link_targets.extend(target.and_then(|target| target.parent().map(Path::to_owned)));
            }
            let found = Found {
                path: path.to_owned(),
                stamp: Stamp::of(&metadata),
                distrust: distrust(path, &metadata),
            };
            tree.files.insert(below(root, path), found);
        }
        // A device or a pipe is no config, whatever its name.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Whether it is a config, a directory of them or neither cannot be told.
        Err(error) => {
            tree.unreadable.insert(path.to_owned(), error.to_string());
        }
    }
}

pub fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// Who can write a config decides what root runs.
fn distrust(path: &Path, metadata: &Metadata) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let path = path.display();
    if metadata.uid() != 0 {
        return Some(format!(
            "{path}: owned by uid {}, who decides what root runs; chown root",
            metadata.uid()
        ));
    }
    (metadata.mode() & 0o022 != 0)
        .then(|| format!("{path}: writable by its group or everybody, who decide what root runs; chmod go-w"))
}

/// The text and the stamp that the file had before and after it was read. `None`: it changed meanwhile.
pub fn read(path: &Path) -> Result<Option<(String, Stamp)>, String> {
    let error = |error: io::Error| format!("cannot read: {error}");
    // What was a file a moment ago may be a pipe that nobody writes to.
    let mut file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(error)?;
    let before = file.metadata().map_err(error)?;
    if !before.is_file() {
        return Err("not a regular file".into());
    }
    let mut bytes = Vec::new();
    file.by_ref().take(LONGEST_SOURCE + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > LONGEST_SOURCE {
        return Err(format!("larger than {} MiB", LONGEST_SOURCE >> 20));
    }
    let stamp = Stamp::of(&before);
    if stamp != Stamp::of(&file.metadata().map_err(error)?) {
        return Ok(None);
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
    Ok(Some((text, stamp)))
}

/// Reads the module at `name` below `root`. Symlinks may not lead out of it.
pub fn read_module(root: &Path, name: &str) -> Result<String, String> {
    let path = root.join(name);
    let missing = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such module".to_owned(),
        _ => format!("cannot read: {error}"),
    };
    let inside = fs::canonicalize(root).map_err(missing)?;
    if !fs::canonicalize(&path).map_err(missing)?.starts_with(&inside) {
        return Err("it lies outside the config directory".into());
    }
    match read(&path)? {
        Some((text, _)) => Ok(text),
        None => Err("it changed while it was read".into()),
    }
}
