CREATE TABLE watches (
    -- One row per watch: what its node was last, and what its action last succeeded with. A watch has nothing
    -- to do if nothing is owed. Times in this database are milliseconds since 1970-01-01 UTC; the views show
    -- them as text.
    file TEXT NOT NULL, -- the .twc file, relative to the config directory
    description TEXT NOT NULL,
    store TEXT NOT NULL, -- name and identity: versions of one store say nothing about those of another
    node TEXT NOT NULL,
    -- For a watch of members it is `children`, which Twitcher 2.0 knows, and the column `members` has the
    -- definition. So a row that Twitcher 2.0 wrote for another definition has no members.
    facet TEXT NOT NULL CHECK (facet IN ('data', 'children', 'tree')),
    members TEXT,
    definition TEXT NOT NULL, -- a fingerprint of the watch's definition
    observed_state TEXT CHECK (observed_state IN ('absent', 'present')), -- NULL: unknown
    observed_incarnation INTEGER, -- another for each node that is created under this path
    observed_revision INTEGER, -- another for each state of one incarnation
    observed_number INTEGER, -- the action's TWITCHER_VERSION
    -- The event that the action must still run for; NULL: none.
    owed TEXT,
    applied_incarnation INTEGER,
    applied_revision INTEGER,
    applied_number INTEGER, -- -1: the deletion of the node
    applied_definition TEXT, -- the definition that succeeded with it
    applied_at INTEGER,
    applied_commit_version INTEGER, -- the commit that was applied; NULL if it was none
    applied_commit_author TEXT,
    applied_commit_comment TEXT,
    -- The columns of the commit hold as long as this is applied_at. A Twitcher 2.0 that does not know them
    -- changes applied_at alone.
    applied_commit_at INTEGER,
    applied_size INTEGER, -- bytes, children or nodes, for guards to compare with; whatever the definition was
    discarded_incarnation INTEGER, -- what run_mode DISCARD last ignored
    discarded_revision INTEGER,
    discarded_number INTEGER,
    held_incarnation INTEGER, -- what a guard holds until `twitcher trigger --force`
    held_revision INTEGER,
    held_number INTEGER,
    admitted_incarnation INTEGER, -- what a guard or an operator last let through
    admitted_revision INTEGER,
    admitted_number INTEGER,
    failures INTEGER NOT NULL, -- in a row
    stopped INTEGER NOT NULL, -- 1: nothing runs until a trigger or a new definition (on_failure: STOP)
    paused INTEGER NOT NULL, -- 1: nothing runs until `twitcher resume` or until paused_until
    paused_by TEXT, -- the user who paused it
    paused_why TEXT,
    paused_at INTEGER,
    paused_until INTEGER, -- NULL: only `twitcher resume` ends the pause
    last_error TEXT,
    next_try INTEGER,
    updated INTEGER NOT NULL,
    PRIMARY KEY (file, description)
) WITHOUT ROWID;

-- Twitcher 2.0 before the terms of pauses knows the column `paused` alone. The terms of a pause that it ends
-- must not hold for the next pause.
CREATE TRIGGER resumed AFTER UPDATE OF paused ON watches WHEN OLD.paused AND NOT NEW.paused BEGIN
    UPDATE watches SET paused_by = NULL, paused_why = NULL, paused_at = NULL, paused_until = NULL
    WHERE file = NEW.file AND description = NEW.description;
END;

CREATE TABLE runs (
    -- One row per run.
    seq INTEGER PRIMARY KEY,
    run TEXT NOT NULL, -- the action's TWITCHER_RUN_ID
    file TEXT NOT NULL,
    description TEXT NOT NULL,
    store TEXT NOT NULL,
    node TEXT NOT NULL,
    facet TEXT NOT NULL CHECK (facet IN ('data', 'children', 'tree')),
    members TEXT, -- as in the table watches
    definition TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    version INTEGER NOT NULL, -- the action's TWITCHER_VERSION, unless the content is a commit
    event TEXT NOT NULL, -- the action's TWITCHER_EVENT
    commit_version INTEGER, -- the action's TWITCHER_VERSION, if the content is a commit
    commit_author TEXT, -- as the author wrote it, at most 255 bytes
    commit_comment TEXT, -- likewise, at most 1,024 bytes
    transaction_id TEXT, -- the store's, as its own tools show it
    changed INTEGER, -- when the content was changed, by the store's clock
    started INTEGER NOT NULL,
    timeout INTEGER, -- in milliseconds, from the start of the process
    boot TEXT NOT NULL, -- /proc/sys/kernel/random/boot_id
    pid INTEGER, -- NULL: perhaps never started
    pid_started INTEGER, -- in clock ticks since the boot; a later process with this pid has another
    ended INTEGER,
    outcome TEXT CHECK (outcome IN ( -- NULL: it runs
        'success', 'exit', 'signal', 'timeout', 'killed', 'not_started', 'interrupted', 'unknown'
    )),
    exit_code INTEGER,
    signal INTEGER,
    error TEXT, -- why the run was not started
    output BLOB -- the last of what it printed; only the newest runs have it
);

CREATE VIEW history AS
SELECT
    seq,
    -- The name in log lines.
    iif(substr(description, 1, length(file)) = file, '', file || ':') || description AS watch,
    run,
    event,
    store,
    node,
    version,
    commit_version,
    commit_author,
    commit_comment,
    transaction_id,
    strftime('%Y-%m-%d %H:%M:%S', changed / 1000, 'unixepoch') AS changed_utc,
    strftime('%Y-%m-%d %H:%M:%S', started / 1000, 'unixepoch') AS started_utc,
    max(0, ended - started) / 1000.0 AS seconds, -- the clock may have been set back
    CASE outcome
        WHEN 'exit' THEN 'exit code ' || exit_code
        WHEN 'signal' THEN 'signal ' || signal
        WHEN 'not_started' THEN 'not started: ' || error
        ELSE coalesce(outcome, 'running')
    END AS outcome,
    CAST(output AS TEXT) AS output
FROM runs
ORDER BY seq;

CREATE VIEW failing AS
SELECT
    -- The name in log lines.
    iif(substr(description, 1, length(file)) = file, '', file || ':') || description AS watch,
    node,
    store,
    failures,
    stopped,
    last_error,
    strftime('%Y-%m-%d %H:%M:%S', next_try / 1000, 'unixepoch') AS next_try_utc
FROM watches
WHERE failures > 0 OR last_error IS NOT NULL
ORDER BY file, description;
