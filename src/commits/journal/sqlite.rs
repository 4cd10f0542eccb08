//! The journal in a file of SQLite, with one thread that writes and one that reads.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use super::error::JournalError;
use super::interface::{Answer, Conflict, Heads, Journal, PAGE_BYTES, Page, Size};
use super::statements::Statements;
use super::target::Table;
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;
use crate::model::Commit;

/// The version of the tables in `sqlite.sql`. It grows with every change that an older program could not
/// handle.
const VERSION: i64 = 1;

const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// How long a statement waits for another server's transaction, which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many saves one transaction has at most. They wait for one sync of the disk together.
const SAVES_PER_TRANSACTION: usize = 256;

/// How many saves or questions wait for their thread at most.
const QUEUE: usize = 1024;

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
    reply: oneshot::Sender<Result<Result<(), Conflict>, JournalError>>,
}

impl SqliteJournal {
    /// Opens or creates the file and its table.
    pub(super) async fn open(path: &Path, table: &Table) -> Result<Self, JournalError> {
        let (path, table) = (path.to_owned(), table.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let statements = Arc::new(Statements::new(include_str!("sqlite.sql"), &table));
            let mut writer = Store::open(&path, Arc::clone(&statements))?;
            writer.prepare(&table)?;
            Ok((writer, Store::open(&path, statements)?))
        });
        let (writer, reader) = opened.await.map_err(|error| unavailable(&error))??;
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
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |store| {
            // Who asked may have left.
            let _ = reply.send(store.check().and_then(|()| question(store)));
        });
        let sent = self.questions.try_send(question).map_err(|_| busy());
        async move {
            sent?;
            answer.await.map_err(|error| unavailable(&error))?
        }
        .boxed()
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
        let (reply, answer) = oneshot::channel();
        let sent = self.saves.try_send(Save { commit, reply }).map_err(|_| busy());
        async move {
            sent?;
            answer.await.map_err(|error| unavailable(&error))?
        }
        .boxed()
    }

    fn size(&self) -> Answer<'_, Size> {
        self.ask(Store::size)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), JournalError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|error| unavailable(&error))
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
        let transaction = transaction.map_err(|error| unavailable(&error))?;
        let prepared = (|| {
            let has_known: i64 = transaction.query_row(statements.get("has_known"), [], |row| row.get(0))?;
            let found = match has_known {
                0 => None,
                _ => transaction
                    .query_row(statements.get("find"), [table.as_str()], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                    })
                    .optional()?,
            };
            let has_table: i64 =
                transaction.query_row(statements.get("has_table"), [table.as_str()], |row| row.get(0))?;
            match (found, has_table) {
                (Some((VERSION, _)), 1..) => {}
                (None, 0) => {
                    transaction.execute(statements.get("known"), [])?;
                    transaction.execute(statements.get("create"), [])?;
                    transaction.execute(statements.get("note"), params![table.as_str(), VERSION, PROGRAM])?;
                }
                (Some((version, program)), 1..) => return Ok(Some(newer(table, version, &program))),
                (None, _) => {
                    return Ok(Some(format!(
                        "the table {table} was not made by Twitcher; name another with `table`"
                    )));
                }
                (Some(_), _) => return Ok(Some(format!("the table {table} was removed; restore a backup"))),
            }
            Ok(None)
        })();
        let refused = prepared.map_err(|error: rusqlite::Error| unavailable(&error))?;
        if let Some(why) = refused {
            return Err(JournalError::Refused(format!("{}: {why}", self.path.display())));
        }
        transaction.commit().map_err(|error| unavailable(&error))
    }

    fn heads(&self, page: &Page) -> Result<Heads, JournalError> {
        let failed = |error: rusqlite::Error| unavailable(&error);
        let mut statement = self.connection.prepare_cached(self.statements.get("heads")).map_err(failed)?;
        // Every key is after the empty text.
        let after = page.after.as_ref().map_or("", Key::as_str);
        let mut rows = statement.query(params![after, page.with_payloads]).map_err(failed)?;
        let (mut heads, mut bytes) = (Heads::default(), 0);
        while let Some(row) = rows.next().map_err(failed)? {
            if heads.commits.len() >= page.limit || bytes > PAGE_BYTES {
                heads.has_more = true;
                break;
            }
            let header = header(row)?;
            if header.empty && !page.with_removed {
                continue;
            }
            let payload = blob(row)?;
            bytes += payload.len();
            heads.commits.push(FullCommit { header, payload });
        }
        Ok(heads)
    }

    fn commit(&self, key: &Key, version: Option<i64>) -> Result<Option<FullCommit>, JournalError> {
        let failed = |error: rusqlite::Error| unavailable(&error);
        let statement = if version.is_some() { "commit" } else { "head" };
        let mut statement = self.connection.prepare_cached(self.statements.get(statement)).map_err(failed)?;
        let mut rows = match version {
            Some(version) => statement.query(params![key.as_str(), version]),
            None => statement.query([key.as_str()]),
        }
        .map_err(failed)?;
        match rows.next().map_err(failed)? {
            None => Ok(None),
            Some(row) => Ok(Some(FullCommit { header: header(row)?, payload: blob(row)? })),
        }
    }

    fn log(&self, key: &Key, before: Option<i64>, limit: usize) -> Result<Vec<Commit>, JournalError> {
        let failed = |error: rusqlite::Error| unavailable(&error);
        let mut statement = self.connection.prepare_cached(self.statements.get("log")).map_err(failed)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let before = before.unwrap_or(i64::MAX);
        let mut rows = statement.query(params![key.as_str(), before, limit]).map_err(failed)?;
        let mut headers = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            headers.push(header(row)?);
        }
        Ok(headers)
    }

    fn size(&self) -> Result<Size, JournalError> {
        let size = self.connection.query_row(self.statements.get("size"), [], |row| {
            Ok(Size {
                keys: row.get::<_, i64>(0)?.unsigned_abs(),
                commits: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        });
        size.map_err(|error| unavailable(&error))
    }

    /// Keeps the commits in one transaction, in order. An error means that none was kept.
    fn save_all(&mut self, commits: &[FullCommit]) -> Result<Vec<Result<(), Conflict>>, JournalError> {
        self.check()?;
        let statements = Arc::clone(&self.statements);
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let transaction = transaction.map_err(|error| unavailable(&error))?;
        let save = |commit: &FullCommit| -> rusqlite::Result<Result<(), Conflict>> {
            let Commit { key, version, author, comment, mtime, empty } = &commit.header;
            let last: i64 = transaction
                .prepare_cached(statements.get("last_version"))?
                .query_row([key], |row| row.get(0))?;
            if *version != last + 1 {
                return Ok(Err(Conflict { expected: last + 1 }));
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
        let results = results.map_err(|error| unavailable(&error))?;
        let (mut new_keys, mut kept) = (0, 0);
        for (commit, _) in commits.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
            new_keys += i64::from(commit.header.version == 1);
            kept += 1_i64;
        }
        if kept > 0 {
            let counted = transaction.execute(statements.get("count"), [new_keys, kept]);
            counted.map_err(|error| unavailable(&error))?;
        }
        transaction.commit().map_err(|error| unavailable(&error))?;
        Ok(results)
    }
}

fn newer(table: &Table, version: i64, program: &str) -> String {
    format!(
        "the table {table} has version {version}, and Twitcher {PROGRAM} knows only version {VERSION}; start \
         Twitcher {program} or a later one"
    )
}

fn header(row: &Row<'_>) -> Result<Commit, JournalError> {
    let read = || {
        Ok(Commit {
            key: row.get(0)?,
            version: row.get(1)?,
            author: row.get(2)?,
            comment: row.get(3)?,
            mtime: row.get(4)?,
            empty: row.get(5)?,
        })
    };
    read().map_err(|error: rusqlite::Error| unavailable(&error))
}

fn blob(row: &Row<'_>) -> Result<Vec<u8>, JournalError> {
    match row.get_ref(6) {
        Ok(ValueRef::Blob(bytes)) => Ok(bytes.to_vec()),
        Ok(_) => Err(JournalError::Unavailable("a payload is no blob".to_owned())),
        Err(error) => Err(unavailable(&error)),
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

fn unavailable(error: &dyn std::fmt::Display) -> JournalError {
    JournalError::Unavailable(error.to_string())
}

fn busy() -> JournalError {
    JournalError::Unavailable(format!("{QUEUE} requests wait for it already"))
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
