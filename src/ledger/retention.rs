//! Limits how many runs are kept, and deletes older ones.

use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, Result};

use super::column;

/// How many runs the ledger keeps, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub runs: i64,
    /// How many of the newest runs keep their output.
    pub outputs: i64,
    pub age: Duration,
    /// Old runs are deleted after this many new ones. A deletion per run would cost as much as the run's
    /// other writes.
    pub batch: i64,
}

impl Default for Retention {
    /// Keeps 10,000 runs, which are three hours of a host with a run a second, but none longer than a month.
    /// A row takes about 300 bytes, and the author and the comment of a commit at most 1,300 more, so the
    /// rows take at most 16 MB, and the outputs 64 MB (see
    /// [`MAX_TAIL_BYTES`](crate::action::output::MAX_TAIL_BYTES)).
    fn default() -> Self {
        Self { runs: 10_000, outputs: 1_000, age: Duration::from_secs(30 * 24 * 60 * 60), batch: 64 }
    }
}

/// Old runs are deleted after this time on a quiet host, where a batch takes long to fill.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How many old rows are examined per new run. One row keeps the number constant, the second reduces it if
/// there are too many.
const ROWS_PER_RUN: i64 = 2;

const SELECT_OLDEST: &str =
    "SELECT seq, started, outcome IS NULL FROM runs WHERE seq > ?1 ORDER BY seq LIMIT ?2";

const CLEAR_OUTPUTS: &str =
    "UPDATE runs SET output = NULL WHERE seq > ?1 AND seq <= ?2 AND output IS NOT NULL";

/// Deletes old runs, a few at a time, so that no call takes long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pruning {
    pub retention: Retention,
    /// Whether nothing is deleted now, because deletions make an oversized log larger.
    pub suspended: bool,
    /// The number of the newest run.
    pub newest: i64,
    /// The time of the last deletion, and the number of the newest run at that time.
    pruned: Option<(Instant, i64)>,
    /// The output of every run up to this number is deleted.
    output_pruned_to: i64,
    /// Every run up to this number is deleted or has not ended.
    done: i64,
}

impl Pruning {
    pub(super) fn new(retention: Retention) -> Self {
        Self { retention, suspended: false, newest: 0, pruned: None, output_pruned_to: 0, done: 0 }
    }

    /// Makes the next deletion examine a run that has just ended, because it may be old enough.
    pub(super) fn reconsider(&mut self, seq: i64) {
        self.done = self.done.min(seq.saturating_sub(1));
    }

    /// Deletes old runs if a batch of runs, or [`PRUNE_INTERVAL`], has passed since the last deletion.
    pub(super) fn prune(&mut self, connection: &Connection) -> Result<()> {
        let recent = |(at, newest): (Instant, i64)| {
            self.newest < newest.saturating_add(self.retention.batch) && at.elapsed() < PRUNE_INTERVAL
        };
        if self.suspended || self.pruned.is_some_and(recent) {
            return Ok(());
        }
        self.pruned = Some((Instant::now(), self.newest));
        let silent = self.newest.saturating_sub(self.retention.outputs);
        connection.prepare_cached(CLEAR_OUTPUTS)?.execute([self.output_pruned_to, silent])?;
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

    /// Reads the next runs to examine: their numbers, start times, and whether they still run.
    fn oldest(&self, connection: &Connection) -> Result<Vec<(i64, i64, bool)>> {
        connection
            .prepare_cached(SELECT_OLDEST)?
            .query_map((self.done, ROWS_PER_RUN * self.retention.batch), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
    }
}
