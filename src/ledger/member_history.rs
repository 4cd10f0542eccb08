//! The queries of operators about the members of services.

use std::time::SystemTime;

use rusqlite::{Connection, Result, Row, named_params};
use serde::{Deserialize, Serialize};

use super::column;
use crate::text::Timestamp;

/// Selects announcements and withdrawals in the ledger.
#[derive(Clone, Debug, Default)]
pub struct MemberFilter {
    /// The full name of a service, or its description alone. The service need not be loaded.
    pub service: Option<String>,
    /// Only what happened then or later.
    pub since: Option<SystemTime>,
    /// Only what happened before.
    pub until: Option<SystemTime>,
}

/// A member was announced or withdrawn: a line of `GET /v1/members`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRecord {
    pub at: Timestamp,
    /// The service's name in log lines.
    pub service: String,
    pub store: String,
    /// The path of the member.
    pub member: String,
    /// `announced` or `withdrawn`.
    pub what: String,
}

const SELECT_PAGE: &str = "
    SELECT number, file, description, store, member, what, at
    FROM members
    WHERE number < :before
        AND (:service IS NULL OR description = :service OR file || ':' || description = :service)
        AND (:since IS NULL OR at >= :since)
        AND (:until IS NULL OR at < :until)
    ORDER BY number DESC LIMIT :count";

pub(super) fn page(
    connection: &Connection,
    filter: &MemberFilter,
    before: Option<i64>,
    count: usize,
) -> Result<Vec<(i64, MemberRecord)>> {
    connection
        .prepare_cached(SELECT_PAGE)?
        .query_map(
            named_params! {
                ":before": before.unwrap_or(i64::MAX),
                ":service": filter.service,
                ":since": filter.since.map(column::millis),
                ":until": filter.until.map(column::millis),
                ":count": i64::try_from(count).unwrap_or(i64::MAX),
            },
            |row| Ok((row.get("number")?, record(row)?)),
        )?
        .collect()
}

fn record(row: &Row<'_>) -> Result<MemberRecord> {
    Ok(MemberRecord {
        at: Timestamp(column::read_time(row, "at")?),
        service: column::read_watch(row)?.to_string(),
        store: row.get("store")?,
        member: row.get("member")?,
        what: row.get("what")?,
    })
}
