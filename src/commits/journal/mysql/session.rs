//! A connection, and what the journal does with it.

use super::literal::Literal::{Bytes, Number};
use super::literal::{Literal, with_arguments};
use super::packet::malformed;
use super::row::{CommitRow, MAX_HEADER, number};
use super::wire::{Outcome, Row, Wire, WireError};
use crate::commits::commit::{FullCommit, encode};
use crate::commits::journal::address::ServerAddress;
use crate::commits::journal::error::{CorruptCommit, JournalError};
use crate::commits::journal::interface::{Conflict, Heads, Page, Size};
use crate::commits::journal::remote::{MAX_TRIES, Session};
use crate::commits::journal::schema::{Act, Found as FoundTable, PROGRAM, gone, judge};
use crate::commits::journal::statements::Statements;
use crate::commits::journal::stored::Found;
use crate::commits::journal::target::Table;
use crate::commits::key::Key;
use crate::model::Commit;

/// The version of the tables in `mysql.sql`. It grows with every change that an older program could not
/// handle.
const VERSION: i64 = 1;

/// The size of a packet that holds a payload of 1 MiB as digits, a header and the rest of a statement.
const MIN_PACKET: i64 = 4 << 20;

/// A server's codes of errors.
const DUPLICATE: u16 = 1062;
const DEADLOCK: u16 = 1213;

pub(crate) struct MySqlSession {
    wire: Wire,
    statements: Statements,
}

impl Session for MySqlSession {
    async fn connect(address: &ServerAddress, table: &Table, creates: bool) -> Result<Self, JournalError> {
        let away = |error: WireError| JournalError::Unavailable(format!("{address}: {error}"));
        let wire = Wire::connect(address).await.map_err(away)?;
        let statements = Statements::new(include_str!("../mysql.sql"), table);
        let mut session = Self { wire, statements };
        for statement in ["isolation", "limits"] {
            session.run(statement, &[]).await.map_err(away)?;
        }
        let largest = session.number("largest_packet", &[]).await?;
        let refused = |why: String| JournalError::Refused(format!("{address}: {why}"));
        if largest < MIN_PACKET {
            return Err(refused(format!(
                "max_allowed_packet is {largest}, and a commit needs {MIN_PACKET}; raise it"
            )));
        }
        let prepared = session.prepare(table, creates).await;
        prepared.map_err(|error| match error {
            JournalError::Refused(why) => refused(why),
            error => error,
        })?;
        Ok(session)
    }

    fn is_open(&mut self) -> bool {
        self.wire.is_quiet()
    }

    async fn end(self) {
        self.wire.quit().await;
    }

    async fn heads(&mut self, page: &Page) -> Result<Heads, JournalError> {
        // Every key is after the empty text.
        let mut after = page.after.as_ref().map_or("", Key::as_str).as_bytes().to_vec();
        let mut found = Found::default();
        let mut bytes = 0;
        loop {
            let missing = page.limit.max(1) - found.len();
            let (part, most) = match page.with_payloads {
                false => (missing, MAX_HEADER),
                true => (self.fitting(&after, missing, bytes, page).await?, i32::MAX as usize),
            };
            let rows = self.rows("heads", &[Bytes(&after), count(part), count(most)]).await?;
            let is_end = rows.len() < part;
            for row in rows {
                after.clone_from(&row.name);
                if row.is_empty() && !page.with_removed {
                    continue;
                }
                bytes += row.size();
                let mut commit = self.commit_of(row, page.with_payloads).await?;
                if !page.with_payloads
                    && let Ok(commit) = &mut commit
                {
                    commit.payload = Vec::new();
                }
                // The header can say so, too.
                if !page.with_removed && commit.as_ref().is_ok_and(|commit| commit.header.empty) {
                    continue;
                }
                found.add(commit);
            }
            if is_end {
                return Ok(found.page(false));
            }
            let is_full = found.len() >= page.limit || (page.with_payloads && bytes > page.bytes);
            match found.len() {
                // All of them are corrupt.
                0 => bytes = 0,
                _ if is_full => return Ok(found.page(true)),
                _ => {}
            }
        }
    }

    async fn commit(&mut self, key: &Key, version: Option<i64>) -> Result<Option<FullCommit>, JournalError> {
        let name = Bytes(key.as_str().as_bytes());
        let rows = match version {
            Some(version) => self.rows("commit", &[name, Number(version)]).await?,
            None => self.rows("head", &[name]).await?,
        };
        Ok(rows.first().map(CommitRow::commit).transpose()?)
    }

    async fn log(
        &mut self,
        key: &Key,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Commit>, JournalError> {
        let name = Bytes(key.as_str().as_bytes());
        let mut before = before.unwrap_or(i64::MAX);
        let mut headers = Vec::new();
        loop {
            let arguments = [name, Number(before), count(limit - headers.len()), count(MAX_HEADER)];
            let rows = self.rows("log", &arguments).await?;
            let last = rows.last().map(|row| row.version);
            for row in rows {
                headers.extend(self.commit_of(row, false).await?.ok().map(|commit| commit.header));
            }
            match last {
                Some(last) if headers.len() < limit => before = last,
                Some(_) | None => return Ok(headers),
            }
        }
    }

    async fn save(&mut self, commit: &FullCommit) -> Result<Result<(), Conflict>, JournalError> {
        let name = Bytes(commit.header.key.as_bytes());
        let (version, data) = (commit.header.version, encode(commit));
        let arguments = [name, Number(version), Bytes(&data), Number(commit.header.empty.into())];
        for _ in 0..MAX_TRIES {
            match self.run("save", &arguments).await {
                Ok(Outcome { written: 1.., .. }) => return Ok(Ok(())),
                // The version is wrong, or another one has just saved it.
                Ok(_) => {}
                Err(WireError::Refused(refusal)) if refusal.code == DUPLICATE => {}
                // The server has done nothing.
                Err(WireError::Refused(refusal)) if refusal.code == DEADLOCK => continue,
                Err(error) => return Err(failed(error)),
            }
            let last = self.number("last_version", &[name]).await?;
            let expected = last.saturating_add(1);
            if expected != version {
                return Ok(Err(Conflict { expected }));
            }
        }
        Err(JournalError::Unavailable("others hold this key for too long".to_owned()))
    }

    async fn size(&mut self) -> Result<Size, JournalError> {
        let Outcome { rows, .. } = self.run("size", &[]).await.map_err(failed)?;
        let counts: Vec<u64> = rows
            .into_iter()
            .flatten()
            .map(|value| number(&value.unwrap_or_default()).unsigned_abs())
            .collect();
        let at = |index: usize| counts.get(index).copied().unwrap_or_default();
        Ok(Size { keys: at(0), commits: at(1), corrupt: 0 })
    }
}

impl MySqlSession {
    async fn run(&mut self, statement: &str, arguments: &[Literal<'_>]) -> Result<Outcome, WireError> {
        let statement = with_arguments(&without_comments(self.statements.get(statement)), arguments);
        self.wire.run(&statement).await
    }

    async fn rows(
        &mut self,
        statement: &str,
        arguments: &[Literal<'_>],
    ) -> Result<Vec<CommitRow>, JournalError> {
        let Outcome { rows, .. } = self.run(statement, arguments).await.map_err(failed)?;
        Ok(rows.into_iter().map(CommitRow::read).collect())
    }

    /// Returns the number that a statement gives.
    async fn number(&mut self, statement: &str, arguments: &[Literal<'_>]) -> Result<i64, JournalError> {
        let Outcome { rows, .. } = self.run(statement, arguments).await.map_err(failed)?;
        Ok(rows.into_iter().flatten().flatten().next().map_or(0, |value| number(&value)))
    }

    /// Returns how many of the next keys' payloads fit into a page that has so many bytes already; at least
    /// one, and at most so many.
    async fn fitting(
        &mut self,
        after: &[u8],
        most: usize,
        mut bytes: usize,
        page: &Page,
    ) -> Result<usize, JournalError> {
        let Outcome { rows, .. } = self.run("sizes", &[Bytes(after), count(most)]).await.map_err(failed)?;
        for (index, row) in rows.iter().enumerate() {
            let column = |index: usize| row.get(index).and_then(Option::as_deref).map_or(0, number);
            if column(0) == 0 || page.with_removed {
                bytes += usize::try_from(column(1)).unwrap_or_default();
            }
            if bytes > page.bytes {
                return Ok(index + 1);
            }
        }
        Ok(most)
    }

    /// Makes a row a commit. Reads it as a whole if its header may have been cut.
    async fn commit_of(
        &mut self,
        row: CommitRow,
        is_whole: bool,
    ) -> Result<Result<FullCommit, CorruptCommit>, JournalError> {
        let commit = row.commit();
        if commit.is_ok() || is_whole || !row.may_be_cut() {
            return Ok(commit);
        }
        let rows = self.rows("commit", &[Bytes(&row.name), Number(row.version)]).await?;
        Ok(rows.first().map_or(commit, CommitRow::commit))
    }

    /// Makes the table, or checks that it is one that this program knows: also one that Rainer has made,
    /// which is served as it is.
    async fn prepare(&mut self, table: &Table, creates: bool) -> Result<(), JournalError> {
        if creates && self.number("lock", &[]).await? != 1 {
            return Err(JournalError::Unavailable("another server makes the tables".to_owned()));
        }
        let has_known = !self.texts::<2>("columns", &[Bytes(b"twitcher_journals")]).await?.is_empty();
        let name = Bytes(table.as_str().as_bytes());
        let noted = match has_known {
            true => {
                let found = self.texts("find", &[name]).await?;
                found.into_iter().next().map(|[version, program]| (number(version.as_bytes()), program))
            }
            false => None,
        };
        let columns = self.texts("columns", &[name]).await?;
        let is_rainers = noted.is_none() && !columns.is_empty() && self.is_rainers(name, &columns).await?;
        let found = FoundTable { noted, has_table: !columns.is_empty() };
        let act = if is_rainers { Ok(Act::Use) } else { judge(table, VERSION, found) };
        match act.map_err(JournalError::Refused)? {
            Act::Use => {}
            Act::Make if creates => {
                for statement in ["known", "create"] {
                    self.run(statement, &[]).await.map_err(failed)?;
                }
                let arguments = [name, Number(VERSION), Bytes(PROGRAM.as_bytes())];
                self.run("note", &arguments).await.map_err(failed)?;
            }
            Act::Make => return Err(JournalError::Refused(gone(table))),
        }
        if creates {
            self.number("unlock", &[]).await?;
        }
        Ok(())
    }

    /// Whether a table that is not noted has the columns of Rainer.
    async fn is_rainers(&mut self, name: Literal<'_>, columns: &[[String; 2]]) -> Result<bool, JournalError> {
        let has = |name: &str, types: &[&str]| {
            columns.iter().any(|[column, its_type]| {
                column.eq_ignore_ascii_case(name)
                    && types.iter().any(|kind| its_type.eq_ignore_ascii_case(kind))
            })
        };
        let blobs = ["mediumblob", "longblob"];
        let numbers = ["tinyint", "smallint", "int", "bigint"];
        let key = self.texts("keys", &[name]).await?;
        let key: Vec<String> = key.into_iter().map(|[column]| column.to_ascii_lowercase()).collect();
        Ok(has("name", &["varbinary"])
            && has("version", &numbers)
            && has("payload", &blobs)
            && has("is_empty", &numbers)
            && key == ["name", "version"])
    }

    /// Returns rows of N texts each.
    async fn texts<const N: usize>(
        &mut self,
        statement: &str,
        arguments: &[Literal<'_>],
    ) -> Result<Vec<[String; N]>, JournalError> {
        let Outcome { rows, .. } = self.run(statement, arguments).await.map_err(failed)?;
        let text = |value: Option<Vec<u8>>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
        let texts = |row: Row| row.into_iter().map(text).collect::<Vec<_>>().try_into();
        let texts = rows.into_iter().map(texts).collect::<Result<_, _>>();
        texts.map_err(|_| failed(malformed().into()))
    }
}

/// Takes the comments away: an argument in one would cost something, and a `?` there is none.
fn without_comments(statement: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with("--");
    statement.lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

fn count(count: usize) -> Literal<'static> {
    Number(i64::try_from(count).unwrap_or(i64::MAX))
}

fn failed(error: WireError) -> JournalError {
    JournalError::Unavailable(error.to_string())
}
