//! The thread of the cache: writes what was noted, and answers questions.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, combine};
use super::database::{Database, Files};
use super::notes::{Connection, Node, Note};
use super::rows::{self, Found, Place, Writer};
use super::shared::{BEAT, Batch, Question, Shared, Unwritten};
use super::trouble::Trouble;
use crate::model::NodePath;
use crate::report::{Report, Reporter};

/// What is degraded while the cache cannot be written.
const PART: &str = "cache";

/// The pause between two attempts to write. A full disk rarely gets space sooner.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// How often the cache is begun anew because it is damaged. After that, the disk is at fault.
const MAX_DAMAGES: u32 = 3;

/// How many bytes of contents and how many nodes are written in one transaction. SQLite's log, which grows by
/// as much, starts over after it.
const TRANSACTION_BYTES: u64 = 8 << 20;
const TRANSACTION_NODES: usize = 10_000;

/// How often nodes are forgotten that are not followed for long.
const PRUNE_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

pub struct Worker {
    shared: Arc<Shared>,
    files: Files,
    /// The most bytes that the file may have.
    limit: u64,
    log: Reporter,
    database: Option<Database>,
    /// How often the cache was found damaged.
    damages: u32,
    /// When the cache was last pruned.
    pruned: Option<Instant>,
    /// Why the cache cannot be written.
    trouble: Option<String>,
    /// Whether it was said that there is not enough room.
    has_said_full: bool,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, files: Files, limit: u64, log: Reporter) -> Self {
        Self {
            shared,
            files,
            limit,
            log,
            database: None,
            damages: 0,
            pruned: None,
            trouble: None,
            has_said_full: false,
        }
    }

    /// Works until the daemon ends.
    pub fn run(mut self) {
        // Questions may come before anything is noted.
        self.open();
        let (mut not_before, mut beat) = (self.retry_at(), Instant::now());
        loop {
            let work = self.shared.wait(not_before, beat);
            for question in work.questions {
                let Question { url, path, reply } = question;
                // The client may have left.
                let _ = reply.send(self.answer(&url, &path));
            }
            if work.is_write_due || work.is_closed {
                self.write();
                (not_before, beat) = (self.retry_at(), Instant::now() + BEAT);
            }
            if work.is_closed {
                return;
            }
        }
    }

    fn retry_at(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|_| Instant::now() + RETRY_PAUSE)
    }

    /// Opens the cache if it is not open, and begins it anew if it is damaged.
    fn open(&mut self) -> bool {
        if let Some(database) = &self.database
            && !self.files.has(database)
        {
            let what = format!("{} was removed or replaced; beginning a new cache", self.path());
            self.log.report(&Report::Problem { what: &what });
            self.database = None;
        }
        while self.database.is_none() {
            match self.files.open() {
                Ok(database) => {
                    self.shared.set_bytes(rows::used(&database.connection).unwrap_or_default());
                    self.database = Some(database);
                }
                Err(trouble) => {
                    if !self.handle(trouble) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Handles an error. Returns whether it is worth to try again at once.
    fn handle(&mut self, trouble: Trouble) -> bool {
        let why = match trouble {
            Trouble::Unavailable(why) => why,
            Trouble::Damaged(why) => {
                self.database = None;
                self.damages += 1;
                let set_aside = match self.damages {
                    ..=MAX_DAMAGES => self.files.set_aside().map_err(|error| error.to_string()),
                    _ => Err("again; check the disk".to_owned()),
                };
                match set_aside {
                    Ok(kept) => {
                        let (path, kept) = (self.path(), kept.display());
                        let what = format!("{path}: {why}; it is now {kept}, and the cache begins anew");
                        self.log.report(&Report::Problem { what: &what });
                        return true;
                    }
                    Err(error) => format!("{why}; {error}"),
                }
            }
        };
        let why = format!("{}: {why}", self.path());
        let what = format!("{why}; `twitcher get --cached` may have older contents meanwhile");
        self.log.degraded(PART, what);
        self.trouble = Some(why);
        false
    }

    fn path(&self) -> String {
        self.files.main().display().to_string()
    }

    /// Writes everything that was noted.
    fn write(&mut self) {
        let batch = self.shared.take_batch();
        // It may be writable by now.
        self.database.take_if(|database| database.is_read_only);
        loop {
            if !self.open() {
                return self.shared.put_back(batch);
            }
            let Some(database) = &self.database else { return self.shared.put_back(batch) };
            let prunes = self.pruned.is_none_or(|at| at.elapsed() >= PRUNE_INTERVAL);
            let written = write(&database.connection, &batch, self.limit, prunes);
            match written.and_then(|evicted| Ok((evicted, rows::used(&database.connection)?))) {
                Ok((evicted, bytes)) => {
                    self.shared.set_bytes(bytes);
                    self.trouble = None;
                    self.log.recovered(PART);
                    if prunes {
                        self.pruned = Some(Instant::now());
                    }
                    if evicted > 0 {
                        self.say_full();
                    }
                    return;
                }
                Err(trouble) => {
                    // This fails if SQLite has already given the transaction up.
                    let _ = database.connection.execute_batch("ROLLBACK");
                    if !self.handle(trouble) {
                        return self.shared.put_back(batch);
                    }
                }
            }
        }
    }

    fn say_full(&mut self) {
        if !mem::replace(&mut self.has_said_full, true) {
            let what = format!(
                "{}: the data of all nodes does not fit into {} bytes, so `twitcher get --cached` reads some \
                 of it from its store; raise `cache_size` in twitcher.toml",
                self.path(),
                self.limit
            );
            self.log.report(&Report::Problem { what: &what });
        }
    }

    fn answer(&mut self, url: &str, path: &NodePath) -> Answer {
        let Some(Unwritten { note, live, ended }) = self.shared.unwritten(url, path) else {
            return Answer::Unknown;
        };
        let Some(database) = &self.database else {
            let why = self.trouble.clone().unwrap_or_default();
            return match combine(None, note, live, |of| second(&ended, of)) {
                Answer::Unknown => Answer::Unusable(why),
                found => found,
            };
        };
        let connection = &database.connection;
        let found = rows::read(connection, url, path, note.seen.is_none());
        let row = match found {
            Ok(Found::Nothing) => None,
            Ok(Found::Row(row)) => Some(row),
            Ok(Found::Damaged) => {
                let cache = self.path();
                let why = format!("{cache}: what it has of node {path} in {url} is damaged; check the disk");
                let what = format!("{why}; forgetting it");
                self.log.report(&Report::Problem { what: &what });
                return Answer::Unusable(why);
            }
            Err(trouble) => {
                let why = format!("{}: {}", self.path(), trouble.why());
                if self.handle(trouble) {
                    // Otherwise questions had no answer until something is written.
                    self.open();
                }
                return Answer::Unusable(why);
            }
        };
        combine(row, note, live, |of| {
            second(&ended, of).or_else(|| rows::end_of(connection, of).ok().flatten())
        })
    }
}

fn second(ended: &[(Connection, i64)], of: Connection) -> Option<i64> {
    ended.iter().find(|(connection, _)| *connection == of).map(|(_, second)| *second)
}

/// Writes a batch. Returns how many nodes that are followed had to be forgotten.
fn write(connection: &rusqlite::Connection, batch: &Batch, limit: u64, prunes: bool) -> Result<u64, Trouble> {
    let mut writer = Writer { connection, limit, now: batch.now, evicted: 0 };
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let mut stores = HashMap::new();
    for (place, url) in batch.stores.iter().enumerate() {
        stores.insert(place, rows::store(connection, url)?);
    }
    let (mut nodes, mut bytes) = (0, 0);
    for (Node { store, path }, note) in batch.notes.iter() {
        // Until all notes are written, the database must not say that connections lasted so long.
        if nodes >= TRANSACTION_NODES || bytes >= TRANSACTION_BYTES {
            connection.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
            (nodes, bytes) = (0, 0);
        }
        nodes += 1;
        bytes += Note::bytes(note);
        let place = Place { store: stores[store], url: &batch.stores[*store], path };
        writer.write(&place, note)?;
    }
    for (of, until) in batch.ended.iter().copied() {
        rows::lasts(connection, of, until)?;
    }
    for of in batch.live.iter().copied() {
        rows::lasts(connection, of, batch.now)?;
    }
    for (store, followed) in &batch.settled {
        writer.settle(stores[store], |path| followed.contains(path))?;
    }
    if prunes {
        writer.prune(&stores.values().copied().collect::<Vec<_>>())?;
        writer.make_room(0)?;
    }
    connection.execute_batch("COMMIT")?;
    if prunes {
        rows::shrink(connection)?;
    }
    Ok(writer.evicted)
}
