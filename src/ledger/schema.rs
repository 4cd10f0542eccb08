//! The tables of the ledger: how a ledger is told from other files, and how one of an older version becomes
//! one of the present version.

use rusqlite::{Connection, OptionalExtension, Result};

use super::error::LedgerError;
use super::services;

/// The version of the tables in `schema.sql`. It grows with every change that an older program could not
/// handle. A program that finds a newer version than its own does not touch the file.
const VERSION: i64 = 3;

/// The first version. All later ones are upgraded.
const OLDEST_VERSION: i64 = 1;

/// The program that wrote the file, in its header: "Twit" in ASCII. The first ledgers have 0 there.
const APPLICATION_ID: i64 = 0x5477_6974;

const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");

const TABLES: [&str; 2] = ["watches", "runs"];

/// The values of columns that an older version does not have: the table, the column and an expression. Other
/// new columns are NULL.
const ADDED: [(&str, &str, &str); 2] = [
    ("watches", "paused", "0"),
    (
        "runs",
        "store",
        "coalesce((SELECT store FROM watches WHERE (file, description) = (old.file, old.description)), '')",
    ),
];

/// The values of columns that an older version filled otherwise.
const CONVERTED: [(&str, &str, &str); 2] = [
    // There was one store, without a name.
    ("watches", "store", "iif(instr(store, ' ') = 0, 'default ' || store, store)"),
    ("runs", "outcome", "replace(outcome, 'not started', 'not_started')"),
];

/// What a database contains.
pub(super) enum Found {
    /// It has no tables yet.
    Nothing,
    /// A ledger of this version, which is at most [`VERSION`].
    Ledger { version: i64 },
}

/// Finds out what the database is, without a change. Refuses what this program must not touch.
pub(super) fn identify(connection: &Connection) -> std::result::Result<Found, LedgerError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let count = |condition: &str| {
        let query = format!("SELECT count(*) FROM sqlite_schema WHERE {condition}");
        connection.query_row(&query, [], |row| row.get::<_, i64>(0))
    };
    let has_tables = count("type = 'table' AND name IN ('watches', 'runs')")? == TABLES.len() as i64;
    match version {
        _ if ![0, APPLICATION_ID].contains(&application) => Err(foreign()),
        0 if count("TRUE")? == 0 => Ok(Found::Nothing),
        OLDEST_VERSION..=VERSION if has_tables => Ok(Found::Ledger { version }),
        _ if version > VERSION && (has_tables || application == APPLICATION_ID) => {
            Err(newer(version, writer(connection)?))
        }
        OLDEST_VERSION..=VERSION if application == APPLICATION_ID => {
            Err(LedgerError::Damaged("a table is missing".into()))
        }
        _ => Err(foreign()),
    }
}

/// Whether a ledger of this version has the present tables.
pub(super) fn is_present(connection: &Connection, version: i64) -> Result<bool> {
    for (table, column) in LATER {
        if is_without(connection, table, column)? {
            return Ok(false);
        }
    }
    Ok(version == VERSION)
}

/// The last column of each group that version 3 got later than the others. An older program keeps a pause
/// whose terms it does not see, takes members for children, and records no commit.
const LATER: [(&str, &str); 4] = [
    ("watches", "paused_until"),
    ("watches", "members"),
    ("watches", "applied_commit_at"),
    ("runs", "changed"),
];

/// Whether the ledger is older than a column of a table.
fn is_without(connection: &Connection, table: &str, column: &str) -> Result<bool> {
    let query = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    Ok(connection.query_row(query, [table, column], |row| row.get::<_, i64>(0))? == 0)
}

fn foreign() -> LedgerError {
    LedgerError::Refused(
        "it is another program's database; move it away, or use another state directory".into(),
    )
}

fn newer(version: i64, writer: Option<String>) -> LedgerError {
    let remedy = match writer.filter(|writer| writer != PROGRAM_VERSION) {
        Some(writer) => format!("start Twitcher {writer}, which wrote it last, or a later version"),
        None => "start the newer Twitcher that wrote it".to_owned(),
    };
    LedgerError::Refused(format!(
        "its version is {version}, and Twitcher {PROGRAM_VERSION} knows only versions up to {VERSION}; \
         {remedy}"
    ))
}

/// Returns the version of the program that wrote the ledger last, if the ledger says it.
fn writer(connection: &Connection) -> Result<Option<String>> {
    let has_table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'program'";
    if connection.query_row(has_table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    // A newer version may have another table of this name.
    Ok(connection.query_row("SELECT version FROM program", [], |row| row.get(0)).ok())
}

/// Creates the tables in an empty database, or upgrades an older ledger. The caller has a transaction open.
pub(super) fn prepare(connection: &Connection, found: &Found) -> std::result::Result<(), LedgerError> {
    match found {
        Found::Nothing => create(connection)?,
        Found::Ledger { version } => {
            check_watches(connection)?;
            if !is_present(connection, *version)? || has_old_checks(connection)? {
                upgrade(connection)?;
            }
            connection.execute_batch(PROGRAM_TABLE)?;
            connection.execute_batch(services::TABLES)?;
        }
    }
    if writer(connection)?.as_deref() != Some(PROGRAM_VERSION) {
        connection.execute("DELETE FROM program", [])?;
        connection.execute("INSERT INTO program (version) VALUES (?1)", [PROGRAM_VERSION])?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    // This write also finds out whether the database can be written.
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// Ledgers of version 3 got this table later than the others. An older program does not see it.
const PROGRAM_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS program (
        -- One row: the version of Twitcher that wrote this ledger last.
        version TEXT NOT NULL
    )";

pub(super) fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch(include_str!("schema.sql"))?;
    connection.execute_batch(PROGRAM_TABLE)?;
    connection.execute_batch(services::TABLES)
}

/// Whether the tables accept only the events that were known when they were created. The present tables
/// accept every word, so that a new event needs no new version.
fn has_old_checks(connection: &Connection) -> Result<bool> {
    let query = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('watches', 'runs')
        AND (sql LIKE '%CHECK (owed IN%' OR sql LIKE '%CHECK (event IN%')";
    Ok(connection.query_row(query, [], |row| row.get::<_, i64>(0))? > 0)
}

/// Replaces the tables by those of the present version, with all rows.
fn upgrade(connection: &Connection) -> Result<()> {
    // The views of an operator go on naming the tables, not the ones that are replaced.
    connection.execute_batch(
        "PRAGMA legacy_alter_table = ON;
        DROP VIEW IF EXISTS history;
        DROP VIEW IF EXISTS failing;
        DROP TRIGGER IF EXISTS resumed;
        ALTER TABLE watches RENAME TO old_watches;
        ALTER TABLE runs RENAME TO old_runs;",
    )?;
    create(connection)?;
    for table in TABLES {
        copy_rows(connection, ("main", &format!("old_{table}")), table, &[])?;
        connection.execute_batch(&format!("DROP TABLE old_{table}"))?;
    }
    connection.execute_batch("PRAGMA legacy_alter_table = OFF")
}

/// Returns the tables of an older ledger in the form of the present version, in memory, for a ledger that
/// cannot be written.
pub(super) fn upgraded_copy(uri: &str) -> Result<Connection> {
    let memory = empty()?;
    memory.execute("ATTACH ?1 AS old", [uri])?;
    for table in TABLES {
        // The output of runs can be large, and is not worth the memory.
        copy_rows(&memory, ("old", table), table, &["output"])?;
    }
    let has_services = "SELECT 1 FROM old.sqlite_schema WHERE type = 'table' AND name = 'services'";
    if memory.query_row(has_services, [], |_| Ok(())).optional()?.is_some() {
        copy_rows(&memory, ("old", "services"), "services", &[])?;
    }
    memory.execute_batch("DETACH old")?;
    Ok(memory)
}

/// Returns a ledger without rows, in memory.
pub(super) fn empty() -> Result<Connection> {
    let memory = Connection::open_in_memory()?;
    create(&memory)?;
    Ok(memory)
}

fn copy_rows(
    connection: &Connection,
    (schema, from): (&str, &str),
    to: &str,
    without: &[&str],
) -> Result<()> {
    let columns = |schema: &str, table: &str| -> Result<Vec<String>> {
        connection
            .prepare("SELECT name FROM pragma_table_info(?1, ?2)")?
            .query_map([table, schema], |row| row.get(0))?
            .collect()
    };
    let old = columns(schema, from)?;
    let mut copied: Vec<(String, String)> = Vec::new();
    for column in columns("main", to)?.into_iter().filter(|column| !without.contains(&column.as_str())) {
        let is_there = old.contains(&column);
        let table = if is_there { &CONVERTED } else { &ADDED };
        let value = table.iter().find(|(table, name, _)| (*table, *name) == (to, column.as_str()));
        match value {
            Some((_, _, value)) => copied.push((column, (*value).to_owned())),
            None if is_there => copied.push((column.clone(), column)),
            None => {}
        }
    }
    let (names, values): (Vec<_>, Vec<_>) = copied.into_iter().unzip();
    let (names, values) = (names.join(", "), values.join(", "));
    connection.execute_batch(&format!(
        "INSERT INTO main.{to} ({names}) SELECT {values} FROM {schema}.{from} AS old"
    ))
}

/// Checks the table of watches for damage, because the table is small and the daemon's decisions depend on
/// it. The table of runs can be a hundred times as large; its damage is found when a damaged row is read or
/// written.
pub(super) fn check_watches(connection: &Connection) -> std::result::Result<(), LedgerError> {
    let found = connection.query_row("PRAGMA quick_check(watches)", [], |row| row.get::<_, String>(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(LedgerError::Damaged(found))
}
