-- The journal in SQLite. {table} is the name of the table.

-- statement: known
-- Which tables are journals, and of which version of this file.
CREATE TABLE IF NOT EXISTS twitcher_journals (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    -- The version of Twitcher that made the table or changed it last.
    program TEXT NOT NULL,
    -- How many keys and commits the table has. To count them would take a while.
    keys INTEGER NOT NULL DEFAULT 0,
    commits INTEGER NOT NULL DEFAULT 0
) STRICT

-- statement: has_known
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'twitcher_journals'

-- statement: has_table
SELECT count(*) FROM sqlite_schema WHERE name = ?1

-- statement: find
SELECT version, program FROM twitcher_journals WHERE name = ?1

-- statement: create
CREATE TABLE "{table}" (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL,
    -- As the client gave it, or RFC 3339 in UTC.
    mtime TEXT NOT NULL,
    -- 1 for a commit that removes its key.
    is_empty INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (name, version)
) STRICT

-- statement: note
INSERT INTO twitcher_journals (name, version, program) VALUES (?1, ?2, ?3)

-- statement: next_head
-- The head of the first key after this one, however many commits each key has.
SELECT name, version, author, comment, mtime, is_empty, iif(?2, payload, x'')
FROM "{table}" WHERE name = (SELECT min(name) FROM "{table}" WHERE name > ?1) ORDER BY version DESC LIMIT 1

-- statement: head
SELECT name, version, author, comment, mtime, is_empty, payload
FROM "{table}" WHERE name = ?1 ORDER BY version DESC LIMIT 1

-- statement: commit
SELECT name, version, author, comment, mtime, is_empty, payload
FROM "{table}" WHERE name = ?1 AND version = ?2

-- statement: log
SELECT name, version, author, comment, mtime, is_empty, x''
FROM "{table}" WHERE name = ?1 AND version < ?2 ORDER BY version DESC

-- statement: last_version
SELECT coalesce(max(version), 0) FROM "{table}" WHERE name = ?1

-- statement: save
INSERT INTO "{table}" (name, version, author, comment, mtime, is_empty, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- statement: count
UPDATE twitcher_journals SET keys = keys + ?1, commits = commits + ?2 WHERE name = '{table}'

-- statement: size
SELECT keys, commits FROM twitcher_journals WHERE name = '{table}'
