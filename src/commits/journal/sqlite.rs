//! The journal in a file of SQLite, with one thread that writes and one that reads.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::ask::{QUEUE, Reply, ask};
use super::error::{CorruptCommit, JournalError, unavailable};
use super::interface::{Answer, Conflict, Heads, Journal, Page, Size};
use super::schema::{Act, Found as FoundTable, PROGRAM, judge};
use super::statements::Statements;
use super::stored::{Found, checked};
use super::target::Table;
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;
use crate::model::Commit;

/// The version of the tables in `sqlite.sql`. It grows with every change that an older program could not
/// handle.
const VERSION: i64 = 1;

/// How long a statement waits for another server's transaction, which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many saves one transaction has at most. They wait for one sync of the disk together.
const SAVES_PER_TRANSACTION: usize = 256;

/// - `synchronous`: a commit is on the disk before the save is answered.
/// - `cache_size`: 1 MiB for each of the two connections.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -1024;
    PRAGMA temp_store = MEMORY;
";

type Question = Box<dyn FnOnce(&mut Store) + Send>;

/// A table of a file. Both threads end with it.
pub(super) struct SqliteJournal {
    saves: mpsc::SyncSender<Save>,
    questions: mpsc::SyncSender<Question>,
}

/// A commit that is to be kept, and who waits for it.
struct Save {
    commit: FullCommit,
    reply: Reply<Result<(), Conflict>>,
}

impl SqliteJournal {
    /// Opens or creates the file and its table.
    pub(super) async fn open(path: &Path, table: &Table) -> Result<Self, JournalError> {
        let (path, table) = (path.to_owned(), table.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let statements = Arc::new(Statements::new(include_str!("sqlite.sql"), &table));
            let mut writer = Store::open(&path, Arc::clone(&statements))?;
            writer.prepare(&table)?;
            Ok::<_, JournalError>((writer, Store::open(&path, statements)?))
        });
        let (writer, reader) = opened.await.map_err(unavailable)??;
        let (saves, waiting_saves) = mpsc::sync_channel(QUEUE);
        let (questions, waiting_questions) = mpsc::sync_channel(QUEUE);
        spawn("journal-writer", move || write(writer, &waiting_saves))?;
        spawn("journal-reader", move || read(reader, &waiting_questions))?;
        Ok(Self { saves, questions })
    }

    /// Has the reading thread answer a question.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Answer<'_, T> {
        ask(|reply| {
            let question: Question = Box::new(move |store| {
                // The asker may have left.
                if !reply.is_closed() {
                    let _ = reply.send(store.check().and_then(|()| question(store)));
                }
            });
            self.questions.try_send(question).is_ok()
        })
    }
}

impl Journal for SqliteJournal {
    fn heads<'a>(&'a self, page: &'a Page) -> Answer<'a, Heads> {
        let page = page.clone();
        self.ask(move |store| store.heads(&page))
    }

    fn commit<'a>(&'a self, key: &'a Key, version: Option<i64>) -> Answer<'a, Option<FullCommit>> {
        let key = key.clone();
        self.ask(move |store| store.commit(&key, version))
    }

    fn log<'a>(&'a self, key: &'a Key, before: Option<i64>, limit: usize) -> Answer<'a, Vec<Commit>> {
        let key = key.clone();
        self.ask(move |store| store.log(&key, before, limit))
    }

    fn save(&self, commit: FullCommit) -> Answer<'_, Result<(), Conflict>> {
        ask(|reply| self.saves.try_send(Save { commit, reply }).is_ok())
    }

    fn size(&self) -> Answer<'_, Size> {
        self.ask(Store::size)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), JournalError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(unavailable)
}

fn read(mut store: Store, questions: &mpsc::Receiver<Question>) {
    for question in questions {
        question(&mut store);
    }
}

/// Keeps what comes: all that waits, in one transaction.
fn write(mut store: Store, saves: &mpsc::Receiver<Save>) {
    for save in saves {
        let more = saves.try_iter().take(SAVES_PER_TRANSACTION - 1);
        let batch: Vec<Save> = std::iter::once(save).chain(more).collect();
        let (commits, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|save| (save.commit, save.reply)).unzip();
        let results = match store.save_all(&commits) {
            Ok(results) => results.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); replies.len()],
        };
        for (reply, result) in replies.into_iter().zip(results) {
            // Who saves may have left.
            let _ = reply.send(result);
        }
    }
}

/// A connection, and the file that it had when it was opened.
struct Store {
    connection: Connection,
    statements: Arc<Statements>,
    path: PathBuf,
    file: (u64, u64),
}

impl Store {
    fn open(path: &Path, statements: Arc<Statements>) -> Result<Self, JournalError> {
        let refused = |error: &dyn std::fmt::Display| {
            JournalError::Refused(format!("the journal {} cannot be opened: {error}", path.display()))
        };
        // Values of configurations can be secret.
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match created {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(refused(&error)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| refused(&error))?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| refused(&error))?;
        connection.execute_batch(SETTINGS).map_err(|error| refused(&error))?;
        let file = identity(path).map_err(|error| refused(&error))?;
        Ok(Self { connection, statements, path: path.to_owned(), file })
    }

    /// Checks that the path still names the file that is open: what is written into another one is lost.
    fn check(&self) -> Result<(), JournalError> {
        match identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) | Err(_) => Err(JournalError::Unavailable(format!(
                "{} was removed or replaced while it was open; put it back, or restart the server",
                self.path.display()
            ))),
        }
    }

    /// Makes the table, or checks that it is one that this program knows.
    fn prepare(&mut self, table: &Table) -> Result<(), JournalError> {
        let statements = Arc::clone(&self.statements);
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let transaction = transaction.map_err(unavailable)?;
        let prepared = (|| {
            let has_known: i64 = transaction.query_row(statements.get("has_known"), [], |row| row.get(0))?;
            let noted = match has_known {
                0 => None,
                _ => transaction
                    .query_row(statements.get("find"), [table.as_str()], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                    })
                    .optional()?,
            };
            let has_table: i64 =
                transaction.query_row(statements.get("has_table"), [table.as_str()], |row| row.get(0))?;
            match judge(table, VERSION, FoundTable { noted, has_table: has_table > 0 }) {
                Ok(Act::Use) => {}
                Ok(Act::Make) => {
                    transaction.execute(statements.get("known"), [])?;
                    transaction.execute(statements.get("create"), [])?;
                    transaction.execute(statements.get("note"), params![table.as_str(), VERSION, PROGRAM])?;
                }
                Err(why) => return Ok(Some(why)),
            }
            Ok(None)
        })();
        let refused = prepared.map_err(unavailable::<rusqlite::Error>)?;
        if let Some(why) = refused {
            return Err(JournalError::Refused(format!("{}: {why}", self.path.display())));
        }
        transaction.commit().map_err(unavailable)
    }

    fn heads(&self, page: &Page) -> Result<Heads, JournalError> {
        let failed = unavailable::<rusqlite::Error>;
        let statement = self.statements.get("next_head");
        // One for all keys of the page: to begin one costs as much as to read a key.
        let _transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let mut statement = self.connection.prepare_cached(statement).map_err(failed)?;
        // Every key is after the empty text.
        let mut after = page.after.as_ref().map_or("", Key::as_str).as_bytes().to_vec();
        let (mut found, mut bytes) = (Found::default(), 0);
        loop {
            let name = ToSqlOutput::Borrowed(ValueRef::Text(&after));
            let mut rows = statement.query(params![name, page.with_payloads]).map_err(failed)?;
            let Some(row) = rows.next().map_err(failed)? else { return Ok(found.page(false)) };
            if found.len() >= page.limit || bytes > page.bytes {
                return Ok(found.page(true));
            }
            let commit = commit(row);
            let name = row.get_ref(0).ok().and_then(|name| name.as_bytes().ok()).map(<[u8]>::to_vec);
            drop(rows);
            after = name.ok_or_else(|| unavailable("a key is no text"))?;
            match commit {
                Ok(commit) if commit.header.empty && !page.with_removed => {}
                commit => {
                    bytes += commit.as_ref().map_or(0, |commit| commit.payload.len());
                    found.add(commit);
                }
            }
        }
    }

    fn commit(&self, key: &Key, version: Option<i64>) -> Result<Option<FullCommit>, JournalError> {
        let failed = unavailable::<rusqlite::Error>;
        let statement = if version.is_some() { "commit" } else { "head" };
        let mut statement = self.connection.prepare_cached(self.statements.get(statement)).map_err(failed)?;
        let mut rows = match version {
            Some(version) => statement.query(params![key.as_str(), version]),
            None => statement.query([key.as_str()]),
        }
        .map_err(failed)?;
        match rows.next().map_err(failed)? {
            None => Ok(None),
            Some(row) => Ok(Some(commit(row)?)),
        }
    }

    fn log(&self, key: &Key, before: Option<i64>, limit: usize) -> Result<Vec<Commit>, JournalError> {
        let failed = unavailable::<rusqlite::Error>;
        let mut statement = self.connection.prepare_cached(self.statements.get("log")).map_err(failed)?;
        let before = before.unwrap_or(i64::MAX);
        let mut rows = statement.query(params![key.as_str(), before]).map_err(failed)?;
        let mut headers = Vec::new();
        while headers.len() < limit
            && let Some(row) = rows.next().map_err(failed)?
        {
            headers.extend(commit(row).ok().map(|commit| commit.header));
        }
        Ok(headers)
    }

    fn size(&self) -> Result<Size, JournalError> {
        let size = self.connection.query_row(self.statements.get("size"), [], |row| {
            Ok(Size {
                keys: row.get::<_, i64>(0)?.unsigned_abs(),
                commits: row.get::<_, i64>(1)?.unsigned_abs(),
                corrupt: 0,
            })
        });
        size.map_err(unavailable)
    }

    /// Keeps the commits in one transaction, in order. An error means that none was kept.
    fn save_all(&mut self, commits: &[FullCommit]) -> Result<Vec<Result<(), Conflict>>, JournalError> {
        self.check()?;
        let statements = Arc::clone(&self.statements);
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let transaction = transaction.map_err(unavailable)?;
        let save = |commit: &FullCommit| -> rusqlite::Result<Result<(), Conflict>> {
            let Commit { key, version, author, comment, mtime, empty } = &commit.header;
            let last: i64 = transaction
                .prepare_cached(statements.get("last_version"))?
                .query_row([key], |row| row.get(0))?;
            let expected = last.saturating_add(1);
            if *version != expected {
                return Ok(Err(Conflict { expected }));
            }
            transaction.prepare_cached(statements.get("save"))?.execute(params![
                key,
                version,
                author,
                comment,
                mtime,
                empty,
                commit.payload
            ])?;
            Ok(Ok(()))
        };
        // A transaction that is dropped is rolled back.
        let results = commits.iter().map(save).collect::<rusqlite::Result<Vec<_>>>();
        let results = results.map_err(unavailable)?;
        let (mut new_keys, mut kept) = (0, 0);
        for (commit, _) in commits.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
            new_keys += i64::from(commit.header.version == 1);
            kept += 1_i64;
        }
        if kept > 0 {
            let counted = transaction.execute(statements.get("count"), [new_keys, kept]);
            counted.map_err(unavailable)?;
        }
        transaction.commit().map_err(unavailable)?;
        Ok(results)
    }
}

/// Reads a row of the seven columns of a commit.
fn commit(row: &Row<'_>) -> Result<FullCommit, CorruptCommit> {
    let read = || {
        let header = Commit {
            key: row.get(0)?,
            version: row.get(1)?,
            author: row.get(2)?,
            comment: row.get(3)?,
            mtime: row.get(4)?,
            empty: row.get(5)?,
        };
        Ok(FullCommit { header, payload: row.get(6)? })
    };
    let commit = read().map_err(|error: rusqlite::Error| {
        let name = row.get_ref(0).ok().and_then(|name| name.as_bytes().ok()).unwrap_or_default();
        let key = String::from_utf8_lossy(name).into_owned();
        CorruptCommit { key, version: row.get(1).unwrap_or_default(), why: error.to_string() }
    })?;
    checked(commit)
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
