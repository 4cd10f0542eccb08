//! Mistakes, one config each, with every message that `check` gives.

use super::{Case, check};

// Users and groups.
#[test]
fn users_and_groups() {
    check(ACCOUNTS);
}

#[rustfmt::skip]
const ACCOUNTS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: \"nobdy\" });", &[
        "1:53: `uid`: unknown user \"nobdy\"; did you mean `nobody`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), gid: \"dæmon\" });", &[
        "1:53: `gid`: unknown group \"dæmon\"; did you mean `daemon`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: \"nosuchuser\", gid: \"daemn\" });", &[
        "1:53: `uid`: unknown user \"nosuchuser\"",
        "1:72: `gid`: unknown group \"daemn\"; did you mean `daemon`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: \"0\" });", &[
        "1:53: `uid`: unknown user \"0\"; write 0 without quotes for an id",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: -1 });", &[
        "1:53: `uid`: -1 is not a valid id",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: \"\" });", &[
        "1:53: `uid` is empty",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: 1.5 });", &[
        "1:53: `uid` must be an int or a name, not a float",
    ]),
];

// Signals.
#[test]
fn signals() {
    check(SIGNALS);
}

#[rustfmt::skip]
const SIGNALS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), notify_signal: SIGHP });", &[
        "1:68: unknown variable `SIGHP`; did you mean `SIGHUP`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), notify_signal: \"HUPP\" });", &[
        "1:53: `notify_signal`: unknown signal \"HUPP\"; did you mean `SIGHUP`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), notify_signal: 0 });", &[
        "1:53: `notify_signal`: 0 is not between 1 and 64",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), notify_signal: 99 });", &[
        "1:53: `notify_signal`: 99 is not between 1 and 64",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), notify_signal: \"HUP\", run_mode: \
      DISCARD });", &[
        "1:53: `notify_signal` is for run_mode: QUEUE only",
    ]),
];

// Paths and names.
#[test]
fn paths_and_names() {
    check(PATHS);
}

#[rustfmt::skip]
const PATHS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"n\", action: Exec(\"x\") });", &[
        "1:18: `znode`: node path \"n\" is not absolute; start it with /",
    ]),
    ("RegisterWatch(#{ znode: \"/n/\", action: Exec(\"x\") });", &[
        "1:18: `znode`: node path \"/n/\" has an empty component; write single slashes and none at \
         the end",
    ]),
    ("RegisterWatch(#{ znode: \"/a//b\", action: Exec(\"x\"), watch_type: WATCH_TREE });", &[
        "1:18: `znode`: node path \"/a//b\" has an empty component; write single slashes and none at \
         the end",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), cwd: \"srv\" });", &[
        "1:53: `cwd`: \"srv\" is not absolute; write the whole path, from / on",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), output: \"logs/a.log\" });", &[
        "1:53: `output` must be \"log\", \"discard\" or the absolute path of a file, not \"logs/a.log\"",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), env: #{ TWITCHER_X: 1 } });", &[
        "1:61: `env`: `TWITCHER_X`: the names that start with TWITCHER_ are Twitcher's own; take \
         another",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), description: \"\" });", &[
        "1:53: `description` is empty; leave it out for the default",
    ]),
];

// Python configs of Twitcher 1.
#[test]
fn python_configs() {
    check(PYTHON);
}

#[rustfmt::skip]
const PYTHON: &[Case] = &[
    ("# Deploys the site\ndef deploy():\n    return 0\n\nRegisterWatch(\n    znode='/n',\n    \
      action=deploy,\n    run_on_load=False)", &[
        "1:1: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), pipe_stdin: True });", &[
        "1:65: unknown variable `True`; write true; if this is a Python config of Twitcher 1, \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: None });", &[
        "1:62: unknown variable `None`; write () for nothing, or leave the key out; if this is a \
         Python config of Twitcher 1, `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("RegisterWatch(#{ znode: '/n', action: Exec(\"x\") });", &[
        "1:25: 'text' is \"text\" in Rhai; if this is a Python config of Twitcher 1, \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", # the node\n  action: Exec(\"x\") });", &[
        "1:31: # comment is // comment in Rhai; if this is a Python config of Twitcher 1, \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    // `convert` takes neither for Python.
    ("RegisterWatch(#{\n    znode: \"/n\",\n    # the user\n    action: Exec(\"x\"),\n});", &[
        "3:5: # comment is // comment in Rhai; if this is a Python config of Twitcher 1, \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec('true') });", &[
        "1:44: 'text' is \"text\" in Rhai; if this is a Python config of Twitcher 1, \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("def act(event):\n    return 0", &[
        "1:5: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("RegisterWatch(znode=\"/n\", action=Exec(\"x\"))", &[
        "1:20: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("import os\nRegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: 0 });", &[
        "1:8: the path of a module goes in quotes, import \"os\" as os; if this is a Python config of \
         Twitcher 1, `twitcher convert` rewrites it (docs/migration.md)",
        "2:1: import, from is import \"path\" as name, or the functions of twitcher.twc(5) in Rhai; if \
         this is a Python config of Twitcher 1, `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("for name in [\"a\"]:\n    print(name)", &[
        "1:18: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("import os\n\nRegisterWatch(\"/x\", \"ls\")\n", &[
        "3:1: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("print \"x\"", &[
        "1:1: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("print 'hello'", &[
        "1:1: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("x = u\"x\"", &[
        "1:6: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("x = r\"x\"", &[
        "1:6: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("class A:\n    pass\n", &[
        "1:7: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("try:\n    x = 1\nexcept:\n    x = 2\n", &[
        "1:4: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("for i in [1]: print(i)", &[
        "1:13: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("import twitcher", &[
        "1:8: the path of a module goes in quotes, import \"twitcher\" as twitcher; if this is a Python \
         config of Twitcher 1, `twitcher convert` rewrites it (docs/migration.md)",
    ]),
    ("let f = lambda: 3;", &[
        "1:15: this is a Python config of Twitcher 1, and configs are written in Rhai now: \
         `twitcher convert` rewrites it (docs/migration.md)",
    ]),
];

// Mistakes at which the parser stops.
#[test]
fn syntax() {
    check(SYNTAX);
}

#[rustfmt::skip]
const SYNTAX: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\" action: Exec(\"x\") });", &[
        "1:30: Syntax error: Expecting ',' to separate the items of this object map literal",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"x\") )", &[
        "1:49: Syntax error: Expecting '}' to end this object map literal",
    ]),
    ("RegisterWatch(#{ znode: \"/n, action: Exec(\"x\") });", &[
        "1:44: a text ends before `x`: does it, or the text before it, lack a quote? A quote in a text \
         is \\\"",
    ]),
    ("let x = ;", &[
        "1:9: Syntax error: Unexpected ';'",
    ]),
    ("RegisterWatch({ znode: \"/n\" });", &[
        "1:22: a map begins with #{, as in RegisterWatch(#{ znode: ..., action: ... })",
    ]),
    ("if true { let a = 1;", &[
        "1:9: `{` is never closed; `}` is missing",
    ]),
    ("RegisterWatch(#{ znode = \"/n\" });", &[
        "1:24: Syntax error: Expecting ':' to follow the property 'znode' in this object map literal; a map \
         has `key: value`",
    ]),
    ("let x = `${`;", &[
        "1:12: Syntax error: Open string is not terminated",
    ]),
];
