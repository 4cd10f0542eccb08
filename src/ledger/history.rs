//! The queries of operators about runs.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};
use serde::{Deserialize, Serialize};

use super::cause::RunCause;
use super::column;
use crate::text::Timestamp;

/// Selects runs of the ledger.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// The full name of a watch, or its description alone. The watch need not be loaded.
    pub watch: Option<String>,
    /// Only runs that failed, or whose outcome is unknown.
    pub failed: bool,
    /// Only runs that started then or later.
    pub since: Option<SystemTime>,
    /// Only runs that started before.
    pub until: Option<SystemTime>,
}

/// A run, ended or not: a line of `GET /v1/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub run: String,
    /// The watch's name in log lines.
    pub watch: String,
    pub znode: String,
    /// `data`, `children`, `tree` or `members`; empty in the reply of an older daemon.
    #[serde(default)]
    pub watch_type: String,
    pub event: String,
    /// The node's version. Of a commit, the action's TWITCHER_VERSION is that of [`RunCause::commit`].
    pub version: i64,
    #[serde(flatten)]
    pub cause: RunCause,
    pub started: Timestamp,
    /// `null` while it runs.
    pub seconds: Option<f64>,
    /// One of [`RunOutcome::NAMES`](super::RunOutcome::NAMES), or `running`.
    pub outcome: String,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Why the run was not started.
    pub error: Option<String>,
}

impl RunRecord {
    /// Returns the outcome in a few words, such as `exit code 1`.
    pub fn summary(&self) -> String {
        match (self.outcome.as_str(), self.exit_code, self.signal, &self.error) {
            ("exit", Some(code), _, _) => format!("exit code {code}"),
            ("signal", _, Some(signal), _) => format!("signal {signal}"),
            ("not_started", _, _, Some(error)) => error.clone(),
            ("not_started", _, _, None) => "not started".to_owned(),
            (outcome, ..) => outcome.to_owned(),
        }
    }
}

const SELECT_PAGE: &str = "
    SELECT
        seq, run, file, description, node, facet, members, definition, event, version,
        commit_version, commit_author, commit_comment, transaction_id, changed,
        started, ended, outcome, exit_code, signal, error
    FROM runs
    WHERE seq < :before
        AND (:watch IS NULL OR description = :watch OR file || ':' || description = :watch)
        AND (:since IS NULL OR started >= :since)
        AND (:until IS NULL OR started < :until)
        AND (NOT :failed OR outcome NOT IN ('success', 'interrupted'))
    ORDER BY seq DESC LIMIT :count";

const SELECT_OUTPUT: &str = "
    SELECT output FROM runs WHERE outcome IS NOT NULL AND (run = :run OR run LIKE '%-' || :number)
    ORDER BY seq DESC LIMIT 1";

pub(super) fn page(
    connection: &Connection,
    filter: &RunFilter,
    before: Option<i64>,
    count: usize,
) -> Result<Vec<(i64, RunRecord)>> {
    connection
        .prepare_cached(SELECT_PAGE)?
        .query_map(
            named_params! {
                ":before": before.unwrap_or(i64::MAX),
                ":watch": filter.watch,
                ":failed": filter.failed,
                ":since": filter.since.map(column::millis),
                ":until": filter.until.map(column::millis),
                ":count": i64::try_from(count).unwrap_or(i64::MAX),
            },
            |row| Ok((row.get("seq")?, record(row)?)),
        )?
        .collect()
}

fn record(row: &Row<'_>) -> Result<RunRecord> {
    let started = column::read_time(row, "started")?;
    let ended = column::read_optional_time(row, "ended")?;
    // The difference is negative if the clock was set back during the run.
    let took = ended.map(|ended| ended.duration_since(started).unwrap_or(Duration::ZERO));
    Ok(RunRecord {
        run: row.get("run")?,
        watch: column::read_watch(row)?.to_string(),
        znode: row.get("node")?,
        watch_type: column::read_facet(row)?.as_str().to_owned(),
        event: row.get("event")?,
        version: row.get("version")?,
        cause: column::read_cause(row)?,
        started: Timestamp(started),
        seconds: took.map(|took| took.as_secs_f64()),
        outcome: row.get::<_, Option<String>>("outcome")?.unwrap_or_else(|| "running".into()),
        exit_code: row.get("exit_code")?,
        signal: row.get("signal")?,
        error: row.get("error")?,
    })
}

pub(super) fn output(connection: &Connection, run: &str) -> Result<Option<Vec<u8>>> {
    // Other characters than digits could be wildcards of LIKE.
    let number = run.bytes().all(|byte| byte.is_ascii_digit()).then_some(run);
    connection
        .prepare_cached(SELECT_OUTPUT)?
        .query_row(named_params! { ":run": run, ":number": number }, |row| {
            Ok(row.get::<_, Option<Vec<u8>>>("output")?.unwrap_or_default())
        })
        .optional()
}
