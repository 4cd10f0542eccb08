//! Mistakes, one config each, with every message that `check` gives.

use super::{Case, check};

// Spelling of keys.
#[test]
fn spelling_of_keys() {
    check(KEYS);
}

#[rustfmt::skip]
const KEYS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), tiemout: 60 });", &[
        "1:53: unknown key `tiemout`; did you mean `timeout`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid_: 0 });", &[
        "1:53: unknown key `uid_`; did you mean `uid`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), Znode: \"/x\" });", &[
        "1:53: unknown key `Znode`; did you mean `znode`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), frobnicate: 1 });", &[
        "1:53: unknown key `frobnicate`",
    ]),
    ("RegisterWatch(#{ zonde: \"/n\", action: Exec(\"x\") });", &[
        "1:18: unknown key `zonde`; did you mean `znode`?",
    ]),
    ("RegisterWatch(#{ action: Exec(\"x\") });", &[
        "1:1: missing key `znode` (string): the path of the node to watch",
    ]),
    ("RegisterWatch(#{ znode: \"/n\" });", &[
        "1:1: missing key `action` (Exec(...), closure or Fn(\"name\")): what to run",
    ]),
    ("RegisterWatch(#{});", &[
        "1:1: missing key `znode` (string): the path of the node to watch",
        "1:1: missing key `action` (Exec(...), closure or Fn(\"name\")): what to run",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), retry: #{ atempts: 3, dealy: 1 } });", &[
        "1:63: `retry`: unknown key `atempts`; did you mean `attempts`?",
        "1:75: `retry`: unknown key `dealy`; did you mean `delay`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), guard: #{ max_data: 5 } });", &[
        "1:63: `guard`: unknown key `max_data`; `max_data` stands beside `guard`, not in it",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), rlimits: #{ nofiles: 5, frob: 1 } });", &[
        "1:65: `rlimits`: unknown limit `nofiles`; did you mean `nofile`?",
        "1:77: `rlimits`: unknown limit `frob`",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), as: 1 });", &[
        "1:53: Syntax error: Expecting name of a property; `as` is a word of the language, and goes \
         in quotes as a key: \"as\"",
    ]),
];

// Words and values.
#[test]
fn words_and_values() {
    check(VALUES);
}

#[rustfmt::skip]
const VALUES: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec('x') });", &[
        "1:39: Exec takes a string for the shell or an array [program, argument...], not a character in \
         single quotes; write \"x\"",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec([\"ls\", '/']) });", &[
        "1:39: Exec: word 2 is a character in single quotes, not a string; write \"/\"",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: '0' });", &[
        "1:53: `uid` must be an int or a name, not a character in single quotes; write \"0\"",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: 1..4 });", &[
        "1:53: `timeout` must be a number of seconds, not a range of numbers",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), nice: 1..=4 });", &[
        "1:53: `nice` must be an int, not a range of numbers",
    ]),
    ("let x = Fn('x');", &[
        "1:12: a string is needed here, not a character in single quotes",
    ]),
    ("let x = 'a' - 1..4;", &[
        "1:13: `-` does not work with a character in single quotes and an int",
    ]),
    ("let x = (1..4) - [1];", &[
        "1:16: `-` does not work with a range of numbers and an array",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), run_mode: QEUE });", &[
        "1:63: unknown variable `QEUE`; did you mean `QUEUE`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), run_mode: \"QUEUE\" });", &[
        "1:53: `run_mode` must be QUEUE, DISCARD or PARALLEL (without quotes), not a string; did you \
         mean `QUEUE`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), run_mode: \"queu\" });", &[
        "1:53: `run_mode` must be QUEUE, DISCARD or PARALLEL (without quotes), not a string; did you \
         mean `QUEUE`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), watch_type: QUEUE });", &[
        "1:53: `watch_type` must be WATCH_DATA, WATCH_CHILDREN, WATCH_TREE or WATCH_MEMBERS (without \
         quotes), not QUEUE",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), run_on_load: \"changed\" });", &[
        "1:53: `run_on_load` must be true, false or CHANGED (without quotes), not a string; write \
         CHANGED",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), run_on_load: \"true\" });", &[
        "1:53: `run_on_load` must be true, false or CHANGED (without quotes), not a string; write true",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), on_failure: \"stop\" });", &[
        "1:53: `on_failure` must be KEEP or STOP (without quotes), not a string; did you mean `STOP`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), pipe_stdin: \"no\" });", &[
        "1:53: `pipe_stdin` must be true or false, not a string; write false",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), pipe_stdin: 1 });", &[
        "1:53: `pipe_stdin` must be true or false, not an int; write true",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), output: \"dicard\" });", &[
        "1:53: `output` must be \"log\", \"discard\" or the absolute path of a file, not \"dicard\"; \
         did you mean `discard`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), rlimits: #{ core: \"unlimted\" } });", &[
        "1:65: `rlimits`: `core` must be an int or \"unlimited\", not \"unlimted\"; did you mean \
         `unlimited`?",
    ]),
];

// Wrong types.
#[test]
fn wrong_types() {
    check(TYPES);
}

#[rustfmt::skip]
const TYPES: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: \"60\" });", &[
        "1:53: `timeout` must be a number of seconds, not a string; write 60 without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: [1] });", &[
        "1:53: `timeout` must be a number of seconds, not an array",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), nice: \"10\" });", &[
        "1:53: `nice` must be an int, not a string; write 10 without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), nice: 1.5 });", &[
        "1:53: `nice` must be an int, not a float",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), env: \"A=1\" });", &[
        "1:53: `env` must be a map, #{ NAME: \"value\" }, not a string",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), env: #{ A: [1], \"B-C\": 2 } });", &[
        "1:61: `env`: `A` must be a string, an int, a float or a bool, not an array",
        "1:69: `env`: \"B-C\" is not a valid name of an environment variable; it takes letters, \
         digits and _",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), retry: 3 });", &[
        "1:53: `retry` must be a map, #{ attempts: 5, delay: 1, max_delay: 60 }, not an int",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), description: 7 });", &[
        "1:53: `description` must be a string, not an int",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), store: 3 });", &[
        "1:53: `store` must be a string, not an int",
    ]),
    ("RegisterWatch(\"/n\");", &[
        "1:1: RegisterWatch takes a map, RegisterWatch(#{ ... }), not a string",
    ]),
    ("RegisterWatch(#{ znode: 3, action: Exec(\"x\") });", &[
        "1:18: `znode` must be a string, not an int",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: \"true\" });", &[
        "1:31: `action` is a string; write Exec(\"...\") to run it",
    ]),
    ("RegisterWatch();", &[
        "1:1: RegisterWatch takes one argument, a map: RegisterWatch(#{ ... })",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: #{} });", &[
        "1:53: `uid` must be an int or a name, not a map",
    ]),
];

// Times, masks, sizes and their units.
#[test]
fn times_masks_and_sizes() {
    check(UNITS);
}

#[rustfmt::skip]
const UNITS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: \"60s\" });", &[
        "1:53: `timeout` must be a number of seconds, not a string; write 60, the number of seconds, \
         without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), debounce: \"500ms\" });", &[
        "1:53: `debounce` must be a number of seconds, not a string; write 0.5, the number of \
         seconds, without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), min_interval: \"2 min\" });", &[
        "1:53: `min_interval` must be a number of seconds, not a string; write 120, the number of \
         seconds, without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: 0 });", &[
        "1:53: `timeout` must be a number of seconds above 0, not 0",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), timeout: 99999999 });", &[
        "1:53: `timeout`: 99999999 s is more than a year; leave it out for none",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), splay: 1e99 });", &[
        "1:53: `splay`: 1e99 s is more than a year; leave it out for none",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), splay: -1 });", &[
        "1:53: `splay` must be a number of seconds above 0, not -1",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), umask: 077 });", &[
        "1:60: 077 has a leading zero, and would be the decimal number 77; write 0o077 or \"077\" \
         for an octal number, or 77 for a decimal one",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), umask: 22 });", &[
        "1:60: `umask`: 22 is a decimal number, 0o026 in octal digits; write 0o022 or \"022\" for \
         the umask 022, or 0o026",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), umask: \"o22\" });", &[
        "1:53: `umask` must be an octal number such as 0o027 or \"027\", at most 0o777, not \"o22\"",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), guard: #{ max_shrink: \"50%\" } });", &[
        "1:63: `guard`: `max_shrink` must be a number of percent, such as 50, not a string; write 50",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), guard: #{ max_shrink: 150 } });", &[
        "1:63: `guard`: `max_shrink`: 150 is not between 0 and 100 percent",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), max_data: \"1M\" });", &[
        "1:53: `max_data` must be an int, not a string; write 1048576, the number of bytes, without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), env: #{ V: 1.10 } });", &[
        "1:64: `env`: 1.10 would be the text 1.1; write \"1.10\" or \"1.1\"",
    ]),
];

// What does not go together.
#[test]
fn what_does_not_go_together() {
    check(TOGETHER);
}

#[rustfmt::skip]
const TOGETHER: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), description: \"a\" \
      });\nRegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), description: \"a\" });", &[
        "2:53: duplicate `description` \"a\"; it names the watch within its file",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), max_parallel: 3 });", &[
        "1:53: `max_parallel` is for run_mode: PARALLEL only",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), debounce_max: 5 });", &[
        "1:53: `debounce_max` is for a watch with `debounce` only",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), debounce: 5, debounce_max: 1 });", &[
        "1:66: `debounce_max`: 1 is less than `debounce`, which is 5",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), guard: #{} });", &[
        "1:53: `guard` is empty and guards nothing; write #{ not_empty: true, max_shrink: 50 }, or \
         leave it out",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), store: \"defalt\" });", &[
        "1:53: `store`: unknown store \"defalt\"; add [stores.defalt] to twitcher.toml and restart \
         the daemon; did you mean `default`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), store: \"zk://a\" });", &[
        "1:53: `store`: \"zk://a\" is no name of a store; a name has letters, digits, - and _; name \
         the store in twitcher.toml, and restart the daemon",
    ]),
];
