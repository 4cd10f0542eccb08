//! Keeps a ledger usable: finds out what is wrong with it, says so once, and gets it back.

use std::collections::HashMap;
use std::fs;
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::News;
use super::checkpoint::Checkpointer;
use super::database::{self, BUSY_TIMEOUT, Database};
use super::files::Files;
use super::runs::{BOUNDS, Bounds, Pruning};
use super::trouble::Trouble;

/// How long a lost ledger is left alone: a full disk is not emptied sooner, and a try may cost [`BUSY_TIMEOUT`].
const PAUSE: Duration = Duration::from_secs(10);

/// How long it is left alone at most if it gets lost over and over: two lines of log each time.
const MAX_PAUSE: Duration = Duration::from_secs(10 * 60);

/// A ledger that was back for less than so many pauses is lost over and over.
const STEADY: u32 = 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub pause: Duration,
    pub bounds: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pause: PAUSE, bounds: BOUNDS }
    }
}

/// What the statements need beside their arguments.
pub(super) struct Context {
    pub boot: String,
    pub pruning: Pruning,
    /// The rows of the runs that go on: there is no index on their names, which would cost each run a page. After
    /// trouble, some may be another's.
    pub rows: HashMap<String, i64>,
}

enum Health {
    Usable(Database),
    Lost { since: Instant },
}

impl Health {
    fn lost() -> Self {
        Health::Lost { since: Instant::now() }
    }
}

pub(super) struct Keeper {
    files: Files,
    context: Context,
    limits: Limits,
    health: Health,
    checkpointer: Checkpointer,
    news: Option<News>,
    /// Why the files that lie there must be set aside before anything is opened.
    doubt: Option<String>,
    /// That they were, as long as there was no new ledger to say it with.
    set_aside: Option<News>,
    /// Whether [`News::Lost`] was the last that was said.
    said_lost: bool,
    /// How long the ledger is left alone when it is lost.
    pause: Duration,
    /// Whether what a former daemon wrote was lost.
    forgotten: bool,
    /// When the ledger was made usable again.
    back: Option<Instant>,
    /// Why it was lost last.
    trouble: String,
}

impl Keeper {
    pub(super) fn open(state_dir: &Path, limits: Limits) -> Self {
        let files = Files::new(state_dir);
        // Without it, a process is told by its pid and start time alone.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut keeper = Self {
            checkpointer: Checkpointer::new(files.clone()),
            files,
            context: Context {
                boot: boot.trim().into(),
                pruning: Pruning::new(limits.bounds),
                rows: HashMap::new(),
            },
            health: Health::lost(),
            news: None,
            doubt: None,
            set_aside: None,
            said_lost: false,
            pause: limits.pause,
            forgotten: false,
            back: None,
            trouble: String::new(),
            limits,
        };
        let found = fs::symlink_metadata(keeper.files.main());
        let existed = found.is_ok();
        if found.is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0) {
            // SQLite takes it for a new one, and so would we.
            keeper.doubt = Some("it is empty".into());
        }
        match keeper.attempt() {
            Ok(database) => {
                keeper.health = Health::Usable(database);
                keeper.news = keeper.set_aside.take();
            }
            Err(trouble) => keeper.lose(trouble),
        }
        // What could be read of it is not all, if its last daemon could not write it either.
        keeper.forgotten = existed && keeper.news.is_some();
        keeper
    }

    pub(super) fn news(&mut self) -> Option<News> {
        self.news.take()
    }

    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten
    }

    pub(super) fn size(&self) -> u64 {
        self.files.size()
    }

    pub(super) fn is_dirty(&self) -> bool {
        match &self.health {
            Health::Usable(database) => database.is_dirty(),
            Health::Lost { .. } => false,
        }
    }

    pub(super) fn read<T: Default>(
        &mut self,
        query: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<T>,
    ) -> T {
        self.retry();
        let Health::Usable(database) = &self.health else {
            // What cannot be written may be read all the same.
            let found = self.look().and_then(|connection| Ok(query(&connection, &mut self.context)?));
            self.forgotten |= found.is_err() && self.files.exist();
            return found.unwrap_or_default();
        };
        let found = database.reader(&self.files);
        match found.and_then(|connection| Ok(query(connection, &mut self.context)?)) {
            Ok(found) => found,
            Err(trouble) => {
                self.recover(trouble);
                T::default()
            }
        }
    }

    /// A connection to a lost ledger: to one that is locked, or on a full or read-only disk. It has what was told until
    /// then, which makes things run again at worst.
    fn look(&self) -> Result<Connection, Trouble> {
        match &self.doubt {
            Some(reason) => Err(Trouble::Damaged(reason.clone())),
            None => database::look(&self.files),
        }
    }

    /// Does one write of about `size` bytes; to be committed.
    pub(super) fn write(
        &mut self,
        size: usize,
        statement: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<()>,
    ) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        let writer = database.writer(&self.files, size);
        let written = writer.and_then(|connection| Ok(statement(connection, &mut self.context)?));
        if let Err(trouble) = written {
            self.recover(trouble);
        }
    }

    /// Does `count` writes and commits them. A single one with nothing else to commit is a transaction of its own, which
    /// is the shortest way to the disk.
    pub(super) fn write_through(
        &mut self,
        count: usize,
        statements: impl FnOnce(&Connection, &mut Context) -> rusqlite::Result<()>,
    ) {
        if count != 1 || self.is_dirty() {
            self.write(0, statements);
            return self.commit();
        }
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        let writer = database.lone_writer(&self.files);
        let written = writer.and_then(|connection| Ok(statements(connection, &mut self.context)?));
        if let Err(trouble) = written {
            self.recover(trouble);
        }
    }

    pub(super) fn commit(&mut self) {
        self.retry();
        let Health::Usable(database) = &mut self.health else { return };
        if let Err(trouble) = database.commit(&self.files) {
            self.recover(trouble);
        } else if database.wants_checkpoint() && self.checkpointer.ask(database.marks()) {
            database.checkpoint_comes();
        }
    }

    #[cfg(test)]
    pub(super) fn checkpoint_ends(&mut self) -> bool {
        self.checkpointer.is_idle(Duration::from_secs(20))
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.health {
            Health::Lost { since } => Some(since + self.pause),
            Health::Usable(_) => None,
        }
    }

    /// Why it is lost, if it is.
    pub(super) fn trouble(&self) -> Option<&str> {
        match self.health {
            Health::Lost { .. } => Some(&self.trouble),
            Health::Usable(_) => None,
        }
    }

    /// Tries a lost ledger again, if it is time.
    pub(super) fn retry(&mut self) {
        match self.health {
            Health::Lost { since } if since.elapsed() >= self.pause => self.reopen(),
            Health::Lost { .. } | Health::Usable(_) => {}
        }
    }

    /// Whatever was not committed is lost; it is told again after the news.
    fn recover(&mut self, trouble: Trouble) {
        self.forgotten = true;
        if let Health::Usable(database) = mem::replace(&mut self.health, Health::lost()) {
            database.leave(&self.files);
        }
        match trouble {
            Trouble::Damaged(reason) | Trouble::Displaced(reason) => {
                self.doubt = Some(reason.clone());
                if self.is_unsteady() {
                    // Whatever does that will do it again: the log would fill with it.
                    self.lose(Trouble::Unusable(format!("again, {reason}")));
                } else {
                    self.reopen();
                }
            }
            Trouble::Unusable(_) => self.lose(trouble),
        }
    }

    fn reopen(&mut self) {
        match self.attempt() {
            Ok(database) => {
                self.health = Health::Usable(database);
                self.back = Some(Instant::now());
                self.said_lost = false;
                self.news = Some(self.set_aside.take().unwrap_or(News::Back));
            }
            Err(trouble) => self.lose(trouble),
        }
    }

    fn attempt(&mut self) -> Result<Database, Trouble> {
        self.files.check_dir()?;
        // It would open the old database and the new one's log, or read what is being renamed.
        if !self.checkpointer.is_idle(BUSY_TIMEOUT) {
            return Err(Trouble::Unusable(
                "its checkpoint does not end; see whether the disk is failing".into(),
            ));
        }
        self.put_aside()?;
        let database = match Database::open(&self.files) {
            Ok(database) => database,
            Err(Trouble::Damaged(reason) | Trouble::Displaced(reason)) => {
                self.doubt = Some(reason);
                self.put_aside()?;
                Database::open(&self.files)?
            }
            Err(trouble @ Trouble::Unusable(_)) => return Err(trouble),
        };
        self.context.pruning = Pruning::new(self.limits.bounds);
        Ok(database)
    }

    /// Sets aside the files that are in doubt, if any are.
    fn put_aside(&mut self) -> Result<(), Trouble> {
        let Some(reason) = &self.doubt else { return Ok(()) };
        let path = self.files.set_aside()?.map(|path| path.display().to_string());
        let reason = format!("{}: {reason}", self.files.main().display());
        self.doubt = None;
        self.set_aside = Some(News::SetAside { path, reason });
        Ok(())
    }

    /// Says so once, however often it is tried again.
    fn lose(&mut self, trouble: Trouble) {
        let (Trouble::Damaged(what) | Trouble::Displaced(what) | Trouble::Unusable(what)) = trouble;
        self.trouble = format!("{}: {what}", self.files.main().display());
        if !self.said_lost {
            self.said_lost = true;
            self.pause = if self.is_unsteady() { MAX_PAUSE.min(self.pause * 2) } else { self.limits.pause };
            self.news = Some(News::Lost { reason: self.trouble.clone() });
        }
        self.health = Health::lost();
    }

    fn is_unsteady(&self) -> bool {
        self.back.is_some_and(|back| back.elapsed() < self.pause * STEADY)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.checkpointer.end();
        if let Health::Usable(database) = mem::replace(&mut self.health, Health::lost()) {
            database.close(&self.files);
        }
    }
}
