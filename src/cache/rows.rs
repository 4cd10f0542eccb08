//! The rows of the cache, and the SQL statements that write and read them.

use std::io::{self, Read, Write};

use rusqlite::blob::{Blob as StoredBlob, ZeroBlob};
use rusqlite::{Connection, OptionalExtension, params};

use super::answer::Row;
use super::notes::{self, Content, Note, Until};
use super::trouble::Trouble;
use crate::model::{Blob, NodePath, Version};
use crate::sys::{BlobWriter, copy_blob};
use crate::text::StableHash;

/// The program that wrote the file, in its header: "TwiC" in ASCII.
const APPLICATION_ID: i64 = 0x5477_6943;

/// The version of the tables. A cache of another version is begun anew.
const VERSION: i64 = 2;

/// Contents have a table of their own, so that a change of what is known of one does not write it again.
///
/// SQLite notices damage of its own structures alone. The sums tell whether a disk gives back what was
/// written, so that nobody gets data that the store never had, or of an age that it has not.
pub const TABLES: &str = "
    BEGIN;
    CREATE TABLE stores (id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE);
    -- The second until which each connection is known to have lasted.
    CREATE TABLE connections (id INTEGER PRIMARY KEY, until INTEGER NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE nodes (
        id INTEGER PRIMARY KEY,
        store INTEGER NOT NULL,
        path TEXT NOT NULL,
        is_there INTEGER NOT NULL,
        incarnation INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        number INTEGER NOT NULL,
        -- The connection that confirmed it last, or the second until which it was current, below zero.
        until INTEGER NOT NULL,
        -- The second in which the content was written.
        written INTEGER NOT NULL,
        -- Since when the node is not followed; NULL if it is.
        left_at INTEGER,
        -- The sum of the content, and of what is known of it.
        data_sum INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        UNIQUE (store, path)
    );
    CREATE TABLE contents (node INTEGER PRIMARY KEY, data BLOB NOT NULL);
    PRAGMA application_id = 0x54776943;
    PRAGMA user_version = 2;
    COMMIT;
";

/// A node that is not followed is kept for a week: somebody may take a config away and put it back.
const KEPT_SECONDS: i64 = 7 * 24 * 60 * 60;

/// SQLite's page size in bytes.
const PAGE_BYTES: u64 = 4096;

/// What a node takes beside its content: its share of the pages of three tables and two indexes.
const NODE_BYTES: u64 = 512;

/// The size of an empty cache. A content needs room beside it.
const EMPTY_BYTES: u64 = 16 * PAGE_BYTES;

/// What an opened file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has no tables yet.
    New,
    Cache,
    /// A cache of another version of Twitcher, which was an upgrade ago.
    Other,
}

/// Returns what the file is. Refuses what is no cache.
pub fn kind(connection: &Connection) -> Result<Kind, Trouble> {
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    match (number("PRAGMA application_id")?, number("PRAGMA user_version")?) {
        (APPLICATION_ID, VERSION) => Ok(Kind::Cache),
        (APPLICATION_ID, _) => Ok(Kind::Other),
        (0, 0) if number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(Kind::New),
        _ => Err(Trouble::Damaged("it is no cache of Twitcher".to_owned())),
    }
}

/// Returns the id of a store, which may be new.
pub fn store(connection: &Connection, url: &str) -> Result<i64, Trouble> {
    connection.prepare_cached("INSERT OR IGNORE INTO stores (url) VALUES (?1)")?.execute([url])?;
    let id = "SELECT id FROM stores WHERE url = ?1";
    Ok(connection.prepare_cached(id)?.query_row([url], |row| row.get(0))?)
}

/// Records that a connection lasted until this second.
pub fn lasts(connection: &Connection, of: notes::Connection, until: i64) -> Result<(), Trouble> {
    let sql = "INSERT OR REPLACE INTO connections (id, until, sum) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute([of.number(), until, sum([of.number(), until])])?;
    Ok(())
}

/// Returns the second until which a connection is known to have lasted. Nobody knows it of a damaged row.
pub fn end_of(connection: &Connection, of: notes::Connection) -> Result<Option<i64>, Trouble> {
    let sql = "SELECT until, sum FROM connections WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let found = connection.prepare_cached(sql)?.query_row([of.number()], read).optional()?;
    Ok(found.and_then(|(until, written)| (sum([of.number(), until]) == written).then_some(until)))
}

/// What the cache has of a node.
pub enum Found {
    Nothing,
    Row(Row),
    /// It was damaged, and is forgotten.
    Damaged,
}

/// Returns what is known of a node, with its content if `with_content`.
pub fn read(
    connection: &Connection,
    url: &str,
    path: &NodePath,
    with_content: bool,
) -> Result<Found, Trouble> {
    let sql = "SELECT id FROM stores WHERE url = ?1";
    let store = connection.prepare_cached(sql)?.query_row([url], |row| row.get(0)).optional()?;
    let Some(store) = store else { return Ok(Found::Nothing) };
    let place = Place { store, url, path };
    let Some(stored) = Stored::find(connection, &place)? else { return Ok(Found::Nothing) };
    let damaged = || remove(connection, stored.id).map(|()| Found::Damaged);
    if !stored.is_intact {
        return damaged();
    }
    let content = match stored.version {
        None => Content::Absent,
        Some(_) if !with_content => Content::LeftOut,
        Some(version) => {
            let mut copy = Summing { to: BlobWriter::default(), sum: StableHash::default() };
            io::copy(&mut stored.content(connection)?, &mut copy)?;
            if copy.sum.fold().cast_signed() != stored.data_sum {
                return damaged();
            }
            Content::Present { version, data: copy.to.finish()? }
        }
    };
    Ok(Found::Row(Row { content, until: stored.until, followed: stored.left_at.is_none() }))
}

/// Where a node is.
pub struct Place<'a> {
    pub store: i64,
    /// The URL of the store.
    pub url: &'a str,
    pub path: &'a NodePath,
}

impl Place<'_> {
    /// Returns the sum of what is known of the node there.
    fn sum(&self, version: Option<Version>, until: Until, data_sum: i64) -> i64 {
        let mut sum = StableHash::default();
        sum.add(self.url);
        sum.add(self.path.as_str());
        let Version { incarnation, revision, number } = version.unwrap_or(Version::DELETION);
        let is_there = version.is_some().into();
        for number in [is_there, incarnation, revision, number, until.number(), data_sum] {
            sum.add_number(number);
        }
        sum.fold().cast_signed()
    }
}

fn sum(numbers: [i64; 2]) -> i64 {
    let mut sum = StableHash::default();
    numbers.into_iter().for_each(|number| sum.add_number(number));
    sum.fold().cast_signed()
}

/// Sums up what is written through it.
struct Summing<W> {
    to: W,
    sum: StableHash,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.sum.add_bytes(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes to the cache, in a transaction of the caller.
pub struct Writer<'a> {
    pub connection: &'a Connection,
    /// The most bytes that the file may have.
    pub limit: u64,
    /// The present second.
    pub now: i64,
    /// How many nodes that are followed were forgotten because there was no room.
    pub evicted: u64,
}

impl Writer<'_> {
    /// Writes what was noted of a node.
    pub fn write(&mut self, place: &Place<'_>, note: &Note) -> Result<(), Trouble> {
        let mut stored = Stored::find(self.connection, place)?;
        if let Some(damaged) = stored.take_if(|stored| !stored.is_intact) {
            remove(self.connection, damaged.id)?;
        }
        let Some((content, until)) = &note.seen else {
            let Some(stored) = stored else { return Ok(()) };
            let left_at = match note.followed {
                Some(true) => None,
                Some(false) => stored.left_at.or(Some(self.now)),
                None => stored.left_at,
            };
            let until = note.until(stored.until);
            return stored.update(self.connection, place, stored.version, until, left_at);
        };
        let until = note.until(*until);
        let left_at = (note.followed == Some(false)).then_some(self.now);
        if let Some(stored) = stored {
            match content {
                Content::Absent if stored.version.is_none() => {
                    return stored.update(self.connection, place, None, until, left_at);
                }
                Content::Present { version, data } if stored.has(self.connection, data)? => {
                    return stored.update(self.connection, place, Some(*version), until, left_at);
                }
                Content::Absent | Content::Present { .. } | Content::LeftOut => {
                    remove(self.connection, stored.id)?;
                }
            }
        }
        let (version, data) = match content {
            Content::Absent => (None, None),
            Content::Present { version, data } => (Some(*version), Some(data)),
            Content::LeftOut => return Ok(()),
        };
        let bytes = data.map_or(0, |data| data.len().next_multiple_of(PAGE_BYTES)) + NODE_BYTES;
        if bytes + EMPTY_BYTES > self.limit {
            return Ok(());
        }
        self.make_room(bytes + PAGE_BYTES)?;
        let data_sum = data.map(data_sum).transpose()?.unwrap_or_default();
        let sql = "INSERT INTO nodes
            (store, path, is_there, incarnation, revision, number, until, written, left_at, data_sum, sum)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let sum = place.sum(version, until, data_sum);
        let Version { incarnation, revision, number } = version.unwrap_or(Version::DELETION);
        self.connection.prepare_cached(sql)?.execute(params![
            place.store,
            place.path.as_str(),
            version.is_some(),
            incarnation,
            revision,
            number,
            until.number(),
            self.now,
            left_at,
            data_sum,
            sum,
        ])?;
        let Some(data) = data else { return Ok(()) };
        let id = self.connection.last_insert_rowid();
        let too_long = |_| Trouble::Unavailable("a content is too long".to_owned());
        let length = i32::try_from(data.len()).map_err(too_long)?;
        let sql = "INSERT INTO contents (node, data) VALUES (?1, ?2)";
        self.connection.prepare_cached(sql)?.execute(params![id, ZeroBlob(length)])?;
        let mut stored = self.connection.blob_open("main", "contents", "data", id, false)?;
        copy_blob(data, &mut stored)?;
        Ok(())
    }

    /// Forgets nodes until there is room for so many bytes.
    pub fn make_room(&mut self, bytes: u64) -> Result<(), Trouble> {
        while used(self.connection)? + bytes > self.limit {
            // The search looks at every node, so it makes some room for the next ones, too.
            let victims = self.victims(bytes + self.limit / 16)?;
            if victims.is_empty() {
                return Ok(());
            }
            for (id, is_followed) in victims {
                remove(self.connection, id)?;
                self.evicted += u64::from(is_followed);
            }
        }
        Ok(())
    }

    /// Returns the nodes that are forgotten to gain so many bytes, and whether each is followed: first those
    /// that are not, in the order in which they were left, then those that were written longest ago.
    fn victims(&self, bytes: u64) -> Result<Vec<(i64, bool)>, Trouble> {
        let sql = "SELECT id, left_at IS NULL, coalesce(length(data), 0)
            FROM nodes LEFT JOIN contents ON node = id
            ORDER BY left_at IS NULL, coalesce(left_at, written), id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let (mut victims, mut gained) = (Vec::new(), 0);
        while gained < bytes
            && let Some(row) = rows.next()?
        {
            gained += row.get::<_, i64>(2)?.max(0) as u64 + NODE_BYTES;
            victims.push((row.get(0)?, row.get(1)?));
        }
        Ok(victims)
    }

    /// Takes the nodes of a store that are followed: all others are not.
    pub fn settle(&mut self, store: i64, is_followed: impl Fn(&str) -> bool) -> Result<(), Trouble> {
        let sql = "SELECT id, path, left_at IS NULL FROM nodes WHERE store = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([store])?;
        let mut wrong: Vec<(i64, Option<i64>)> = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, path, was): (i64, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let is = is_followed(&path);
            if is != was {
                wrong.push((id, (!is).then_some(self.now)));
            }
        }
        for (id, left_at) in wrong {
            let sql = "UPDATE nodes SET left_at = ?2 WHERE id = ?1";
            self.connection.prepare_cached(sql)?.execute(params![id, left_at])?;
        }
        Ok(())
    }

    /// Forgets what nobody asks for any more: nodes of stores that are not among `stores`, or that are not
    /// followed for a week, and the connections of none.
    pub fn prune(&mut self, stores: &[i64]) -> Result<(), Trouble> {
        let known = stores.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let left = format!(
            "UPDATE nodes SET left_at = {} WHERE left_at IS NULL AND store NOT IN ({known})",
            self.now
        );
        self.connection.execute(&left, [])?;
        let sql = "SELECT id FROM nodes WHERE left_at < ?1";
        let horizon = self.now - KEPT_SECONDS;
        let mut statement = self.connection.prepare(sql)?;
        let old: Vec<i64> =
            statement.query_map([horizon], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        old.into_iter().try_for_each(|id| remove(self.connection, id))?;
        self.connection.execute_batch(
            "DELETE FROM connections WHERE id NOT IN (SELECT until FROM nodes);
            DELETE FROM stores WHERE id NOT IN (SELECT store FROM nodes)",
        )?;
        Ok(())
    }
}

/// Gives pages that are free back to the disk. Must be called outside of a transaction.
pub fn shrink(connection: &Connection) -> Result<(), Trouble> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Returns the bytes of all pages in use.
pub fn used(connection: &Connection) -> Result<u64, Trouble> {
    let pages = |pragma: &str| -> Result<i64, Trouble> {
        Ok(connection.prepare_cached(pragma)?.query_row([], |row| row.get(0))?)
    };
    let used = pages("PRAGMA page_count")? - pages("PRAGMA freelist_count")?;
    Ok(u64::try_from(used).unwrap_or_default() * PAGE_BYTES)
}

fn remove(connection: &Connection, id: i64) -> Result<(), Trouble> {
    connection.prepare_cached("DELETE FROM contents WHERE node = ?1")?.execute([id])?;
    connection.prepare_cached("DELETE FROM nodes WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// A row of the table of nodes.
struct Stored {
    id: i64,
    /// `None` if there is no such node.
    version: Option<Version>,
    until: Until,
    left_at: Option<i64>,
    data_sum: i64,
    /// Whether the row is as it was written.
    is_intact: bool,
}

impl Stored {
    fn find(connection: &Connection, place: &Place<'_>) -> Result<Option<Self>, Trouble> {
        let sql = "SELECT id, is_there, incarnation, revision, number, until, left_at, data_sum, sum
            FROM nodes WHERE store = ?1 AND path = ?2";
        let at = params![place.store, place.path.as_str()];
        let found = connection.prepare_cached(sql)?.query_row(at, |row| {
            let version = Version { incarnation: row.get(2)?, revision: row.get(3)?, number: row.get(4)? };
            let version = row.get::<_, bool>(1)?.then_some(version);
            let (until, data_sum) = (Until::of_number(row.get(5)?), row.get(7)?);
            let is_intact = place.sum(version, until, data_sum) == row.get::<_, i64>(8)?;
            Ok(Self { id: row.get(0)?, version, until, left_at: row.get(6)?, data_sum, is_intact })
        });
        Ok(found.optional()?)
    }

    fn content<'a>(&self, connection: &'a Connection) -> Result<StoredBlob<'a>, Trouble> {
        Ok(connection.blob_open("main", "contents", "data", self.id, true)?)
    }

    /// Whether the node has this content.
    fn has(&self, connection: &Connection, data: &Blob) -> Result<bool, Trouble> {
        if self.version.is_none() {
            return Ok(false);
        }
        let stored = self.content(connection)?;
        if stored.len() as u64 != data.len() {
            return Ok(false);
        }
        let mut comparison = Comparison { stored, is_equal: true };
        copy_blob(data, &mut comparison)?;
        Ok(comparison.is_equal)
    }

    /// Writes what has changed beside the content.
    fn update(
        &self,
        connection: &Connection,
        place: &Place<'_>,
        version: Option<Version>,
        until: Until,
        left_at: Option<i64>,
    ) -> Result<(), Trouble> {
        if (version, until, left_at) == (self.version, self.until, self.left_at) {
            return Ok(());
        }
        let Version { incarnation, revision, number } = version.unwrap_or(Version::DELETION);
        let sql = "UPDATE nodes
            SET incarnation = ?2, revision = ?3, number = ?4, until = ?5, left_at = ?6, sum = ?7
            WHERE id = ?1";
        let sum = place.sum(version, until, self.data_sum);
        let values = params![self.id, incarnation, revision, number, until.number(), left_at, sum];
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }
}

fn data_sum(data: &Blob) -> Result<i64, Trouble> {
    let mut summing = Summing { to: io::sink(), sum: StableHash::default() };
    copy_blob(data, &mut summing)?;
    Ok(summing.sum.fold().cast_signed())
}

/// Compares what is written to it with a content in the cache.
struct Comparison<'a> {
    stored: StoredBlob<'a>,
    is_equal: bool,
}

impl Write for Comparison<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stored = [0; 4096];
        let part = &bytes[..bytes.len().min(stored.len())];
        if self.is_equal {
            let stored = &mut stored[..part.len()];
            self.stored.read_exact(stored)?;
            self.is_equal = stored == part;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
