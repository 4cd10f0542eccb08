-- The journal in MySQL and MariaDB, in the layout of Rainer. {table} is the name of the table. Arguments are
-- ?1, ?2, …; texts and bytes come as hexadecimal literals.

-- statement: isolation
-- A save sees what others have committed, and locks nothing but its row.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED

-- statement: limits
-- What a column cannot take is an error. A server that has lost sight of us ends its side soon.
SET SESSION sql_mode = 'TRADITIONAL', autocommit = 1, innodb_lock_wait_timeout = 5, wait_timeout = 300

-- statement: largest_packet
SELECT @@max_allowed_packet

-- statement: lock
-- Servers that start at the same time make the tables one after the other.
SELECT get_lock('twitcher_journals', 4)

-- statement: unlock
SELECT release_lock('twitcher_journals')

-- statement: known
-- Which tables are journals, and of which version of this file. A table that Rainer has made is not here.
CREATE TABLE IF NOT EXISTS twitcher_journals (
    name varbinary(64) NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    -- The version of Twitcher that made the table or changed it last.
    program varbinary(64) NOT NULL
) ENGINE = InnoDB

-- statement: columns
-- Whether there is a table of this name, and its columns.
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = database() AND table_name = ?1

-- statement: keys
-- The columns of the primary key.
SELECT column_name FROM information_schema.key_column_usage
WHERE table_schema = database() AND table_name = ?1 AND constraint_name = 'PRIMARY' ORDER BY ordinal_position

-- statement: find
SELECT version, program FROM twitcher_journals WHERE name = ?1

-- statement: create
CREATE TABLE `{table}` (
    name varbinary(255) NOT NULL,
    version int NOT NULL,
    -- The data of the commit's node: a header and the payload.
    payload mediumblob NOT NULL,
    is_empty tinyint(1) NOT NULL,
    PRIMARY KEY (name, version)
) ENGINE = InnoDB

-- statement: note
INSERT INTO twitcher_journals (name, version, program) VALUES (?1, ?2, ?3)

-- statement: sizes
-- ?1: only keys after this one; ?2: so many.
SELECT is_empty, length(payload)
FROM (
    SELECT name, max(version) AS version FROM `{table}` WHERE name > ?1 GROUP BY name ORDER BY name LIMIT ?2
) AS head
JOIN `{table}` USING (name, version) ORDER BY name

-- statement: heads
-- Likewise, with so many bytes of the payload, ?3. The server steps from key to key in the primary key.
SELECT name, version, is_empty, substring(payload, 1, ?3)
FROM (
    SELECT name, max(version) AS version FROM `{table}` WHERE name > ?1 GROUP BY name ORDER BY name LIMIT ?2
) AS head
JOIN `{table}` USING (name, version) ORDER BY name

-- statement: head
SELECT name, version, is_empty, payload FROM `{table}` WHERE name = ?1 ORDER BY version DESC LIMIT 1

-- statement: commit
SELECT name, version, is_empty, payload FROM `{table}` WHERE name = ?1 AND version = ?2

-- statement: log
SELECT name, version, is_empty, substring(payload, 1, ?4) FROM `{table}` WHERE name = ?1 AND version < ?2
ORDER BY version DESC LIMIT ?3

-- statement: last_version
SELECT coalesce(max(version), 0) FROM `{table}` WHERE name = ?1

-- statement: save
INSERT INTO `{table}` (name, version, payload, is_empty) SELECT ?1, ?2, ?3, ?4
FROM (SELECT coalesce(max(version), 0) + 1 AS next FROM `{table}` WHERE name = ?1) AS head WHERE next = ?2

-- statement: size
-- Each key has one first version.
SELECT coalesce(sum(version = 1), 0), count(*) FROM `{table}`
