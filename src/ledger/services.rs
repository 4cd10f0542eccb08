//! The SQL statements that record services, their members, what held these, and where they were.
//!
//! Ledgers of version 3 got these tables later than the others. An older program does not see them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};

use super::column;
use super::records::StoredService;
use crate::model::{MemberName, Pause, ServiceSpec, WatchKey};
use crate::service::Snapshot;

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS services (
        file TEXT NOT NULL,
        description TEXT NOT NULL,
        store TEXT NOT NULL,
        -- The path of the member.
        member TEXT NOT NULL,
        -- The fingerprint of the check, and the boot in which it said that the service is well.
        checked_by TEXT NOT NULL,
        boot TEXT NOT NULL,
        well INTEGER NOT NULL,
        paused INTEGER NOT NULL,
        paused_by TEXT,
        paused_why TEXT,
        paused_at INTEGER,
        paused_until INTEGER,
        updated INTEGER NOT NULL,
        PRIMARY KEY (file, description)
    );
    -- What held the members of this host in each store: sessions, leases, claims.
    CREATE TABLE IF NOT EXISTS owners (
        number INTEGER PRIMARY KEY,
        store TEXT NOT NULL,
        owner TEXT NOT NULL,
        opened INTEGER NOT NULL
    );
    -- When members were announced and withdrawn.
    CREATE TABLE IF NOT EXISTS members (
        number INTEGER PRIMARY KEY,
        file TEXT NOT NULL,
        description TEXT NOT NULL,
        store TEXT NOT NULL,
        member TEXT NOT NULL,
        what TEXT NOT NULL,
        at INTEGER NOT NULL
    );
    -- What tells the directory of a store from its mount point without the file system.
    CREATE TABLE IF NOT EXISTS roots (
        store TEXT PRIMARY KEY,
        memory TEXT NOT NULL
    );";

/// How long a service that left its file stays recorded, as for watches.
const MAX_UNTOUCHED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How many owners of a store are kept. One that is older than a few session timeouts has left nothing.
const MAX_OWNERS: i64 = 100;

/// How many announcements and withdrawals are kept.
const MAX_MEMBERS: i64 = 10_000;

const UPSERT: &str = "
    INSERT OR REPLACE INTO services (
        file, description, store, member, checked_by, boot, well,
        paused, paused_by, paused_why, paused_at, paused_until, updated
    ) VALUES (
        :file, :description, :store, :member, :checked_by, :boot, :well,
        :paused, :paused_by, :paused_why, :paused_at, :paused_until, :updated
    )";

pub(super) fn save(
    connection: &Connection,
    boot: &str,
    spec: &ServiceSpec,
    checked_by: u64,
    Snapshot { is_well, pause }: &Snapshot,
) -> Result<()> {
    let name = &spec.member.name;
    connection.prepare_cached(UPSERT)?.execute(named_params! {
        ":file": &*spec.id.file,
        ":description": &*spec.id.description,
        ":store": name.store.as_str(),
        ":member": name.path.as_str(),
        ":checked_by": column::definition(checked_by),
        ":boot": boot,
        ":well": is_well,
        ":paused": pause.is_some(),
        ":paused_by": pause.as_ref().and_then(|pause| pause.by.as_deref()),
        ":paused_why": pause.as_ref().and_then(|pause| pause.why.as_deref()),
        ":paused_at": pause.as_ref().and_then(|pause| pause.since).map(column::millis),
        ":paused_until": pause.as_ref().and_then(|pause| pause.until).map(column::millis),
        ":updated": column::millis(SystemTime::now()),
    })?;
    Ok(())
}

pub(super) fn load(
    connection: &Connection,
    boot: &str,
    file: &str,
) -> Result<HashMap<String, StoredService>> {
    connection
        .prepare_cached("SELECT * FROM services WHERE file = :file")?
        .query_map(named_params! { ":file": file }, |row| stored(row, boot))?
        .collect()
}

fn stored(row: &Row<'_>, boot: &str) -> Result<(String, StoredService)> {
    let pause = row.get::<_, bool>("paused")?.then(|| -> Result<_> {
        Ok(Box::new(Pause {
            by: row.get("paused_by")?,
            why: row.get("paused_why")?,
            since: column::read_optional_time(row, "paused_at")?,
            until: column::read_optional_time(row, "paused_until")?,
            // Set when a daemon recovers the service.
            ends: None,
        }))
    });
    let stored = StoredService {
        checked_by: column::read_definition(row, "checked_by")?,
        this_boot: row.get::<_, String>("boot")? == boot,
        is_well: row.get("well")?,
        pause: pause.transpose()?,
    };
    Ok((row.get("description")?, stored))
}

/// Keeps a pause: the operator still wants it when the file comes back.
pub(super) fn retire(connection: &Connection, service: &WatchKey) -> Result<()> {
    connection
        .prepare_cached("UPDATE services SET well = 0, updated = ?3 WHERE file = ?1 AND description = ?2")?
        .execute((&*service.file, &*service.description, column::millis(SystemTime::now())))?;
    let horizon = column::millis(SystemTime::now()).saturating_sub(column::duration(MAX_UNTOUCHED));
    connection.prepare_cached("DELETE FROM services WHERE well = 0 AND updated < ?1")?.execute([horizon])?;
    Ok(())
}

/// Forgets a service that has another name now, with a pause that went along.
pub(super) fn forget(connection: &Connection, service: &WatchKey) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM services WHERE file = ?1 AND description = ?2")?
        .execute((&*service.file, &*service.description))?;
    Ok(())
}

/// Records what a store has its next process told.
pub(super) fn remember(connection: &Connection, store: &str, memory: &str) -> Result<()> {
    let replace = "INSERT OR REPLACE INTO roots (store, memory) VALUES (?1, ?2)";
    connection.prepare_cached(replace)?.execute((store, memory))?;
    Ok(())
}

pub(super) fn memory(connection: &Connection, store: &str) -> Result<Option<String>> {
    let memory = "SELECT memory FROM roots WHERE store = ?1";
    connection.prepare_cached(memory)?.query_row([store], |row| row.get(0)).optional()
}

/// Records what holds the members of a store from now on.
pub(super) fn add_owner(connection: &Connection, store: &str, owner: &str) -> Result<()> {
    connection.prepare_cached("INSERT INTO owners (store, owner, opened) VALUES (?1, ?2, ?3)")?.execute((
        store,
        owner,
        column::millis(SystemTime::now()),
    ))?;
    let surplus = "DELETE FROM owners WHERE store = ?1 AND number NOT IN
        (SELECT number FROM owners WHERE store = ?1 ORDER BY number DESC LIMIT ?2)";
    connection.prepare_cached(surplus)?.execute((store, MAX_OWNERS))?;
    Ok(())
}

/// Returns what held the members of a store, the newest first.
pub(super) fn owners(connection: &Connection, store: &str) -> Result<Vec<String>> {
    connection
        .prepare_cached("SELECT owner FROM owners WHERE store = ?1 ORDER BY number DESC")?
        .query_map([store], |row| row.get(0))?
        .collect()
}

/// Records that a member was announced or withdrawn.
pub(super) fn add_member(
    connection: &Connection,
    service: &WatchKey,
    member: &MemberName,
    is_there: bool,
) -> Result<()> {
    let insert = "INSERT INTO members (file, description, store, member, what, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    connection.prepare_cached(insert)?.execute((
        &*service.file,
        &*service.description,
        member.store.as_str(),
        member.path.as_str(),
        if is_there { "announced" } else { "withdrawn" },
        column::millis(SystemTime::now()),
    ))?;
    let surplus = "DELETE FROM members WHERE number <= (SELECT max(number) FROM members) - ?1";
    connection.prepare_cached(surplus)?.execute([MAX_MEMBERS])?;
    Ok(())
}
