//! Nodes as files, for following them and for the commands.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc::{O_DIRECTORY, O_NOCTTY, O_NONBLOCK};

use super::claim_file;
use super::inside::{descriptor, explained, opened_inside, without_proc};
use crate::content::BlobReader;
use crate::model::{Blob, NodeContent, NodeFacet, NodePath, Origin, Version, children};
use crate::store::memory;
use crate::sys::BlobWriter;

/// The largest content of a node. ZooKeeper's own limit is 1 MiB. A file of more than 16 times that size is
/// no coordination data, and a log file that is put there by mistake must not fill the memory.
pub(super) const MAX_NODE_BYTES: u64 = 16 << 20;

/// How much is hashed at once.
const PART: usize = 64 << 10;

/// After so many names it is looked whether as many more fit into the memory.
const MEMORY_STEP: usize = 4096;

/// What a name takes in memory. A long one takes up to 256 bytes more, for which there is a reserve.
const MEAN_NAME: usize = 64;

/// Returns the file of the node `path`. The error is the component that names no node.
pub(super) fn locate<'a>(root: &Path, path: &'a NodePath) -> Result<PathBuf, &'a str> {
    let mut file = root.to_owned();
    for component in path.components() {
        if component.starts_with('.') {
            return Err(component);
        }
        file.push(component);
    }
    Ok(file)
}

/// [`locate`], for a node whose file is read.
pub(super) fn place(root: &Path, path: &NodePath) -> io::Result<PathBuf> {
    locate(root, path).map_err(|hidden| {
        io::Error::other(format!("{hidden:?} starts with a dot and names no node; rename it"))
    })
}

/// What tells two states of a file apart without reading it. The ctime is no part of it, because a chmod is
/// no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    /// Nanoseconds since the epoch; an `i64` holds those until the year 2262.
    mtime: i64,
    size: u64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mtime: metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec()),
            size: metadata.len(),
        }
    }

    /// Nanoseconds since the epoch.
    pub(super) fn mtime(self) -> i64 {
        self.mtime
    }

    /// The device is no part of it: disks and network file systems are numbered as they come, so that a
    /// reboot would change every node. The content is, because two writes within one tick of the file
    /// system's clock have one mtime.
    fn revision(self, content: &Blob) -> io::Result<i64> {
        let Self { device: _, inode, mtime, size } = self;
        let mut hasher = DefaultHasher::new();
        (inode, mtime, size, content.len()).hash(&mut hasher);
        let (mut reader, mut part) = (BlobReader::new(content, 0), vec![0; PART.min(content.len() as usize)]);
        while let length @ 1.. = reader.read(&mut part)? {
            hasher.write(&part[..length]);
        }
        Ok(hasher.finish().cast_signed())
    }
}

pub(super) struct Reading<T = NodeContent> {
    pub(super) content: T,
    pub(super) stamp: Stamp,
    /// Whether the file stayed as it was while it was read.
    pub(super) stable: bool,
    /// Whether this is an empty regular file, which may have been truncated to be written next.
    pub(super) is_empty_file: bool,
    /// Whether this is the data of a member, or children that include members. Keepers die without a hint.
    pub(super) has_members: bool,
    revision: i64,
}

impl<T> Reading<T> {
    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Reading<U> {
        let Self { content, stamp, stable, is_empty_file, has_members, revision } = self;
        Reading { content: convert(content), stamp, stable, is_empty_file, has_members, revision }
    }

    pub(super) fn version(&self, incarnation: i64) -> Version {
        Version { incarnation, revision: self.revision, number: self.stamp.mtime }
    }

    /// A directory has no transactions, but the time of the last change.
    pub(super) fn origin(&self) -> Origin {
        Origin { transaction: None, at: Some(self.stamp.mtime.div_euclid(1_000_000)) }
    }
}

/// Reads the node at `file` in the store at `root`; `None` if there is none. Never blocks, whatever kind of
/// file it is.
///
/// Links are followed, but not out of the store: people who can write in the store must not have the daemon
/// read for them what they cannot read themselves.
pub(super) fn read(root: &Path, file: &Path, facet: NodeFacet) -> io::Result<Option<Reading>> {
    let reading = match facet {
        NodeFacet::Data => read_data(root, file).map(|reading| reading.map(NodeContent::Data)),
        NodeFacet::Children => {
            read_children(root, file).map(|reading| reading.map(|names| NodeContent::Children(names.into())))
        }
    };
    match reading {
        Ok(reading) => Ok(Some(reading)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(explained(root, file, error)),
    }
}

/// Returns the stamp of the node at `file`, or `None` if there is none or it cannot be looked at.
pub(super) fn stamp(file: &Path) -> Option<Stamp> {
    fs::metadata(file).ok().as_ref().map(Stamp::of)
}

/// Returns true if the error means that there is no node, provided that the store itself is there. A path
/// through a file leads nowhere, like one through a missing directory: a node with data has no children.
///
/// No other error means this. A disk or a server that does not answer says nothing about the node.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(super) fn read_data(root: &Path, path: &Path) -> io::Result<Reading<Blob>> {
    // Looked at before it is opened, because opening a device can already do something.
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        let stamp = Stamp::of(&metadata);
        // A directory's own mtime depends on its entries, which are not its data.
        let revision = hash(&birth(&metadata));
        let (stable, is_empty_file, has_members) = (true, false, false);
        return Ok(Reading { content: Blob::default(), stamp, stable, is_empty_file, has_members, revision });
    }
    regular(&metadata)?;
    // The member of a keeper that died went with it, as a node of a session goes.
    let has_members = claim_file::is_claimed(path);
    if has_members && claim_file::is_dead(path) {
        return Err(ErrorKind::NotFound.into());
    }
    // A FIFO may have taken the file's place in between, and its writer must not be waited for.
    let mut file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    opened_inside(root, &file)?;
    let before = Stamp::of(&metadata);
    let content = read_all(&mut file, before.size)?;
    let after = Stamp::of(&file.metadata()?);
    let revision = after.revision(&content)?;
    let is_empty_file = content.is_empty();
    let stable = before == after;
    Ok(Reading { content, stamp: after, stable, is_empty_file, has_members, revision })
}

pub(super) fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(io::Error::other("it is neither a regular file nor a directory; remove it"))
}

/// Copies a file, which may grow meanwhile. No large one is ever whole in the memory of this process.
fn read_all(file: &mut File, expected: u64) -> io::Result<Blob> {
    let mut content = BlobWriter::default();
    if expected <= MAX_NODE_BYTES {
        io::copy(&mut file.take(MAX_NODE_BYTES + 1), &mut content)?;
    }
    if expected.max(content.position()) > MAX_NODE_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {} MiB; keep it below",
            MAX_NODE_BYTES >> 20
        )));
    }
    content.finish()
}

pub(super) fn read_children(root: &Path, path: &Path) -> io::Result<Reading<Vec<String>>> {
    let metadata = fs::metadata(path)?;
    let stamp = Stamp::of(&metadata);
    let (names, has_members) = if metadata.is_dir() {
        let directory = OpenOptions::new().read(true).custom_flags(O_DIRECTORY).open(path)?;
        opened_inside(root, &directory)?;
        list(&descriptor(&directory)).map_err(without_proc)?
    } else {
        (Vec::new(), false)
    };
    let stable = Stamp::of(&fs::metadata(path)?) == stamp || !metadata.is_dir();
    let revision = hash(&(metadata.is_dir().then(|| birth(&metadata)), &names));
    Ok(Reading { content: names, stamp, stable, is_empty_file: false, has_members, revision })
}

/// Returns what tells a directory from another that is made later under its name, while no daemon runs. The
/// inode number alone is not enough, because a file system may use it again at once. For the device, see
/// [`Stamp::revision`].
fn birth(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    // Not every file system knows the time of creation.
    (metadata.ino(), metadata.created().ok())
}

/// Returns the names of the nodes in the directory `path`, sorted. A name that is no UTF-8 or has a control
/// character names no node, as in ZooKeeper: with a newline in it, readers of a list would take it for two.
/// Members that dead keepers left are none.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    list(path).map(|(names, _)| names)
}

/// Returns the [`names`], and whether members are among them.
fn list(path: &Path) -> io::Result<(Vec<String>, bool)> {
    let (mut names, mut claimed) = (Vec::new(), BTreeSet::new());
    for entry in fs::read_dir(path)? {
        if names.len() % MEMORY_STEP == MEMORY_STEP - 1 {
            // The list grows, and is copied twice.
            let more = 3 * names.len() * size_of::<String>() + MEMORY_STEP * MEAN_NAME;
            memory::room_for(more as u64).map_err(io::Error::other)?;
        }
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if let Some(member) = claim_file::claimed_by(&name) {
            claimed.insert(member.to_owned());
        } else if !name.starts_with('.') && !name.chars().any(char::is_control) {
            names.push(name);
        }
    }
    names.retain(|name| !claimed.contains(name) || !claim_file::is_dead(&path.join(name)));
    Ok((children(names), !claimed.is_empty()))
}

/// Hashes to the same number in every process of one build, so that a restart changes no version.
fn hash(value: &impl Hash) -> i64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seal_copy;

    #[test]
    fn a_file_system_that_is_mounted_as_another_device_changes_no_version() {
        let stamp = Stamp { device: 1, inode: 2, mtime: 3, size: 4 };
        let revision = |stamp: Stamp, content: &[u8]| stamp.revision(&content.into()).unwrap();
        assert_eq!(revision(stamp, b"text"), revision(Stamp { device: 9, ..stamp }, b"text"));
        let others = [Stamp { inode: 9, ..stamp }, Stamp { mtime: 9, ..stamp }, Stamp { size: 9, ..stamp }];
        for other in others {
            assert_ne!(revision(stamp, b"text"), revision(other, b"text"));
        }
        assert_ne!(revision(stamp, b"text"), revision(stamp, b"else"));
    }

    /// Another one would be an update of every node when Twitcher is upgraded.
    #[test]
    fn the_revision_of_a_file_stays_what_it_always_was() {
        let stamp = Stamp { device: 1, inode: 2, mtime: 3, size: 4 };
        for length in [0, 1, 4, PART - 1, PART, 3 * PART + 7] {
            let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let before = hash(&(2_u64, 3_i64, 4_u64, &content[..]));
            assert_eq!(stamp.revision(&seal_copy(&content)).unwrap(), before, "{length} bytes");
        }
    }
}
