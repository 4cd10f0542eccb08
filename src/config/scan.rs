//! Scans the config directory: finds the configs in it, with stamps that show whether they changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::libc::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, c_long, dev_t, ino_t, mode_t, off_t, time_t};
use nix::sys::stat::FileStat;

use super::modules::SCHEMA_EXTENSION;
use crate::text::{TextError, decode, is_invisible, printable, suggest};
use crate::trust::Trust;
use crate::trust::root::{Listing, OpenError, OpenedFile, Root};

/// The largest file. A config of 10,000 lines has half a megabyte.
const MAX_SOURCE_BYTES: u64 = 4 << 20;

/// How deep directories may be nested. People nest a few; thousands would overflow the stack of the scan.
const MAX_DEPTH: usize = 64;

/// The metadata that show whether a file changed. The change time (ctime) cannot be set, so an edit shows
/// even if it keeps the size and restores the modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: dev_t,
    inode: ino_t,
    size: off_t,
    modified: (time_t, c_long),
    changed: (time_t, c_long),
}

impl Stamp {
    pub fn is_of_empty_file(self) -> bool {
        self.size == 0
    }

    pub fn of(stat: &FileStat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// A config file.
#[derive(Clone, Debug)]
pub struct ScannedFile {
    pub path: PathBuf,
    /// The stamp, or the reason why the file is not trusted, as a text that follows the path.
    pub seen: Result<Stamp, String>,
}

/// The device and inode of a directory, which show whether another directory took its path.
pub type DirectoryId = (dev_t, ino_t);

/// The result of a scan.
#[derive(Debug, Default)]
pub struct ConfigTree {
    /// The config files by their path below the root.
    pub files: BTreeMap<String, ScannedFile>,
    pub directories: BTreeMap<PathBuf, DirectoryId>,
    /// Directories that cannot be read or are not trusted, with the reason as a text that follows the path.
    /// The files below them are not known.
    pub inaccessible: BTreeMap<PathBuf, String>,
    /// Links to nothing that are no configs, likewise. One may have led to a directory of configs.
    pub dangling: BTreeMap<PathBuf, String>,
    /// The symlinks that lead to configs, to directories or to nothing.
    pub links: BTreeSet<PathBuf>,
    /// Warnings about directories, and about files that look like configs and are none, each with its path.
    pub warnings: BTreeSet<(PathBuf, String)>,
}

impl ConfigTree {
    /// Whether `path` is below an inaccessible directory, so that it may exist although the scan did not find
    /// it.
    pub fn is_inaccessible(&self, path: &Path) -> bool {
        self.inaccessible.keys().any(|directory| path.starts_with(directory))
    }

    /// Adds a directory that cannot be opened.
    fn close(&mut self, path: &Path, error: &OpenError) {
        self.inaccessible.insert(path.to_owned(), error.reason_at(path));
        // Inotify watches it all the same, because its mode may be the reason and may change.
        self.directories.extend(identify(path).map(|id| (path.to_owned(), id)));
    }
}

/// Returns the identity of the directory at this path.
fn identify(directory: &Path) -> Option<DirectoryId> {
    let stat = nix::sys::stat::stat(directory).ok()?;
    (kind(&stat) == S_IFDIR).then_some((stat.st_dev, stat.st_ino))
}

/// Opens the config directory and finds the configs in it. Symlinks are followed, and names that start with a
/// dot are skipped.
pub fn scan(path: &Path, trust: Trust) -> (Option<Root>, ConfigTree) {
    match Root::open(path, trust) {
        Ok(root) => {
            let tree = scan_below(&root, Path::new(""));
            (Some(root), tree)
        }
        Err(error) => {
            let mut tree = ConfigTree::default();
            tree.close(path, &error);
            (None, tree)
        }
    }
}

/// Finds the configs in the directory `below` the root.
pub fn scan_below(root: &Root, below: &Path) -> ConfigTree {
    let mut walk = Walk { root, tree: ConfigTree::default(), above: Vec::new() };
    walk.directory(below);
    walk.tree
}

struct Walk<'a> {
    root: &'a Root,
    tree: ConfigTree,
    /// The directories from the root to the present one.
    above: Vec<DirectoryId>,
}

impl Walk<'_> {
    fn directory(&mut self, below: &Path) {
        let path = self.root.path_of(below);
        let listed = match self.root.list(below) {
            Ok(listed) => listed,
            // The directory was removed since its parent was listed. The root has no parent that was listed.
            Err(error) if error.is_missing() && !self.above.is_empty() => return,
            Err(error) => return self.tree.close(&path, &error),
        };
        let id = (listed.stat.st_dev, listed.stat.st_ino);
        // A symlink can lead back to a directory above it.
        if self.above.contains(&id) {
            return;
        }
        if self.above.len() > MAX_DEPTH {
            let reason = format!("more than {MAX_DEPTH} directories deep; move it up, or remove it");
            self.tree.inaccessible.insert(path, reason);
            return;
        }
        self.tree.directories.insert(path, id);
        let warning = listed.warning.clone();
        self.tree.warnings.extend(warning.map(|warning| (self.root.path_of(below), warning)));
        self.above.push(id);
        for name in &listed.names {
            if !name.as_encoded_bytes().starts_with(b".") {
                self.visit(below, &listed, name);
            }
        }
        self.above.pop();
    }

    fn visit(&mut self, directory: &Path, listed: &Listing, name: &OsStr) {
        let below = directory.join(name);
        let path = self.root.path_of(&below);
        let is_config = below.extension().is_some_and(|extension| extension == "twc");
        let mut is_link = false;
        let seen = match listed.stat(name) {
            Ok(stat) if kind(&stat) == S_IFLNK => {
                is_link = true;
                let target = self.root.look(&below);
                let leads_to_directory = target.as_ref().is_ok_and(|stat| kind(stat) == S_IFDIR);
                if is_config || leads_to_directory || target.as_ref().is_err_and(OpenError::is_missing) {
                    self.tree.links.insert(path.clone());
                }
                target
            }
            Ok(stat) => self.root.judge(&below, &stat).map(|()| stat).map_err(OpenError::from),
            Err(error) => Err(error.into()),
        };
        match (seen, below.to_str()) {
            (Ok(stat), _) if kind(&stat) == S_IFDIR => self.directory(&below),
            (Ok(stat), Some(name)) if kind(&stat) == S_IFREG && is_config => {
                self.tree.files.insert(name.to_owned(), ScannedFile { path, seen: Ok(Stamp::of(&stat)) });
            }
            (Ok(stat), None) if kind(&stat) == S_IFREG && is_config => {
                self.tree.inaccessible.insert(path, "its name is no UTF-8; rename it".to_owned());
            }
            (Ok(stat), _) if kind(&stat) == S_IFREG && looks_like_config(name) => {
                let shown = path.display();
                let warning =
                    format!("{shown}: not loaded, because its name does not end in .twc; rename it");
                self.tree.warnings.insert((path, warning));
            }
            // A device or a pipe is not a config, whatever its name.
            (Ok(_), _) => {}
            // The watches of a link stay while its target is away, as it is for a moment when somebody
            // replaces it. To remove them, people remove the link.
            (Err(error), name) if error.is_missing() && is_link => {
                let Some(reason) = leads_nowhere(&path) else { return };
                match name {
                    Some(name) if is_config => {
                        self.tree.files.insert(name.to_owned(), ScannedFile { path, seen: Err(reason) });
                    }
                    Some(_) | None => _ = self.tree.dangling.insert(path, reason),
                }
            }
            // The file was removed since the directory was listed.
            (Err(error), _) if error.is_missing() => {}
            (Err(OpenError::Untrusted(untrusted)), Some(name)) if is_config && !path.is_dir() => {
                let seen = Err(untrusted.reason_at(&path));
                self.tree.files.insert(name.to_owned(), ScannedFile { path, seen });
            }
            // This is neither a config nor a directory.
            (Err(OpenError::Untrusted(_)), _) if !is_config && !path.is_dir() => {}
            // This may be a config, a directory, or neither.
            (Err(error), _) => self.tree.close(&path, &error),
        }
    }
}

/// Returns why the link at `path` leads to nothing, as a text that follows the path. `None`: it is no link
/// any more.
fn leads_nowhere(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    let target = printable(target.as_os_str().as_encoded_bytes());
    Some(format!("a link to {target}, which does not exist; restore that, or remove the link"))
}

/// Whether a file that is no config has the name of one, as an editor or another system may write it. Names
/// such as `a.twc.bak` and `a.twc~` are no mistakes.
fn looks_like_config(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    let name = name.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    [".twc", ".twc.txt"].iter().any(|suffix| name.ends_with(suffix))
}

fn kind(stat: &FileStat) -> mode_t {
    stat.st_mode & S_IFMT
}

/// The text of a config file or module.
pub struct ConfigText {
    pub text: String,
    /// The stamp, which was the same before and after the read.
    pub stamp: Stamp,
    /// A warning about the permissions, if there is one.
    pub warning: Option<String>,
}

/// Reads the file at `below` in the config directory. `None`: the file changed during the read.
pub fn read(root: &Root, below: &Path) -> Result<Option<ConfigText>, TextError> {
    let opened = root.read(below).map_err(|error| error.reason_at(&root.path_of(below)))?;
    read_opened(opened)
}

fn read_opened(
    OpenedFile { mut file, stat: before, warning }: OpenedFile,
) -> Result<Option<ConfigText>, TextError> {
    let cannot = |error: std::io::Error| OpenError::from(error).to_string();
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_SOURCE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_SOURCE_BYTES {
        return Err(format!("larger than {} MiB", MAX_SOURCE_BYTES >> 20).into());
    }
    let stamp = Stamp::of(&before);
    let after = nix::sys::stat::fstat(&file).map_err(|error| cannot(error.into()))?;
    if stamp != Stamp::of(&after) {
        return Ok(None);
    }
    Ok(Some(ConfigText { text: decode(bytes)?, stamp, warning }))
}

/// Suggests a module that is beside the one that does not exist, or at the top.
fn near_module(root: &Root, name: &str) -> String {
    let stem = |name: &str| Path::new(name).with_extension("").to_string_lossy().into_owned();
    let beside = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
    let mut known = BTreeSet::new();
    for directory in [beside, PathBuf::new()] {
        let names = root.list(&directory).map(|listing| listing.names).unwrap_or_default();
        let modules = names.iter().filter_map(|name| name.to_str()?.strip_suffix(".rhai"));
        known.extend(modules.map(|module| directory.join(module).to_string_lossy().into_owned()));
    }
    suggest(&stem(name), known.iter().map(String::as_str))
}

/// Reads the module `name` in the config directory. Symlinks must not lead out of the directory.
pub fn read_module(root: &Root, name: &str) -> Result<String, String> {
    let path = root.path_of(Path::new(name));
    let missing = |error: OpenError| match error.is_missing() {
        true if name.ends_with(SCHEMA_EXTENSION) => "no such file".to_owned(),
        true => format!("no such module{}", near_module(root, name)),
        false => error.reason_at(&path),
    };
    let opened = root.read(Path::new(name)).map_err(missing)?;
    // With `Trust::Root`, such a file could not be opened.
    let canonical = |path: &Path| fs::canonicalize(path).map_err(|error| missing(error.into()));
    if root.trust() != Trust::Root && !canonical(&path)?.starts_with(canonical(root.path())?) {
        return Err("it lies outside the config directory".into());
    }
    let in_module = |error: TextError| match error.at {
        Some((line, column)) => format!("line {line}, column {column}: {}", error.reason),
        None => error.reason,
    };
    match read_opened(opened).map_err(in_module)? {
        Some(ConfigText { text, .. }) => Ok(text),
        None => Err("it changed while it was read".into()),
    }
}
