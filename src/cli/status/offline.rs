//! The status of watches as the ledger has it, while no daemon runs.

use crate::control::status::{PauseStatus, WatchStatus};
use crate::ledger::{Ledger, StoredWatch};
use crate::model::WatchKey;
use crate::watch::{Condition, Seen};

/// Returns the watches that a config file had registered when the last daemon ended.
pub fn watches(ledger: &mut Ledger) -> Result<Vec<WatchStatus>, String> {
    let all = ledger.all_watches()?;
    // Of a watch that left its file, nothing is seen any more.
    let registered = all.into_iter().filter(|(_, stored)| stored.snapshot.seen.is_some());
    Ok(registered.map(|(key, stored)| status(&key, stored)).collect())
}

fn status(key: &WatchKey, stored: StoredWatch) -> WatchStatus {
    let state = condition(&stored).as_str().to_owned();
    let StoredWatch { store, subject, snapshot, applied_commit, last_error, definition: _ } = stored;
    let version = match snapshot.seen {
        Some(Seen::Present(version)) => Some(version.number),
        Some(Seen::Absent) | None => None,
    };
    WatchStatus {
        watch: key.to_string(),
        file: key.file.to_string(),
        description: key.description.to_string(),
        // The ledger has the name of a store with its identity.
        store: store.split(' ').next().unwrap_or_default().to_owned(),
        znode: subject.path.to_string(),
        watch_type: subject.facet.as_str().to_owned(),
        state,
        registered: true,
        paused: snapshot.pause.is_some(),
        pause: snapshot.pause.as_deref().map(PauseStatus::from),
        stopped: snapshot.stopped,
        version,
        applied_version: snapshot
            .applied
            .filter(|applied| !applied.is_deletion())
            .map(|applied| applied.number),
        applied_commit,
        runs: Vec::new(),
        waiting: usize::from(snapshot.pending.is_some()),
        next_start_seconds: None,
        waits_for_place_seconds: None,
        failures: snapshot.failures,
        held: snapshot.held.map(|held| format!("version {} is held", held.number)),
        // As the daemon shows it: what stands before is for the log.
        error: last_error.map(|error| error.strip_prefix("failed: ").unwrap_or(&error).to_owned()),
        held_by: None,
        last_run: None,
        notified: false,
    }
}

fn condition(stored: &StoredWatch) -> Condition {
    let snapshot = &stored.snapshot;
    match () {
        () if snapshot.pause.is_some() => Condition::Paused,
        () if snapshot.stopped => Condition::Stopped,
        () if snapshot.held.is_some() => Condition::Held,
        () if snapshot.failures > 0 && snapshot.pending.is_some() => Condition::Retrying,
        () if snapshot.pending.is_some() => Condition::Waiting,
        () if snapshot.failures > 0 => Condition::Failed,
        () if snapshot.seen == Some(Seen::Absent)
            && snapshot.applied.is_some_and(|applied| !applied.is_deletion()) =>
        {
            Condition::Deleted
        }
        () if snapshot.seen == Some(Seen::Absent) => Condition::Absent,
        () => Condition::Idle,
    }
}
