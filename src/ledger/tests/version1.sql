CREATE TABLE watches (
    file TEXT NOT NULL,
    description TEXT NOT NULL,
    store TEXT NOT NULL,
    node TEXT NOT NULL,
    facet TEXT NOT NULL CHECK (facet IN ('data', 'children', 'tree')),
    definition TEXT NOT NULL,
    observed_state TEXT CHECK (observed_state IN ('absent', 'present')),
    observed_incarnation INTEGER,
    observed_revision INTEGER,
    observed_number INTEGER,
    owed TEXT CHECK (owed IN ('load', 'created', 'changed', 'children')),
    applied_incarnation INTEGER,
    applied_revision INTEGER,
    applied_number INTEGER,
    applied_definition TEXT,
    applied_at INTEGER,
    discarded_incarnation INTEGER,
    discarded_revision INTEGER,
    discarded_number INTEGER,
    failures INTEGER NOT NULL,
    stopped INTEGER NOT NULL,
    last_error TEXT,
    next_try INTEGER,
    updated INTEGER NOT NULL,
    PRIMARY KEY (file, description)
) WITHOUT ROWID;
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    file TEXT NOT NULL,
    description TEXT NOT NULL,
    node TEXT NOT NULL,
    facet TEXT NOT NULL CHECK (facet IN ('data', 'children', 'tree')),
    definition TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('load', 'created', 'changed', 'children')),
    started INTEGER NOT NULL,
    timeout INTEGER,
    boot TEXT NOT NULL,
    pid INTEGER,
    pid_started INTEGER,
    ended INTEGER,
    outcome TEXT CHECK (outcome IN
        ('success', 'exit', 'signal', 'timeout', 'not started', 'interrupted', 'unknown')),
    exit_code INTEGER,
    signal INTEGER,
    error TEXT,
    output BLOB
);

CREATE VIEW history AS SELECT seq, run, outcome FROM runs;
CREATE VIEW failing AS SELECT file, description FROM watches WHERE failures > 0;
CREATE VIEW mine AS SELECT run FROM runs;
INSERT INTO watches VALUES (
    'git.twc', 'pull', 'zk:/', '/git/head', 'data', '0000000000000007', 'present',
    1004, 9223372036854775803, 4, 'changed', 1003, 9223372036854775804, 3,
    '0000000000000007', 5000, 1002, 9223372036854775805, 2, 5, 1,
    'exit code 1', 60000, 6000
);
INSERT INTO runs VALUES
    (1, 'a', 'git.twc', 'pull', '/git', 'children', '0000000000000007', 1004, 9223372036854775803, 4,
        'children', 1000, 1500, 'boot', NULL, NULL, 2000, 'not started', NULL, NULL, 'no such file', x'41'),
    (2, 'b', 'git.twc', 'pull', '/git', 'children', '0000000000000007', 1004, 9223372036854775803, 4,
        'children', 1000, 1500, 'boot', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
PRAGMA user_version = 1;
