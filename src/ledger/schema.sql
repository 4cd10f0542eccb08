CREATE TABLE watches (
    -- One row a watch: what its node was last, and what its action succeeded with last. A watch is at rest when
    -- nothing is owed. All times in this database are milliseconds since 1970-01-01 UTC; the views show them as text.
    file TEXT NOT NULL, -- the .twc file, below the config directory
    description TEXT NOT NULL,
    store TEXT NOT NULL, -- its name, and where it is: versions of one store say nothing about another's
    node TEXT NOT NULL,
    facet TEXT NOT NULL CHECK (facet IN ('data', 'children', 'tree')),
    definition TEXT NOT NULL, -- changes with anything in the watch's definition
    observed_state TEXT CHECK (observed_state IN ('absent', 'present')), -- NULL: not known yet
    observed_incarnation INTEGER, -- differs between a node and the one re-created under its name
    observed_revision INTEGER, -- differs between two states of one incarnation
    observed_number INTEGER, -- what actions get as TWITCHER_VERSION
    owed TEXT CHECK (owed IN ('load', 'created', 'changed', 'children', 'trigger')), -- why it is to be run; NULL: it is not
    applied_incarnation INTEGER,
    applied_revision INTEGER,
    applied_number INTEGER,
    applied_definition TEXT, -- which definition succeeded with that
    applied_at INTEGER,
    applied_size INTEGER, -- bytes of data, children, or nodes below: what guards compare with; of any definition
    discarded_incarnation INTEGER, -- what run_mode DISCARD ignored last
    discarded_revision INTEGER,
    discarded_number INTEGER,
    held_incarnation INTEGER, -- what a guard holds until `twitcher trigger --force`
    held_revision INTEGER,
    held_number INTEGER,
    admitted_incarnation INTEGER, -- what a guard or an operator let through last: it is not judged again
    admitted_revision INTEGER,
    admitted_number INTEGER,
    failures INTEGER NOT NULL, -- in a row
    stopped INTEGER NOT NULL, -- 1: nothing runs until the definition changes or a trigger (on_failure: STOP)
    paused INTEGER NOT NULL, -- 1: nothing runs until `twitcher resume`
    last_error TEXT,
    next_try INTEGER,
    updated INTEGER NOT NULL,
    PRIMARY KEY (file, description)
) WITHOUT ROWID;

CREATE TABLE runs (
    -- One row a run, the newest last.
    seq INTEGER PRIMARY KEY,
    run TEXT NOT NULL, -- what the action gets as TWITCHER_RUN_ID
    file TEXT NOT NULL,
    description TEXT NOT NULL,
    store TEXT NOT NULL,
    node TEXT NOT NULL,
    facet TEXT NOT NULL CHECK (facet IN ('data', 'children', 'tree')),
    definition TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    version INTEGER NOT NULL, -- what the action gets as TWITCHER_VERSION
    event TEXT NOT NULL CHECK (event IN ('load', 'created', 'changed', 'children', 'trigger')),
    started INTEGER NOT NULL,
    timeout INTEGER, -- in milliseconds
    boot TEXT NOT NULL, -- /proc/sys/kernel/random/boot_id
    pid INTEGER, -- NULL: not known to have been started
    pid_started INTEGER, -- in clock ticks since the boot; tells the process from a later one with its pid
    ended INTEGER,
    outcome TEXT CHECK (outcome IN
        ('success', 'exit', 'signal', 'timeout', 'killed', 'not_started', 'interrupted', 'unknown')), -- NULL: it runs
    exit_code INTEGER,
    signal INTEGER,
    error TEXT, -- why it was not started
    output BLOB -- the last of what it printed, of the newest runs only
);

CREATE VIEW history AS
SELECT
    seq,
    iif(substr(description, 1, length(file)) = file, '', file || ':') || description AS watch, -- as the log has it
    run,
    event,
    store,
    node,
    version,
    strftime('%Y-%m-%d %H:%M:%S', started / 1000, 'unixepoch') AS started_utc,
    max(0, ended - started) / 1000.0 AS seconds, -- the clock may have been set
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
    iif(substr(description, 1, length(file)) = file, '', file || ':') || description AS watch, -- as the log has it
    node,
    store,
    failures,
    stopped,
    last_error,
    strftime('%Y-%m-%d %H:%M:%S', next_try / 1000, 'unixepoch') AS next_try_utc
FROM watches
WHERE failures > 0 OR last_error IS NOT NULL
ORDER BY file, description;
