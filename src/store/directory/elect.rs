//! Standing for a leadership with a lock on a file, which the kernel gives up with the process.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::claim_file;
use super::client::DirectoryClient;
use super::settings::DirectorySettings;
use crate::store::backoff::jittered;
use crate::store::leadership::Candidacy;

/// The file that is locked. A name that starts with a dot names no node.
const FILE: &str = ".leader";

/// How often somebody asks for the lock, and looks whether the locked file is still in its place.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a leadership lasts without such a look, by [`Seat::lead`](crate::store::leadership::Seat::lead).
/// Nobody else can have the lock, however long that takes.
const HOLD: Duration = Duration::from_secs(60);

/// Starts the task of a candidate. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn elect(
    settings: DirectorySettings,
    candidacy: Candidacy,
    mut withdrawn: oneshot::Receiver<()>,
) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let client = DirectoryClient::new(&settings);
        let mut held: Option<Flock<File>> = None;
        loop {
            if held.as_ref().is_some_and(|held| !client.is_in_place(&candidacy, held)) {
                candidacy.seat.leave();
                held = None;
            }
            if held.is_none() {
                match client.take_lead(&candidacy) {
                    Ok(taken) => held = taken,
                    Err(why) => candidacy.seat.trouble(why),
                }
                // The lock's file may have been replaced between its opening and its locking.
                held = held.filter(|held| client.is_in_place(&candidacy, held));
            }
            if held.is_some() {
                candidacy.seat.lead(Instant::now(), HOLD);
            }
            tokio::select! {
                _ = &mut withdrawn => return,
                () = sleep(jittered(LOOK_AGAIN)) => {}
            }
        }
    })
}

impl DirectoryClient {
    /// Locks the file. `None` if somebody else has it.
    fn take_lead(&self, candidacy: &Candidacy) -> Result<Option<Flock<File>>, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("the election at {} is not possible: {error}", candidacy.path)
        };
        fs::create_dir_all(self.root()).map_err(|error| failed(&error))?;
        self.make_parents(&candidacy.path.child(FILE)).map_err(|error| failed(&error))?;
        let directory = self.locate(&candidacy.path).map_err(|error| failed(&error))?;
        let file = claim_file::open(&directory.join(FILE), true).map_err(|error| failed(&error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                // For people. The lock alone counts.
                let _ = write_name(&mut held, &candidacy.name);
                Ok(Some(held))
            }
            Err((_, Errno::EWOULDBLOCK)) => {
                candidacy.seat.follow();
                Ok(None)
            }
            Err((_, error)) => Err(failed(&error)),
        }
    }

    /// Whether the locked file is the one that others find.
    fn is_in_place(&self, candidacy: &Candidacy, held: &File) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let found = |directory: &Path| fs::symlink_metadata(directory.join(FILE)).map(identity).ok();
        let directory = self.locate(&candidacy.path).ok();
        let found = directory.as_deref().and_then(found);
        found.is_some() && found == held.metadata().map(identity).ok()
    }
}

fn write_name(held: &mut File, name: &str) -> io::Result<()> {
    held.rewind()?;
    held.set_len(0)?;
    writeln!(held, "{name}")
}
