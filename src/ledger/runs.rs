//! The SQL statements that record runs.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Result, Row, named_params};

use super::cause::RunCause;
use super::column;
use super::outcome::RunOutcome;
use super::records::{Intent, UnfinishedRun};
use super::retention::Pruning;
use crate::action::proc::ProcessId;
use crate::model::Version;

/// State that the statements need besides their arguments.
pub(super) struct Context {
    /// The kernel's id of the present boot.
    pub boot: String,
    pub pruning: Pruning,
    /// The row of each live run, by the run's id. The table has no index on ids, which would cost each run
    /// another page. A row of a replaced ledger may belong to another run, so statements compare both.
    pub rows: HashMap<String, i64>,
}

const INSERT_RUN: &str = "
    INSERT INTO runs (
        run, file, description, store, node, facet, members, definition,
        incarnation, revision, version, event, commit_version, commit_author, commit_comment, transaction_id,
        changed, started, timeout, boot
    ) VALUES (
        :run, :file, :description, :store, :node, :facet, :members, :definition,
        :incarnation, :revision, :version, :event, :commit_version, :commit_author, :commit_comment,
        :transaction_id, :changed, :started, :timeout, :boot
    )";

const STARTED: &str = "UPDATE runs SET pid = :pid, pid_started = :pid_started, timeout = :timeout
    WHERE seq = :seq AND run = :run";

/// Drops the output of a run that is older than all runs with output.
const ENDED: &str = "
    UPDATE runs SET
        pid = coalesce(:pid, pid), pid_started = coalesce(:pid_started, pid_started),
        ended = :ended, outcome = :outcome, exit_code = :exit_code, signal = :signal, error = :error,
        output = iif(seq > (SELECT max(seq) FROM runs) - :outputs, :output, NULL)
    WHERE seq = :seq AND run = :run";

pub(super) fn insert(connection: &Connection, context: &mut Context, intent: &Intent) -> Result<()> {
    let Intent { run, watch, store, subject, definition, version, event, cause, started, timeout } = intent;
    let RunCause { commit, transaction, changed } = cause;
    let commit = commit.as_deref();
    let definition = column::definition(*definition);
    let (facet, members) = column::facet(subject.facet, &definition);
    let seq = connection.prepare_cached(INSERT_RUN)?.insert(named_params! {
        ":run": run,
        ":file": &*watch.file,
        ":description": &*watch.description,
        ":store": &**store,
        ":node": subject.path.as_str(),
        ":facet": facet,
        ":members": members,
        ":definition": definition,
        ":incarnation": version.incarnation,
        ":revision": version.revision,
        ":version": version.number,
        ":event": event.as_str(),
        ":commit_version": commit.map(|commit| commit.version),
        ":commit_author": commit.map(|commit| &commit.author),
        ":commit_comment": commit.map(|commit| &commit.comment),
        ":transaction_id": transaction,
        ":changed": changed.map(|changed| column::millis(changed.0)),
        ":started": column::millis(*started),
        ":timeout": timeout.map(column::duration),
        ":boot": &*context.boot,
    })?;
    context.rows.insert(run.clone(), seq);
    context.pruning.newest = seq;
    Ok(())
}

/// Records a live run that may be recorded already.
pub(super) fn record_intent_again(
    connection: &Connection,
    context: &mut Context,
    intent: &Intent,
) -> Result<()> {
    if context.rows.contains_key(&intent.run) { Ok(()) } else { insert(connection, context, intent) }
}

/// Finds the rows of all runs whose end is not recorded.
pub(super) fn find_unfinished(connection: &Connection, context: &mut Context) -> Result<()> {
    let mut statement = connection.prepare("SELECT run, seq FROM runs WHERE outcome IS NULL")?;
    for row in statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (run, seq) = row?;
        context.rows.insert(run, seq);
    }
    Ok(())
}

pub(super) fn started(
    connection: &Connection,
    context: &mut Context,
    run: &str,
    process: ProcessId,
    timeout: Option<Duration>,
) -> Result<()> {
    let Some(&seq) = context.rows.get(run) else { return Ok(()) };
    connection.prepare_cached(STARTED)?.execute(named_params! {
        ":seq": seq,
        ":run": run,
        ":pid": process.pid,
        ":pid_started": pid_started(process),
        ":timeout": timeout.map(column::duration),
    })?;
    Ok(())
}

/// Clock ticks since the boot fit into 63 bits.
fn pid_started(process: ProcessId) -> i64 {
    i64::try_from(process.started).unwrap_or(i64::MAX)
}

pub(super) fn ended(
    connection: &Connection,
    context: &mut Context,
    run: &str,
    process: Option<ProcessId>,
    how: RunOutcome<'_>,
    output: &[u8],
) -> Result<()> {
    let Some(&seq) = context.rows.get(run) else { return Ok(()) };
    connection.prepare_cached(ENDED)?.execute(named_params! {
        ":seq": seq,
        ":run": run,
        ":pid": process.map(|process| process.pid),
        ":pid_started": process.map(pid_started),
        ":ended": column::millis(SystemTime::now()),
        ":outcome": how.name(),
        ":exit_code": how.exit_code(),
        ":signal": how.signal(),
        ":error": how.error(),
        ":output": (!output.is_empty()).then_some(output),
        ":outputs": context.pruning.retention.outputs,
    })?;
    context.rows.remove(run);
    context.pruning.reconsider(seq);
    context.pruning.prune(connection)
}

pub(super) fn unfinished(connection: &Connection, context: &mut Context) -> Result<Vec<UnfinishedRun>> {
    let Context { boot, rows, .. } = context;
    connection
        .prepare("SELECT * FROM runs WHERE outcome IS NULL ORDER BY seq")?
        .query_map([], |row| {
            let unfinished = read_unfinished(row, boot)?;
            rows.insert(unfinished.intent.run.clone(), row.get("seq")?);
            Ok(unfinished)
        })?
        .collect()
}

fn read_unfinished(row: &Row<'_>, boot: &str) -> Result<UnfinishedRun> {
    // kill(2) takes numbers below 1 for process groups, or for all processes.
    let pid = row.get::<_, Option<i32>>("pid")?.filter(|pid| *pid > 0);
    let started = row.get::<_, Option<i64>>("pid_started")?;
    let process_id =
        |(pid, started): (i32, i64)| ProcessId { pid, started: started.try_into().unwrap_or_default() };
    let intent = Intent {
        run: row.get("run")?,
        watch: column::read_watch(row)?,
        store: row.get("store")?,
        subject: column::read_subject(row)?,
        definition: column::read_definition(row, "definition")?.unwrap_or_default(),
        version: Version {
            incarnation: row.get("incarnation")?,
            revision: row.get("revision")?,
            number: row.get("version")?,
        },
        event: column::read_event(row, "event")?.ok_or_else(|| column::invalid_column("event", "missing"))?,
        cause: column::read_cause(row)?,
        started: column::read_time(row, "started")?,
        timeout: column::read_duration(row, "timeout")?,
    };
    let this_boot = row.get::<_, String>("boot")? == boot;
    Ok(UnfinishedRun { intent, process: pid.zip(started).map(process_id), this_boot })
}
