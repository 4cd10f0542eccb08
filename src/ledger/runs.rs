//! The statements about runs, and how many of them are kept.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};

use super::supervisor::Context;
use super::{Intent, RunOutcome, UnfinishedRun, column};
use crate::action::proc::ProcessId;
use crate::model::Version;

/// A busy host with a run a second has three hours in 10,000, a quiet one a month; either finds what went wrong last
/// night. A row takes some 300 bytes, so that is 3 MB at most, and 64 MB of output
/// (see [`crate::action::output::MAX_TAIL_BYTES`]).
pub(super) const DEFAULT_RETENTION: Retention =
    Retention { runs: 10_000, outputs: 1_000, age: Duration::from_secs(30 * 24 * 60 * 60), batch: 64 };

/// Where runs are few, old ones are looked for after this time.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How many rows are looked at for each new one: one keeps the number, the second catches up.
const ROWS_PER_RUN: i64 = 2;

#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub runs: i64,
    /// How many of the newest keep their output.
    pub outputs: i64,
    pub age: Duration,
    /// Old ones are looked for with every so many new ones: for each of them it would cost as much as the rest.
    pub batch: i64,
}

/// Takes old runs away, a few at a time, so that no call has many to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pruning {
    retention: Retention,
    newest: i64,
    /// When that was last, and which run was the newest then.
    pruned: Option<(Instant, i64)>,
    /// No run up to here has its output.
    output_pruned_to: i64,
    /// All up to here are gone, or go on.
    done: i64,
}

const INSERT_RUN: &str = "
    INSERT INTO runs (
        run, file, description, store, node, facet, definition, incarnation, revision, version, event, started, timeout, boot
    ) VALUES (
        :run, :file, :description, :store, :node, :facet, :definition, :incarnation, :revision, :version, :event, :started,
        :timeout, :boot
    )";

const STARTED: &str =
    "UPDATE runs SET pid = :pid, pid_started = :pid_started WHERE seq = :seq AND run = :run";

/// A run that outlasted so many later ones that theirs are gone has no output kept, either.
const ENDED: &str = "
    UPDATE runs SET
        ended = :ended, outcome = :outcome, exit_code = :exit_code, signal = :signal, error = :error,
        output = iif(seq > (SELECT max(seq) FROM runs) - :outputs, :output, NULL)
    WHERE seq = :seq AND run = :run";

const OLDEST: &str = "
    SELECT seq, started, outcome IS NULL FROM runs WHERE seq > ?1 ORDER BY seq LIMIT ?2";

pub(super) fn insert(connection: &Connection, context: &mut Context, intent: &Intent) -> Result<()> {
    let Intent { run, watch, store, subject, definition, version, event, started, timeout } = intent;
    let seq = connection.prepare_cached(INSERT_RUN)?.insert(named_params! {
        ":run": run,
        ":file": &*watch.file,
        ":description": &*watch.description,
        ":store": &**store,
        ":node": subject.path.as_str(),
        ":facet": subject.facet.as_str(),
        ":definition": column::definition(*definition),
        ":incarnation": version.incarnation,
        ":revision": version.revision,
        ":version": version.number,
        ":event": event.as_str(),
        ":started": column::millis(*started),
        ":timeout": timeout.map(column::duration),
        ":boot": &*context.boot,
    })?;
    context.rows.insert(run.clone(), seq);
    context.pruning.newest = seq;
    Ok(())
}

/// The same for one that may be there already.
pub(super) fn record_intent_again(
    connection: &Connection,
    context: &mut Context,
    intent: &Intent,
) -> Result<()> {
    let known = connection
        .prepare_cached("SELECT seq FROM runs WHERE run = ?1")?
        .query_row([&intent.run], |row| row.get(0))
        .optional()?;
    match known {
        Some(seq) => {
            context.rows.insert(intent.run.clone(), seq);
            Ok(())
        }
        None => insert(connection, context, intent),
    }
}

pub(super) fn started(
    connection: &Connection,
    context: &mut Context,
    run: &str,
    process: ProcessId,
) -> Result<()> {
    let Some(&seq) = context.rows.get(run) else { return Ok(()) };
    connection.prepare_cached(STARTED)?.execute(named_params! {
        ":seq": seq,
        ":run": run,
        ":pid": process.pid,
        // Ticks since the boot: 63 bits are enough for a while.
        ":pid_started": i64::try_from(process.started).unwrap_or(i64::MAX),
    })?;
    Ok(())
}

pub(super) fn ended(
    connection: &Connection,
    context: &mut Context,
    run: &str,
    how: RunOutcome<'_>,
    output: &[u8],
) -> Result<()> {
    let Some(&seq) = context.rows.get(run) else { return Ok(()) };
    connection.prepare_cached(ENDED)?.execute(named_params! {
        ":seq": seq,
        ":run": run,
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
    // Others name groups, or everybody.
    let pid = row.get::<_, Option<i32>>("pid")?.filter(|pid| *pid > 0);
    let started = row.get::<_, Option<i64>>("pid_started")?;
    let mark =
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
        started: column::read_time(row, "started")?,
        timeout: column::read_duration(row, "timeout")?,
    };
    let this_boot = row.get::<_, String>("boot")? == boot;
    Ok(UnfinishedRun { intent, process: pid.zip(started).map(mark), this_boot })
}

impl Pruning {
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, newest: 0, pruned: None, output_pruned_to: 0, done: 0 }
    }

    /// This one may be old, and has ended only now.
    fn reconsider(&mut self, seq: i64) {
        self.done = self.done.min(seq.saturating_sub(1));
    }

    /// Makes room, if enough runs were added since the last time, or enough time went by.
    fn prune(&mut self, connection: &Connection) -> Result<()> {
        let recent = |(at, newest): (Instant, i64)| {
            self.newest < newest.saturating_add(self.retention.batch) && at.elapsed() < PRUNE_INTERVAL
        };
        if self.pruned.is_some_and(recent) {
            return Ok(());
        }
        self.pruned = Some((Instant::now(), self.newest));
        let silent = self.newest.saturating_sub(self.retention.outputs);
        connection
            .prepare_cached(
                "UPDATE runs SET output = NULL WHERE seq > ?1 AND seq <= ?2 AND output IS NOT NULL",
            )?
            .execute([self.output_pruned_to, silent])?;
        self.output_pruned_to = self.output_pruned_to.max(silent);
        let horizon = column::millis(SystemTime::now()).saturating_sub(column::duration(self.retention.age));
        for (seq, started, goes_on) in self.oldest(connection)? {
            if seq > self.newest.saturating_sub(self.retention.runs) && started >= horizon {
                break;
            }
            if !goes_on {
                connection.prepare_cached("DELETE FROM runs WHERE seq = ?1")?.execute([seq])?;
            }
            self.done = seq;
        }
        Ok(())
    }

    /// The next ones to be looked at: their number, when they started, and whether they go on.
    fn oldest(&self, connection: &Connection) -> Result<Vec<(i64, i64, bool)>> {
        connection
            .prepare_cached(OLDEST)?
            .query_map((self.done, ROWS_PER_RUN * self.retention.batch), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
    }
}
