//! Converts values of the model to columns and back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};

use super::cause::RunCause;
use crate::model::{CommitNote, Facet, NodePath, Subject, Version, WatchKey};
use crate::text::Timestamp;
use crate::watch::Event;

pub(super) fn millis(time: SystemTime) -> i64 {
    duration(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn definition(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

pub(super) fn read_time(row: &Row<'_>, column: &str) -> Result<SystemTime> {
    let millis = row.get::<_, i64>(column)?;
    Ok(UNIX_EPOCH + Duration::from_millis(millis.min(Timestamp::MAX_MILLIS).try_into().unwrap_or_default()))
}

pub(super) fn read_optional_time(row: &Row<'_>, column: &str) -> Result<Option<SystemTime>> {
    row.get::<_, Option<i64>>(column)?.map(|_| read_time(row, column)).transpose()
}

pub(super) fn read_duration(row: &Row<'_>, column: &str) -> Result<Option<Duration>> {
    let millis = row.get::<_, Option<i64>>(column)?;
    Ok(millis.map(|millis| Duration::from_millis(millis.try_into().unwrap_or_default())))
}

pub(super) fn read_definition(row: &Row<'_>, column: &str) -> Result<Option<u64>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    u64::from_str_radix(&text, 16).map(Some).map_err(|error| invalid_column(column, error))
}

pub(super) fn read_subject(row: &Row<'_>) -> Result<Subject> {
    let path =
        NodePath::parse(&row.get::<_, String>("node")?).map_err(|error| invalid_column("node", error))?;
    Ok(Subject { path, facet: read_facet(row)? })
}

/// Reads the facet of a watch or of a run.
pub(super) fn read_facet(row: &Row<'_>) -> Result<Facet> {
    let members = row.get::<_, Option<String>>("members")?;
    if members.is_some() && members == row.get("definition")? {
        return Ok(Facet::Members);
    }
    let name = row.get::<_, String>("facet")?;
    let known = [Facet::Data, Facet::Children, Facet::Tree].into_iter().find(|known| known.as_str() == name);
    known.ok_or_else(|| invalid_column("facet", name))
}

/// Returns the columns `facet` and `members` of a watch or of a run with this definition. An older program,
/// which knows no members, reads `children`.
pub(super) fn facet(facet: Facet, definition: &str) -> (&'static str, Option<&str>) {
    match facet {
        Facet::Data | Facet::Children | Facet::Tree => (facet.as_str(), None),
        Facet::Members => (Facet::Children.as_str(), Some(definition)),
    }
}

/// Reads an event. One that this version does not know is from a later version with the same tables: what it
/// stands for is owed all the same.
pub(super) fn read_event(row: &Row<'_>, column: &str) -> Result<Option<Event>> {
    let name = row.get::<_, Option<String>>(column)?;
    let known = |name: String| Event::ALL.into_iter().find(|known| known.as_str() == name);
    Ok(name.map(|name| known(name).unwrap_or(Event::Changed)))
}

/// Reads a version from the three columns whose names begin with `what`.
pub(super) fn read_version(row: &Row<'_>, what: &str) -> Result<Option<Version>> {
    let part = |part: &str| row.get::<_, Option<i64>>(format!("{what}_{part}").as_str());
    let (incarnation, revision, number) = (part("incarnation")?, part("revision")?, part("number")?);
    Ok(incarnation.zip(revision).zip(number).map(|((incarnation, revision), number)| Version {
        incarnation,
        revision,
        number,
    }))
}

/// Reads what made a run.
pub(super) fn read_cause(row: &Row<'_>) -> Result<RunCause> {
    Ok(RunCause {
        commit: read_commit(row, "commit")?.map(Arc::new),
        transaction: row.get("transaction_id")?,
        changed: read_optional_time(row, "changed")?.map(Timestamp),
    })
}

/// Reads a commit from the three columns whose names begin with `what`.
pub(super) fn read_commit(row: &Row<'_>, what: &str) -> Result<Option<CommitNote>> {
    let Some(version) = row.get::<_, Option<i64>>(format!("{what}_version").as_str())? else {
        return Ok(None);
    };
    let text = |part: &str| row.get::<_, Option<String>>(format!("{what}_{part}").as_str());
    let (author, comment) = (text("author")?.unwrap_or_default(), text("comment")?.unwrap_or_default());
    Ok(Some(CommitNote { version, author, comment }))
}

pub(super) fn read_watch(row: &Row<'_>) -> Result<WatchKey> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(WatchKey { file: text("file")?.into(), description: text("description")?.into() })
}

/// Returns the error for a value that no daemon writes.
pub(super) fn invalid_column(
    column: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let error = format!("{column}: {}", error.into());
    Error::FromSqlConversionFailure(0, Type::Text, error.into())
}
