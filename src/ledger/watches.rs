//! The SQL statements that record watches.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Result, Row, named_params};

use super::column::{self, invalid_column};
use super::records::{StoredWatch, WatchRecord};
use crate::model::{CommitNote, Pause, Version, WatchKey};
use crate::watch::{Event, Seen, Snapshot};

/// How long a watch that left its file stays recorded. After a month it is unlikely to come back.
const MAX_UNTOUCHED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Keeps the applied version, unless the watch moved to another store, where that version means nothing.
const UPSERT_WATCH: &str = "
    INSERT INTO watches (
        file, description, store, node, facet, members, definition,
        observed_state, observed_incarnation, observed_revision, observed_number, owed,
        discarded_incarnation, discarded_revision, discarded_number,
        held_incarnation, held_revision, held_number,
        admitted_incarnation, admitted_revision, admitted_number, applied_size,
        failures, stopped, paused, paused_by, paused_why, paused_at, paused_until,
        last_error, next_try, updated
    ) VALUES (
        :file, :description, :store, :node, :facet, :members, :definition,
        :observed_state, :observed_incarnation, :observed_revision, :observed_number, :owed,
        :discarded_incarnation, :discarded_revision, :discarded_number,
        :held_incarnation, :held_revision, :held_number,
        :admitted_incarnation, :admitted_revision, :admitted_number, :applied_size,
        :failures, :stopped, :paused, :paused_by, :paused_why, :paused_at, :paused_until,
        :last_error, :next_try, :updated
    )
    ON CONFLICT (file, description) DO UPDATE SET
        store = excluded.store,
        node = excluded.node,
        facet = excluded.facet,
        members = excluded.members,
        definition = excluded.definition,
        observed_state = excluded.observed_state,
        observed_incarnation = excluded.observed_incarnation,
        observed_revision = excluded.observed_revision,
        observed_number = excluded.observed_number,
        owed = excluded.owed,
        applied_incarnation = iif(store = excluded.store, applied_incarnation, NULL),
        applied_revision = iif(store = excluded.store, applied_revision, NULL),
        applied_number = iif(store = excluded.store, applied_number, NULL),
        applied_definition = iif(store = excluded.store, applied_definition, NULL),
        applied_at = iif(store = excluded.store, applied_at, NULL),
        discarded_incarnation = excluded.discarded_incarnation,
        discarded_revision = excluded.discarded_revision,
        discarded_number = excluded.discarded_number,
        held_incarnation = excluded.held_incarnation,
        held_revision = excluded.held_revision,
        held_number = excluded.held_number,
        admitted_incarnation = excluded.admitted_incarnation,
        admitted_revision = excluded.admitted_revision,
        admitted_number = excluded.admitted_number,
        applied_size = excluded.applied_size,
        failures = excluded.failures,
        stopped = excluded.stopped,
        paused = excluded.paused,
        paused_by = excluded.paused_by,
        paused_why = excluded.paused_why,
        paused_at = excluded.paused_at,
        paused_until = excluded.paused_until,
        -- A new daemon knows that the watch is failing, but not why.
        last_error = iif(
            excluded.failures > 0, coalesce(excluded.last_error, last_error), excluded.last_error
        ),
        next_try = excluded.next_try,
        updated = excluded.updated";

/// Does nothing if the version is recorded already, so that the time of the first record stays.
const UPDATE_APPLIED: &str = "
    UPDATE watches SET
        applied_incarnation = :incarnation, applied_revision = :revision, applied_number = :number,
        applied_definition = :definition, applied_at = :at,
        applied_commit_version = :commit_version, applied_commit_author = :commit_author,
        applied_commit_comment = :commit_comment, applied_commit_at = :at
    WHERE file = :file AND description = :description
        AND (
            (applied_incarnation, applied_revision, applied_number, applied_definition)
                IS NOT (:incarnation, :revision, :number, :definition)
            -- The record is of a program that did not know commits.
            OR :commit_version IS NOT NULL
                AND (applied_commit_at, applied_commit_version) IS NOT (applied_at, :commit_version)
        )";

const SELECT_WATCHES: &str = "SELECT * FROM watches WHERE file = :file";

/// Keeps a pause: the operator still wants it when the file comes back.
const RETIRE_WATCH: &str = "
    UPDATE watches SET
        observed_state = NULL, observed_incarnation = NULL, observed_revision = NULL, observed_number = NULL,
        owed = NULL,
        discarded_incarnation = NULL, discarded_revision = NULL, discarded_number = NULL,
        held_incarnation = NULL, held_revision = NULL, held_number = NULL,
        admitted_incarnation = NULL, admitted_revision = NULL, admitted_number = NULL,
        failures = 0, stopped = 0, last_error = NULL, next_try = NULL, updated = :updated
    WHERE file = :file AND description = :description";

pub(super) fn save_watch(connection: &Connection, record: &WatchRecord<'_>) -> Result<()> {
    let WatchRecord { watch, store, subject, definition, snapshot, applied_commit, last_error, next_try } =
        *record;
    let Snapshot {
        seen,
        pending,
        applied,
        discarded,
        held,
        admitted,
        applied_size,
        failures,
        stopped,
        ref pause,
    } = *snapshot;
    let now = column::millis(SystemTime::now());
    let definition = column::definition(definition);
    let (facet, members) = column::facet(subject.facet, &definition);
    let (state, observed) = match seen {
        None => (None, None),
        Some(Seen::Absent) => (Some("absent"), None),
        Some(Seen::Present(version)) => (Some("present"), Some(version)),
    };
    let incarnation = |version: Option<Version>| version.map(|version| version.incarnation);
    let revision = |version: Option<Version>| version.map(|version| version.revision);
    let number = |version: Option<Version>| version.map(|version| version.number);
    connection.prepare_cached(UPSERT_WATCH)?.execute(named_params! {
        ":file": &*watch.file,
        ":description": &*watch.description,
        ":store": store,
        ":node": subject.path.as_str(),
        ":facet": facet,
        ":members": members,
        ":definition": definition,
        ":observed_state": state,
        ":observed_incarnation": incarnation(observed),
        ":observed_revision": revision(observed),
        ":observed_number": number(observed),
        ":owed": pending.map(Event::as_str),
        ":discarded_incarnation": incarnation(discarded),
        ":discarded_revision": revision(discarded),
        ":discarded_number": number(discarded),
        ":held_incarnation": incarnation(held),
        ":held_revision": revision(held),
        ":held_number": number(held),
        ":admitted_incarnation": incarnation(admitted),
        ":admitted_revision": revision(admitted),
        ":admitted_number": number(admitted),
        // Sizes stay far below the nine exabytes at which this would wrap.
        ":applied_size": applied_size.map(u64::cast_signed),
        ":failures": failures,
        ":stopped": stopped,
        ":paused": pause.is_some(),
        ":paused_by": pause.as_ref().and_then(|pause| pause.by.as_deref()),
        ":paused_why": pause.as_ref().and_then(|pause| pause.why.as_deref()),
        ":paused_at": pause.as_ref().and_then(|pause| pause.since).map(column::millis),
        ":paused_until": pause.as_ref().and_then(|pause| pause.until).map(column::millis),
        ":last_error": last_error,
        ":next_try": next_try.map(column::millis),
        ":updated": now,
    })?;
    applied.map_or(Ok(()), |version| apply(connection, watch, version, applied_commit, &definition, now))
}

fn apply(
    connection: &Connection,
    watch: &WatchKey,
    version: Version,
    commit: Option<&CommitNote>,
    definition: &str,
    now: i64,
) -> Result<()> {
    connection.prepare_cached(UPDATE_APPLIED)?.execute(named_params! {
        ":file": &*watch.file,
        ":description": &*watch.description,
        ":incarnation": version.incarnation,
        ":revision": version.revision,
        ":number": version.number,
        ":definition": definition,
        ":at": now,
        ":commit_version": commit.map(|commit| commit.version),
        ":commit_author": commit.map(|commit| &commit.author),
        ":commit_comment": commit.map(|commit| &commit.comment),
    })?;
    Ok(())
}

pub(super) fn load_watches(connection: &Connection, file: &str) -> Result<HashMap<String, StoredWatch>> {
    connection.prepare_cached(SELECT_WATCHES)?.query_map(named_params! { ":file": file }, stored)?.collect()
}

pub(super) fn all(connection: &Connection) -> Result<Vec<(WatchKey, StoredWatch)>> {
    connection
        .prepare_cached("SELECT * FROM watches ORDER BY file, description")?
        .query_map([], |row| Ok((column::read_watch(row)?, stored(row)?.1)))?
        .collect()
}

fn stored(row: &Row<'_>) -> Result<(String, StoredWatch)> {
    let definition = column::read_definition(row, "definition")?;
    let applied = column::read_version(row, "applied")?;
    let applied_definition = column::read_definition(row, "applied_definition")?;
    let snapshot = Snapshot {
        seen: read_seen(row)?,
        pending: column::read_event(row, "owed")?,
        applied: applied.filter(|_| applied_definition == definition),
        discarded: column::read_version(row, "discarded")?,
        held: column::read_version(row, "held")?,
        admitted: column::read_version(row, "admitted")?,
        applied_size: row.get::<_, Option<i64>>("applied_size")?.map(i64::cast_unsigned),
        failures: row.get("failures")?,
        stopped: row.get("stopped")?,
        pause: read_pause(row)?,
    };
    let applied_commit = match snapshot.applied {
        Some(_) if row.get::<_, Option<i64>>("applied_commit_at")? == row.get("applied_at")? => {
            column::read_commit(row, "applied_commit")?
        }
        Some(_) | None => None,
    };
    let definition = definition.ok_or_else(|| invalid_column("definition", "missing"))?;
    let (store, subject) = (row.get("store")?, column::read_subject(row)?);
    let last_error = row.get("last_error")?;
    let stored = StoredWatch { store, subject, definition, snapshot, applied_commit, last_error };
    Ok((row.get("description")?, stored))
}

fn read_pause(row: &Row<'_>) -> Result<Option<Box<Pause>>> {
    if !row.get::<_, bool>("paused")? {
        return Ok(None);
    }
    Ok(Some(Box::new(Pause {
        by: row.get("paused_by")?,
        why: row.get("paused_why")?,
        since: column::read_optional_time(row, "paused_at")?,
        until: column::read_optional_time(row, "paused_until")?,
        // Set when a daemon recovers the watch.
        ends: None,
    })))
}

fn read_seen(row: &Row<'_>) -> Result<Option<Seen>> {
    let state = row.get::<_, Option<String>>("observed_state")?;
    match (state.as_deref(), column::read_version(row, "observed")?) {
        (None, _) => Ok(None),
        (Some("present"), Some(version)) => Ok(Some(Seen::Present(version))),
        (Some("absent"), _) => Ok(Some(Seen::Absent)),
        (Some(other), _) => Err(invalid_column("observed_state", other)),
    }
}

pub(super) fn retire(connection: &Connection, watch: &WatchKey) -> Result<()> {
    connection.prepare_cached(RETIRE_WATCH)?.execute(named_params! {
        ":file": &*watch.file,
        ":description": &*watch.description,
        ":updated": column::millis(SystemTime::now()),
    })?;
    Ok(())
}

/// Returns the watches that were not recorded for [`MAX_UNTOUCHED`].
pub(super) fn untouched(connection: &Connection) -> Result<Vec<WatchKey>> {
    let horizon = column::millis(SystemTime::now()).saturating_sub(column::duration(MAX_UNTOUCHED));
    connection
        .prepare("SELECT file, description FROM watches WHERE updated < ?1")?
        .query_map([horizon], column::read_watch)?
        .collect()
}

pub(super) fn forget(connection: &Connection, watch: &WatchKey) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM watches WHERE file = ?1 AND description = ?2")?
        .execute([&*watch.file, &*watch.description])?;
    Ok(())
}
