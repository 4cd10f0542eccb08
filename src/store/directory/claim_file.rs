//! The claim of a member: who keeps it, and which file it is.
//!
//! For whoever reads a node or lists its children, members whose keeper is dead are not there: nobody has the
//! lock, and nobody has written the claim for a session timeout. In that time the next keeper can take them
//! over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// What is before the name of a member in the name of its claim. A name that starts with a dot names no node.
const PREFIX: &str = ".twitcher-member-";

/// What is before the session timeout of the keeper, in seconds, in a line of a claim.
const TIMEOUT: &str = "timeout=";

/// The longest claim: an owner, a timeout and the numbers of two files.
const MAX_CLAIM: u64 = 4096;

/// What a claim says.
#[derive(Default)]
pub(super) struct Claim {
    pub(super) owner: String,
    /// How long the member outlives its keeper.
    pub(super) timeout: Duration,
    /// The inodes that are the member's file, or will be.
    pub(super) inodes: Vec<u64>,
}

/// Returns the name of the member that has a claim of this name.
pub(super) fn claimed_by(claim: &str) -> Option<&str> {
    claim.strip_prefix(PREFIX)
}

/// Whether somebody has claimed the node with this file as a member.
pub(super) fn is_claimed(file: &Path) -> bool {
    fs::symlink_metadata(claim_of(file)).is_ok()
}

/// Whether `file` is that of a member whose keeper is dead, and has been for its session timeout. In case of
/// doubt it is not.
pub(super) fn is_dead(file: &Path) -> bool {
    let look = || -> io::Result<bool> {
        let claim = open(&claim_of(file), false)?;
        let Ok(mut claim) = Flock::lock(claim, FlockArg::LockSharedNonblock) else { return Ok(false) };
        let Claim { owner: _, timeout, inodes } = read_claim(&mut claim)?;
        // A time in the future is no age.
        let age = claim.metadata()?.modified()?.elapsed().unwrap_or_default();
        Ok(age >= timeout && inodes.contains(&fs::symlink_metadata(file)?.ino()))
    };
    look().unwrap_or(false)
}

/// Returns the claim of the member with this file.
pub(super) fn claim_of(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default();
    let mut claim = std::ffi::OsString::from(PREFIX);
    claim.push(name);
    file.with_file_name(claim)
}

pub(super) fn open(claim: &Path, creates: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Somebody may have put a FIFO there.
    options.read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).mode(0o644);
    if creates {
        options.write(true).create(true).truncate(false);
    }
    options.open(claim)
}

/// Reads a claim. One that was not written to its end claims no file.
pub(super) fn read_claim(claim: &mut File) -> io::Result<Claim> {
    let mut text = String::new();
    claim.take(MAX_CLAIM).read_to_string(&mut text)?;
    let mut lines = text.lines();
    let mut found = Claim { owner: lines.next().unwrap_or_default().to_owned(), ..Claim::default() };
    for line in lines {
        match line.strip_prefix(TIMEOUT) {
            Some(seconds) => {
                let timeout = seconds.parse().ok().and_then(|it| Duration::try_from_secs_f64(it).ok());
                found.timeout = timeout.unwrap_or_default();
            }
            None => found.inodes.extend(line.parse::<u64>()),
        }
    }
    Ok(found)
}

pub(super) fn write_claim(
    claim: &mut File,
    owner: &str,
    timeout: Duration,
    inodes: impl Iterator<Item = u64>,
) -> io::Result<()> {
    let inodes: String = inodes.map(|inode| format!("{inode}\n")).collect();
    let lines = format!("{TIMEOUT}{}\n{inodes}", timeout.as_secs_f64());
    claim.rewind()?;
    claim.set_len(0)?;
    claim.write_all(format!("{owner}\n{lines}").as_bytes())?;
    claim.sync_all()
}
