-- The journal in PostgreSQL. {table} is the name of the table.

-- statement: limits
-- A save sees what others have committed. Nobody waits longer than this program waits for an answer.
SELECT set_config('default_transaction_isolation', 'read committed', false),
    set_config('statement_timeout', '9s', false),
    set_config('lock_timeout', '5s', false)

-- statement: durable
-- A save is answered when it is on the disk, or later if somebody has asked for more.
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'

-- statement: lock
-- Servers that start at the same time make the tables one after the other.
SELECT pg_advisory_xact_lock(hashtext('twitcher_journals'))

-- statement: known
-- Which tables are journals, and of which version of this file.
CREATE TABLE IF NOT EXISTS twitcher_journals (
    name text PRIMARY KEY,
    version bigint NOT NULL,
    -- The version of Twitcher that made the table or changed it last.
    program text NOT NULL
)

-- statement: has_table
SELECT to_regclass($1) IS NOT NULL

-- statement: find
SELECT version, program FROM twitcher_journals WHERE name = $1

-- statement: create
-- Names are compared byte for byte, as everywhere.
CREATE TABLE "{table}" (
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    author text NOT NULL,
    comment text NOT NULL,
    -- As the client gave it, or RFC 3339 in UTC.
    mtime text NOT NULL,
    -- Whether the commit removes its key.
    is_empty boolean NOT NULL,
    payload bytea NOT NULL
)

-- statement: create_key
-- The head of a key is its first entry, so that the heads are found one after the other, however many commits
-- each key has.
CREATE UNIQUE INDEX "{table}_key" ON "{table}" (name, version DESC)

-- statement: note
INSERT INTO twitcher_journals (name, version, program) VALUES ($1, $2, $3)

-- statement: heads
-- $1: only keys after this one; $2: so many heads; $3: no more after so many bytes of payload; $4: also
-- removed keys; $5: with payloads. Whatever comes back, the walk has ended with its last row.
WITH RECURSIVE head AS (
    (
        SELECT *, ($4 OR NOT is_empty)::int::bigint AS count,
            CASE WHEN $5 THEN octet_length(payload) ELSE 0 END::bigint AS bytes
        FROM "{table}" WHERE name > $1 ORDER BY name, version DESC LIMIT 1
    )
    UNION ALL
    SELECT next.*, head.count + ($4 OR NOT next.is_empty)::int,
        head.bytes + CASE WHEN $5 THEN octet_length(next.payload) ELSE 0 END
    FROM head, LATERAL (
        SELECT * FROM "{table}" WHERE name > head.name ORDER BY name, version DESC LIMIT 1
    ) AS next
    WHERE head.count < $2 AND head.bytes <= $3
)
SELECT name, version, author, comment, mtime, is_empty, CASE WHEN $5 THEN payload ELSE '' END
FROM head WHERE $4 OR NOT is_empty ORDER BY name

-- statement: head
SELECT name, version, author, comment, mtime, is_empty, payload
FROM "{table}" WHERE name = $1 ORDER BY version DESC LIMIT 1

-- statement: commit
SELECT name, version, author, comment, mtime, is_empty, payload
FROM "{table}" WHERE name = $1 AND version = $2

-- statement: log
SELECT name, version, author, comment, mtime, is_empty, ''::bytea
FROM "{table}" WHERE name = $1 AND version < $2 ORDER BY version DESC LIMIT $3

-- statement: last_version
SELECT coalesce(max(version), 0) FROM "{table}" WHERE name = $1

-- statement: save
-- Of two who save one version at the same time, the second waits for the first, and then does nothing.
INSERT INTO "{table}" (name, version, author, comment, mtime, is_empty, payload)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE $2 = 1 + coalesce((SELECT max(version) FROM "{table}" WHERE name = $1), 0)
ON CONFLICT (name, version) DO NOTHING

-- statement: size
-- Each key has one first version.
SELECT count(*) FILTER (WHERE version = 1), count(*) FROM "{table}"
