//! The files of members, and the claims beside them.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::time::Instant;

use super::claim_file::{claim_of, open, read_claim, write_claim};
use super::client::DirectoryClient;
use super::file;
use super::root::{Look, Root, is_empty};
use super::settings::DirectorySettings;
use super::successor::Successor;
use crate::content;
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::member::{Found, Member, Stamp, Write, Wrote};
use crate::store::question::Apart;

/// How often a claim is written in a session timeout. One that comes late must not end a member.
const BEATS: u32 = 3;

pub(super) struct Claims {
    client: DirectoryClient,
    root: Root,
    successor: Successor,
    /// Whether the directory had any entry when it was looked at last.
    had_nodes: bool,
    /// Who holds the locks of this process.
    owner: String,
    /// How long the members outlive this process.
    timeout: Duration,
    /// When the claims are due to be written again.
    beat_at: Instant,
    /// Those that this process holds.
    held: HashMap<NodePath, Flock<File>>,
    /// How each member was when it was read last.
    seen: HashMap<NodePath, Option<State>>,
}

/// What a look at a member shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    owner: Option<String>,
    is_left: bool,
    stamp: Stamp,
}

impl Claims {
    pub(super) fn new(settings: &DirectorySettings, apart: &Apart) -> Self {
        let host = nix::sys::utsname::uname();
        let host = host.map(|name| name.nodename().to_string_lossy().into_owned()).unwrap_or_default();
        // A process id is used again.
        let number = fastrand::u64(..);
        let owner = format!("{host}:{}:{number:016x}", std::process::id());
        let client = DirectoryClient::new(settings);
        let path = std::path::absolute(client.root()).unwrap_or_else(|_| client.root().to_owned());
        let mut claims = Self {
            client,
            root: Root::new(path, Some(apart)),
            successor: Successor::new(Some(apart)),
            had_nodes: false,
            owner,
            timeout: settings.session_timeout,
            beat_at: Instant::now(),
            held: HashMap::new(),
            seen: HashMap::new(),
        };
        // A directory that takes the place of this one is known as another from now on. Each write looks
        // again, and says what is wrong.
        let _ = claims.require_root();
        claims
    }

    /// Refuses a directory that is missing, as who watches does: its name may be a mistake. A mount point
    /// without its file system is refused as well. A member in it would not be seen by others, and who
    /// watches would take the mount point for the store.
    fn require_root(&mut self) -> Result<(), String> {
        let look = self.root.look(self.had_nodes);
        if let Look::Same | Look::Another = look {
            self.had_nodes = !is_empty(self.root.path());
        }
        self.successor.remember(&mut self.root, self.had_nodes);
        match look {
            Look::Same | Look::Another => Ok(()),
            Look::Away(reason) => Err(reason),
            Look::BeyondReach => {
                let path = self.root.path().display();
                Err(format!("{path} is another directory now, to which another process will write"))
            }
        }
    }

    /// Shows that this process is alive: when it has died, the time of the last write says for how long.
    pub(super) fn beat(&mut self, now: Instant) {
        if now < self.beat_at {
            return;
        }
        self.beat_at = now + self.timeout / BEATS;
        for claim in self.held.values() {
            // If it fails, the member goes earlier after the death of this process.
            let _ = claim.write_at(&self.owner.as_bytes()[..1], 0);
        }
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// Reads a member. The error is for people.
    pub(super) fn read(&mut self, path: &NodePath) -> Result<Option<Found>, String> {
        let file = self.client.locate(path).map_err(|error| error.to_string())?;
        let state = self.look(path, &file).map_err(|error| error.to_string())?;
        self.seen.insert(path.clone(), state.clone());
        let Some(State { owner, is_left, stamp }) = state else { return Ok(None) };
        let data = file::read_data(self.client.root(), &file);
        let data = data.ok().and_then(|reading| content::read(&reading.content).ok().map(Into::into));
        Ok(Some(Found { owner, is_left, stamp, data }))
    }

    /// Returns the members that have changed since they were read.
    pub(super) fn changed(&mut self) -> Vec<NodePath> {
        let seen: Vec<_> = self.seen.iter().map(|(path, state)| (path.clone(), state.clone())).collect();
        let changed = seen.into_iter().filter(|(path, before)| {
            let Ok(file) = self.client.locate(path) else { return false };
            self.look(path, &file).is_ok_and(|now| now != *before)
        });
        changed.map(|(path, _)| path).collect()
    }

    fn look(&mut self, path: &NodePath, file: &Path) -> io::Result<Option<State>> {
        let claim_path = claim_of(file);
        // A claim that was removed with its directory claims nothing.
        let is_held = self.held.get(path).is_some_and(|held| is_at(held, &claim_path));
        if !is_held {
            self.held.remove(path);
        }
        let metadata = match fs::symlink_metadata(file) {
            Ok(metadata) => metadata,
            Err(error) if file::is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stamp = stamp(&metadata);
        if is_held {
            return Ok(Some(State { owner: Some(self.owner.clone()), is_left: false, stamp }));
        }
        // A shared lock: that of another one who looks is no sign of life.
        let state = match open(&claim_path, false) {
            Ok(claim) => {
                let (claim, is_left) = match Flock::lock(claim, FlockArg::LockSharedNonblock) {
                    Ok(mut claim) => (read_claim(&mut claim)?, true),
                    Err((mut claim, _)) => (read_claim(&mut claim)?, false),
                };
                let is_of_this = metadata.is_file() && claim.inodes.contains(&metadata.ino());
                let owner = (is_of_this || !is_left).then_some(claim.owner);
                State { owner, is_left: is_left && is_of_this, stamp }
            }
            Err(error) if file::is_absence(&error) => State { owner: None, is_left: false, stamp },
            Err(error) => return Err(error),
        };
        Ok(Some(state))
    }

    pub(super) async fn write(&mut self, path: &NodePath, write: Write) -> Wrote {
        match self.try_to_write(path, write).await {
            Ok(wrote) => wrote,
            Err(error) => Wrote::Refused(error.to_string()),
        }
    }

    async fn try_to_write(&mut self, path: &NodePath, write: Write) -> Result<Wrote, ClientError> {
        let file = self.client.locate(path)?;
        let failed = |right| move |error: io::Error| (right, error);
        if let Err(reason) = self.require_root() {
            return Ok(Wrote::Refused(reason));
        }
        let _store = self.client.lock(path).await?;
        let done = match write {
            Write::Parents => return self.client.make_parents(path).map(|()| Wrote::Done),
            Write::Create(member) => {
                if !file.parent().is_some_and(Path::is_dir) {
                    return Ok(Wrote::NoParent);
                }
                self.client.stay_inside(path, Right::Create, &file)?;
                self.put(&member, &file, None).map_err(failed(Right::Create))
            }
            Write::Replace(stamp, member) | Write::Set(stamp, member) => {
                self.client.stay_inside(path, Right::Write, &file)?;
                self.put(&member, &file, Some(stamp)).map_err(failed(Right::Write))
            }
            Write::Delete(stamp) => {
                self.client.stay_inside(path, Right::Remove, &file)?;
                self.delete(path, &file, Some(stamp)).map_err(failed(Right::Remove))
            }
        };
        done.map_err(|(right, error)| self.client.failed(path, right, error))
    }

    /// Puts the member's file in its place, in one step, if the place is free, or is as it was seen.
    fn put(&mut self, member: &Member, file: &Path, seen: Option<Stamp>) -> io::Result<Wrote> {
        let before = match fs::symlink_metadata(file) {
            Ok(metadata) => Some(metadata),
            Err(error) if file::is_absence(&error) => None,
            Err(error) => return Err(error),
        };
        if before.as_ref().map(stamp) != seen {
            return Ok(Wrote::Thwarted);
        }
        let claim_path = claim_of(file);
        let mut claim = match self.held.remove(&member.path) {
            Some(held) if is_at(&held, &claim_path) => held,
            _ => match Flock::lock(open(&claim_path, true)?, FlockArg::LockExclusiveNonblock) {
                Ok(claim) => claim,
                // Another one lives.
                Err(_) => return Ok(Wrote::Thwarted),
            },
        };
        let directory = file.parent().unwrap_or(Path::new("/"));
        let mut draft = tempfile::Builder::new()
            .prefix(".twitcher-")
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(directory)?;
        draft.write_all(&member.data)?;
        draft.as_file().sync_all()?;
        // Whichever of the two is there when this process dies, it is known to be left behind.
        let inodes = before.iter().map(MetadataExt::ino).chain([draft.as_file().metadata()?.ino()]);
        write_claim(&mut claim, &self.owner, self.timeout, inodes)?;
        match seen {
            Some(_) => drop(draft.persist(file).map_err(|error| error.error)?),
            None => match draft.persist_noclobber(file) {
                Ok(_) => {}
                Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                    let _ = fs::remove_file(&claim_path);
                    return Ok(Wrote::Thwarted);
                }
                Err(error) => return Err(error.error),
            },
        }
        self.held.insert(member.path.clone(), claim);
        Ok(Wrote::Done)
    }

    /// Removes the member's file and its claim, if it is as it was seen.
    fn delete(&mut self, path: &NodePath, file: &Path, seen: Option<Stamp>) -> io::Result<Wrote> {
        let now = self.look(path, file)?;
        let is_ours = now.as_ref().is_some_and(|now| now.is_left || now.owner.as_ref() == Some(&self.owner));
        if !is_ours || (seen.is_some() && now.map(|now| now.stamp) != seen) {
            return Ok(Wrote::Thwarted);
        }
        fs::remove_file(file)?;
        fs::remove_file(claim_of(file))?;
        self.held.remove(path);
        self.seen.remove(path);
        Ok(Wrote::Done)
    }

    /// Removes all members that this process holds.
    pub(super) async fn withdraw_all(&mut self) {
        let held: Vec<NodePath> = self.held.keys().cloned().collect();
        for path in held {
            let Ok(file) = self.client.locate(&path) else { continue };
            let _store = self.client.lock(&path).await;
            // Otherwise it is known to be left behind.
            let _ = self.delete(&path, &file, None);
        }
    }
}

/// Whether an open file is the one at this path.
fn is_at(opened: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (opened.metadata(), fs::symlink_metadata(path)) {
        (Ok(opened), Ok(there)) => id(opened) == id(there),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let mut hasher = DefaultHasher::new();
    file::Stamp::of(metadata).hash(&mut hasher);
    Stamp(hasher.finish().cast_signed())
}
