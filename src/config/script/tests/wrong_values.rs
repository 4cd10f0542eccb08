//! Errors about values and keys.

use super::*;

#[test]
fn wrong_values_are_errors_that_name_them() {
    for (keys, expected) in [
        ("", "missing key `znode`"),
        ("znode: `/a`", "missing key `action`"),
        ("znode: `a`, action: OK", "`znode`: node path \"a\" is not absolute"),
        ("znode: `/a/`, action: OK", "`znode`: node path"),
        ("znode: 3, action: OK", "`znode` must be a string, not an int"),
        ("znode: `/a`, action: `x`", "`action` is a string; write Exec"),
        ("znode: `/a`, action: Fn(`on_chang`), znod: 1", "unknown key `znod`; did you mean `znode`?"),
        ("znode: `/a`, action: 3", "`action` must be Exec(...), a closure or Fn(\"name\"), not an int"),
        ("znode: `/a`, action: Exec(``)", "Exec: the command is empty"),
        ("znode: `/a`, action: Exec(` `)", "Exec: the command is empty"),
        ("znode: `/a`, action: Exec([])", "Exec: the command is empty"),
        ("znode: `/a`, action: Exec([``])", "Exec: the program's name is empty"),
        ("znode: `/a`, action: Exec([`a`, 3])", "Exec: word 2 is an int, not a string"),
        ("znode: `/a`, action: Exec(3)", "Exec takes a string"),
        ("znode: `/a`, action: Exec(\"a\\x00\")", "Exec: \"a\\0\" has a NUL"),
        ("znode: `/a`, action: Exec([`x`, \"a\\x00\"])", "Exec: \"a\\0\" has a NUL"),
        ("znode: `/a`, action: Exec(`a`, `b`)", "Exec takes one argument"),
        ("znode: `/a`, action: Fn(`nosuch`)", "`action`: unknown function `nosuch`"),
        ("znode: `/a`, action: Fn(`printt`)", "`action`: unknown function `printt`"),
        ("znode: `/a`, action: Fn(`on_chnge`)", "unknown function `on_chnge`; did you mean `on_change`?"),
        ("znode: `/a`, action: Fn(`two`)", "`action`: the function `two` must take one argument"),
        ("znode: `/a`, action: |a, b| 1", "the closure takes 2 arguments; it must take one"),
        ("znode: `/a`, action: || 1", "the closure takes 0 arguments; it must take one"),
        ("znode: `/a`, action: OK, tiemout: 3", "unknown key `tiemout`; did you mean `timeout`?"),
        ("znode: `/a`, action: OK, Znode: 3", "unknown key `Znode`; did you mean `znode`?"),
        ("znode: `/a`, action: OK, frobnicate: 3", "unknown key `frobnicate`\n"),
        (
            "znode: `/a`, action: OK, watch_type: `WATCH_DATA`",
            "`watch_type` must be WATCH_DATA, WATCH_CHILDREN, WATCH_TREE or WATCH_MEMBERS",
        ),
        (
            "znode: `/a`, action: OK, watch_type: QUEUE",
            "`watch_type` must be WATCH_DATA, WATCH_CHILDREN, WATCH_TREE or WATCH_MEMBERS",
        ),
        ("znode: `/a`, action: OK, run_mode: 1", "`run_mode` must be QUEUE, DISCARD or PARALLEL"),
        ("znode: `/a`, action: OK, run_mode: QEUE", "unknown variable `QEUE`; did you mean `QUEUE`?"),
        ("znode: `/a`, action: OK, pipe_stdin: 1", "`pipe_stdin` must be true or false, not an int"),
        (
            "znode: `/a`, action: OK, run_on_load: `x`",
            "`run_on_load` must be true, false or CHANGED (without quotes)",
        ),
        ("znode: `/a`, action: OK, uid: -1", "`uid`: -1 is not a valid id"),
        ("znode: `/a`, action: OK, uid: 4294967295", "`uid`: 4294967295 is not a valid id"),
        ("znode: `/a`, action: OK, gid: 1.5", "`gid` must be an int or a name, not a float"),
        ("znode: `/a`, action: OK, gid: ``", "`gid` is empty"),
        ("znode: `/a`, action: OK, uid: ()", "`uid` must be an int or a name, not nothing"),
        ("znode: `/a`, action: OK, notify_signal: 0", "`notify_signal`: 0 is not between 1 and 64"),
        ("znode: `/a`, action: OK, notify_signal: 65", "`notify_signal`: 65 is not between 1 and 64"),
        ("znode: `/a`, action: OK, notify_signal: `HUPP`", "unknown signal \"HUPP\"; did you mean `SIGHUP`?"),
        ("znode: `/a`, action: OK, timeout: 0", "`timeout` must be a number of seconds above 0, not 0"),
        ("znode: `/a`, action: OK, timeout: -1", "`timeout` must be a number of seconds above 0, not -1"),
        (
            "znode: `/a`, action: OK, timeout: 0.0/0.0",
            "`timeout` must be a number of seconds above 0, not NaN",
        ),
        (
            "znode: `/a`, action: OK, timeout: 1.0/0.0",
            "`timeout` must be a number of seconds above 0, not inf",
        ),
        (
            "znode: `/a`, action: OK, timeout: 1e-4",
            "`timeout`: 0.0001 s is less than 0.001 s, the shortest time",
        ),
        ("znode: `/a`, action: OK, timeout: 1e400", "`timeout` must be a number of seconds above 0, not inf"),
        ("znode: `/a`, action: OK, timeout: 1e18", "`timeout`: 1e18 s is more than a year"),
        (
            "znode: `/a`, action: OK, max_data: 99999999999999999999",
            "`max_data`: 1e20 is larger than an int can be",
        ),
        ("znode: `/a`, action: OK, timeout: 40000000", "`timeout`: 40000000 s is more than a year"),
        ("znode: `/a`, action: OK, timeout: `60`", "`timeout` must be a number of seconds, not a string"),
        ("znode: `/a`, action: OK, max_parallel: 3", "`max_parallel` is for run_mode: PARALLEL only"),
        (
            "znode: `/a`, action: OK, notify_signal: 1, run_mode: DISCARD",
            "`notify_signal` is for run_mode: QUEUE",
        ),
        ("znode: `/a`, action: OK, retry: 3", "`retry` must be a map"),
        (
            "znode: `/a`, action: OK, retry: #{ atempts: 3 }",
            "`retry`: unknown key `atempts`; did you mean `attempts`?",
        ),
        ("znode: `/a`, action: OK, retry: #{ attempts: 0 }", "`attempts`: 0 is less than 1"),
        ("znode: `/a`, action: OK, retry: #{ delay: 0 }", "`delay` must be a number of seconds above 0"),
        ("znode: `/a`, action: OK, on_failure: `STOP`", "`on_failure` must be KEEP or STOP (without quotes)"),
        (
            "znode: `/a`, action: OK, debounce: 5, debounce_max: 4.5",
            "`debounce_max`: 4.5 is less than `debounce`, which is 5",
        ),
        ("znode: `/a`, action: OK, debounce_max: 9", "`debounce_max` is for a watch with `debounce` only"),
        (
            "znode: `/a`, action: OK, debounce: 5, debounce_max: 0",
            "`debounce_max` must be a number of seconds",
        ),
        ("znode: `/a`, action: OK, splay: -1", "`splay` must be a number of seconds above 0"),
        ("znode: `/a`, action: OK, run_mode: PARALLEL, max_parallel: 0", "`max_parallel`: 0 is less than 1"),
        ("znode: `/a`, action: OK, run_mode: PARALLEL, max_parallel: 1.0", "`max_parallel` must be an int"),
        ("znode: `/a`, action: OK, max_dat: 3", "unknown key `max_dat`; did you mean `max_data`?"),
        ("znode: `/a`, action: OK, max_data: -1", "`max_data`: -1 is less than 0; leave it out for no limit"),
        ("znode: `/a`, action: OK, max_data: 1.0", "`max_data` must be an int, not a float"),
        ("znode: `/a`, action: OK, gaurd: #{}", "unknown key `gaurd`; did you mean `guard`?"),
        (
            "znode: `/a`, action: OK, guard: true",
            "`guard` must be a map, #{ not_empty: true, max_shrink: 50 }, not a bool",
        ),
        (
            "znode: `/a`, action: OK, guard: #{}",
            "`guard` is empty and guards nothing; write #{ not_empty: true",
        ),
        (
            "znode: `/a`, action: OK, guard: #{ max_shrnk: 5 }",
            "`guard`: unknown key `max_shrnk`; did you mean `max_shrink`?",
        ),
        ("znode: `/a`, action: OK, guard: #{ min_size: 5 }", "`guard`: unknown key `min_size`\n"),
        (
            "znode: `/a`, action: OK, guard: #{ max_data: 5 }",
            "`guard`: unknown key `max_data`; `max_data` stands beside `guard`, not in it",
        ),
        (
            "znode: `/a`, action: OK, guard: #{ not_empty: 1 }",
            "`not_empty` must be true or false, not an int",
        ),
        (
            "znode: `/a`, action: OK, guard: #{ max_shrink: `50%` }",
            "`max_shrink` must be a number of percent, such as 50, not a string",
        ),
        (
            "znode: `/a`, action: OK, guard: #{ max_shrink: 101 }",
            "`max_shrink`: 101 is not between 0 and 100 percent",
        ),
        (
            "znode: `/a`, action: OK, guard: #{ max_shrink: -0.5 }",
            "`max_shrink`: -0.5 is not between 0 and 100 percent",
        ),
        (
            "znode: `/a`, action: OK, guard: #{ max_shrink: 0.0/0.0 }",
            "`max_shrink`: NaN is not between 0 and 100 percent",
        ),
        ("znode: `/a`, action: OK, evn: #{}", "unknown key `evn`; did you mean `env`?"),
        ("znode: `/a`, action: OK, rlimit: #{}", "unknown key `rlimit`; did you mean `rlimits`?"),
        ("znode: `/a`, action: OK, env: `A=1`", "`env` must be a map, #{ NAME: \"value\" }, not a string"),
        (
            "znode: `/a`, action: OK, env: #{ TWITCHER_WATCH: 1 }",
            "`env`: `TWITCHER_WATCH`: the names that start with TWITCHER_ are Twitcher's own; take another",
        ),
        (
            "znode: `/a`, action: OK, env: #{ \"A-B\": 1 }",
            "`env`: \"A-B\" is not a valid name of an environment variable; it takes letters, digits and _",
        ),
        (
            "znode: `/a`, action: OK, env: #{ \"1A\": 1 }",
            "`env`: \"1A\" is not a valid name of an environment variable",
        ),
        (
            "znode: `/a`, action: OK, env: #{ \"\": 1 }",
            "`env`: \"\" is not a valid name of an environment variable",
        ),
        (
            "znode: `/a`, action: OK, env: #{ \"A=B\": 1 }",
            "`env`: \"A=B\" is not a valid name of an environment variable",
        ),
        (
            "znode: `/a`, action: OK, env: #{ A: [1] }",
            "`env`: `A` must be a string, an int, a float or a bool, not an array",
        ),
        (
            "znode: `/a`, action: OK, env: #{ A: () }",
            "`env`: `A` must be a string, an int, a float or a bool, not nothing",
        ),
        ("znode: `/a`, action: OK, env: #{ A: \"a\\x00\" }", "`env`: `A`: \"a\\0\" has a NUL character"),
        (
            "znode: `/a`, action: OK, env: #{ A: \"x\".long() }",
            "`env`: `A` is longer than the 128 KiB that the kernel takes",
        ),
        ("znode: `/a`, action: OK, cwd: 3", "`cwd` must be a string, not an int"),
        (
            "znode: `/a`, action: OK, cwd: `srv`",
            "`cwd`: \"srv\" is not absolute; write the whole path, from / on",
        ),
        ("znode: `/a`, action: OK, cwd: ``", "`cwd`: \"\" is not absolute"),
        ("znode: `/a`, action: OK, cwd: \"/a\\x00\"", "`cwd`: \"/a\\0\" has a NUL character"),
        (
            "znode: `/a`, action: OK, umask: `o22`",
            "`umask` must be an octal number such as 0o027 or \"027\", at most 0o777, not \"o22\"",
        ),
        ("znode: `/a`, action: OK, umask: `028`", "at most 0o777, not \"028\""),
        ("znode: `/a`, action: OK, umask: `01000`", "at most 0o777, not \"01000\""),
        ("znode: `/a`, action: OK, umask: `+22`", "at most 0o777, not \"+22\""),
        ("znode: `/a`, action: OK, umask: ``", "at most 0o777, not \"\""),
        ("znode: `/a`, action: OK, umask: 2.0", "`umask` must be an octal number such as 0o027"),
        (
            "znode: `/a`, action: OK, umask: 0o1000",
            "`umask`: 512 is not between 0 and 0o777; an octal number starts with 0o, such as 0o027",
        ),
        ("znode: `/a`, action: OK, umask: -1", "`umask`: -1 is not between 0 and 0o777"),
        ("znode: `/a`, action: OK, nice: 20", "`nice`: 20 is not between -20 and 19"),
        ("znode: `/a`, action: OK, nice: -21", "`nice`: -21 is not between -20 and 19"),
        ("znode: `/a`, action: OK, nice: 1.5", "`nice` must be an int, not a float"),
        (
            "znode: `/a`, action: OK, rlimits: 3",
            "`rlimits` must be a map, #{ nofile: 1024, core: \"unlimited\" }, not an int",
        ),
        (
            "znode: `/a`, action: OK, rlimits: #{ nofiles: 3 }",
            "`rlimits`: unknown limit `nofiles`; did you mean `nofile`?",
        ),
        (
            "znode: `/a`, action: OK, rlimits: #{ RLIMIT_NPROC: 3 }",
            "`rlimits`: unknown limit `RLIMIT_NPROC`; did you mean `nproc`?",
        ),
        ("znode: `/a`, action: OK, rlimits: #{ frobnicate: 3 }", "`rlimits`: unknown limit `frobnicate`\n"),
        (
            "znode: `/a`, action: OK, rlimits: #{ core: -1 }",
            "`rlimits`: `core`: -1 is less than 0; \"unlimited\" is none",
        ),
        (
            "znode: `/a`, action: OK, rlimits: #{ core: 1.5 }",
            "`rlimits`: `core` must be an int or \"unlimited\", not a float",
        ),
        (
            "znode: `/a`, action: OK, rlimits: #{ core: \"unlimted\" }",
            "`rlimits`: `core` must be an int or \"unlimited\", not \"unlimted\"; did you mean `unlimited`?",
        ),
        ("znode: `/a`, action: OK, no_new_privs: 1", "`no_new_privs` must be true or false, not an int"),
        (
            "znode: `/a`, action: OK, output: `dicard`",
            "`output` must be \"log\", \"discard\" or the absolute path of a file, not \"dicard\"; \
             did you mean `discard`?",
        ),
        (
            "znode: `/a`, action: OK, output: `logs/app`",
            "`output` must be \"log\", \"discard\" or the absolute path of a file, not \"logs/app\"\n",
        ),
        ("znode: `/a`, action: OK, output: 1", "`output` must be a string, not an int"),
        ("znode: `/a`, action: OK, output: \"/a\\x00\"", "`output`: \"/a\\0\" has a NUL character"),
        ("znode: `/a`, action: OK, description: ``", "`description` is empty"),
        ("znode: `/a`, action: OK, description: 1", "`description` must be a string"),
        ("znode: `/a`, action: OK, description: `git.twc-0`", "duplicate `description` \"git.twc-0\""),
    ] {
        let keys = keys.replace("action: OK", "action: Exec(`x`)");
        let source = format!(
            "fn two(a, b) {{}} fn on_change(e) {{}} fn long() {{ let x = this; x.pad(131072, 'x'); x }}\n\
             RegisterWatch(#{{znode: `/`, action: Exec(`x`), description: `git.twc-0`}});\n  \
             RegisterWatch(#{{{keys}}});"
        );
        let message = failed(&source);
        assert!(message.starts_with("/etc/twitcher/git.twc:3:"), "{keys}: {message}");
        assert!(message.contains(expected), "{keys}: {message}");
    }
}

#[test]
fn a_number_with_a_leading_zero_is_an_error_that_points_at_it() {
    assert_eq!(
        failed("let usual = #{\n  umask: 077,\n};"),
        "/etc/twitcher/git.twc:2:10: 077 has a leading zero, and would be the decimal number 77; write \
         0o077 or \"077\" for an octal number, or 77 for a decimal one\n  |   umask: 077,\n  |          ^"
    );
    let message = failed_with("import \"m\" as m;", &[("m.rhai", "\n  fn f() { 060 }")]);
    assert!(message.contains("/etc/twitcher/m.rhai:2:12: 060 has"), "{message}");
}

#[test]
fn a_character_that_does_not_show_is_an_error_that_names_it() {
    assert_eq!(
        failed("let a =\u{a0}1;"),
        "/etc/twitcher/git.twc:1:8: U+00A0 NO-BREAK SPACE cannot stand here; write a plain space instead\n  \
         | let a =\u{a0}1;\n  |        ^\n  the rest of this statement is not checked before this is mended"
    );
    assert_eq!(
        failed("let a\u{200b} =\u{2013}1;"),
        "/etc/twitcher/git.twc:1:6: U+200B ZERO WIDTH SPACE cannot stand here; remove it (it does not \
         show)\n  | let a\\u{200b} =\u{2013}1;\n  |      ^\n  the rest of this statement is not \
         checked before this is mended"
    );
    assert!(
        failed("f(\u{201c}x\u{201d});").contains("1:3: U+201C LEFT DOUBLE QUOTATION MARK cannot stand here")
    );
}
