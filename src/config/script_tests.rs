use super::*;
use crate::model::{
    Account, ExecContext, Guard, OnFailure, Output, Resource, RunOnLoad, Share, Throttle, UNLIMITED,
};

fn evaluate(source: &str) -> Reply {
    evaluate_with(source, &[])
}

fn evaluate_with(source: &str, modules: &[(&str, &str)]) -> Reply {
    evaluate_on(Facts::default(), source, modules)
}

fn evaluate_on(facts: Facts, source: &str, modules: &[(&str, &str)]) -> Reply {
    let modules = modules.iter().map(|(path, source)| ((*path).into(), Ok((*source).into()))).collect();
    Interpreter::new().evaluate(&Request {
        path: "/etc/twitcher/git.twc".into(),
        name: "git.twc".into(),
        source: source.into(),
        modules,
        facts,
    })
}

fn loaded(source: &str) -> Vec<RawWatch> {
    match evaluate(source) {
        Reply::Loaded { watches, .. } => watches,
        other => panic!("{source}: {other:?}"),
    }
}

fn failed(source: &str) -> String {
    match evaluate(source) {
        Reply::Failed { message } => message,
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let watches = loaded(
        "RegisterWatch(#{znode: `/a`, action: Exec(`true`)});\n RegisterWatch(#{znode: `/b`, action: Exec([`x`, ` y`])})",
    );
    let expected = RawWatch {
        description: "git.twc-1".into(),
        store: None,
        znode: "/a".into(),
        watch_type: WatchType::Data,
        action: RawAction::Command(vec!["/bin/sh".into(), "-c".into(), "true".into()]),
        pipe_stdin: true,
        run_on_load: RunOnLoad::Always,
        run_mode: RunMode::Queue,
        uid: None,
        gid: None,
        notify_signal: None,
        timeout: None,
        max_parallel: 64,
        retry: None,
        on_failure: OnFailure::Keep,
        throttle: Throttle::default(),
        guard: Guard::default(),
        exec_context: None,
        source: "git.twc".into(),
        line: 1,
        column: 1,
    };
    assert_eq!(watches[0], expected);
    let (action, description) = (RawAction::Command(vec!["x".into(), " y".into()]), "git.twc-2".into());
    assert_eq!(
        watches[1],
        RawWatch { znode: "/b".into(), action, description, line: 2, column: 2, ..expected }
    );
}

#[test]
fn every_key_is_understood() {
    let with =
        |keys: &str| loaded(&format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {keys}}})")).remove(0);
    assert_eq!(with("store: `eu`").store.as_deref(), Some("eu"));
    assert_eq!(with("watch_type: WATCH_DATA").watch_type, WatchType::Data);
    assert_eq!(with("watch_type: WATCH_CHILDREN").watch_type, WatchType::Children);
    assert_eq!(with("watch_type: WATCH_TREE").watch_type, WatchType::Tree);
    assert!(!with("pipe_stdin: false").pipe_stdin);
    assert_eq!(with("run_on_load: false").run_on_load, RunOnLoad::Never);
    assert_eq!(with("run_on_load: CHANGED").run_on_load, RunOnLoad::Changed);
    assert_eq!(with("run_mode: DISCARD").run_mode, RunMode::Discard);
    assert_eq!(with("run_mode: PARALLEL, max_parallel: 3").max_parallel, 3);
    assert_eq!(with("uid: 0").uid, Some(Account::Id(0)));
    assert_eq!(with("uid: `deploy`, gid: 4294967294").gid, Some(Account::Id(u32::MAX - 1)));
    assert_eq!(with("description: `mine`").description, "mine");
    for (signal, expected) in [("1", 1), ("64", 64), ("`HUP`", 1), ("`SIGHUP`", 1), ("`usr1`", 10)] {
        assert_eq!(with(&format!("notify_signal: {signal}")).notify_signal, Some(expected), "{signal}");
    }
    for (timeout, expected) in [("60", 60_000), ("0.5", 500), ("0.001", 1), ("31622400", 31_622_400_000)] {
        assert_eq!(with(&format!("timeout: {timeout}")).timeout, Some(Duration::from_millis(expected)));
    }
}

#[test]
fn every_key_of_a_guard_is_understood() {
    let with = |keys: &str| {
        loaded(&format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {keys}}})")).remove(0).guard
    };
    let none = Guard::default;
    for (keys, expected) in [
        ("", none()),
        ("max_data: 0", Guard { max_data: Some(0), ..none() }),
        ("max_data: 9223372036854775807", Guard { max_data: Some(i64::MAX as u64), ..none() }),
        ("guard: #{ not_empty: true }", Guard { not_empty: true, ..none() }),
        ("guard: #{ not_empty: false }", none()),
        ("guard: #{ max_shrink: 50 }", Guard { max_shrink: Share::of_percent(50.0), ..none() }),
        ("guard: #{ max_shrink: 0 }", Guard { max_shrink: Share::of_percent(0.0), ..none() }),
        ("guard: #{ max_shrink: 100 }", Guard { max_shrink: Share::of_percent(100.0), ..none() }),
        ("guard: #{ max_shrink: 12.5 }", Guard { max_shrink: Share::of_percent(12.5), ..none() }),
        (
            "max_data: 65536, guard: #{ max_shrink: 50, not_empty: true }",
            Guard { max_data: Some(65536), not_empty: true, max_shrink: Share::of_percent(50.0) },
        ),
    ] {
        assert_eq!(with(keys), expected, "{keys}");
    }
    for percent in [0.0, 0.0001, 7.0, 12.4, 33.3333, 99.9999, 100.0] {
        let keys = format!("guard: #{{ max_shrink: {percent:?} }}");
        assert_eq!(with(&keys).max_shrink.map(Share::percent), Some(percent), "as it was written");
    }
}

#[test]
fn every_key_of_the_surroundings_is_understood() {
    let with = |keys: &str| {
        let source = format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {keys}}})");
        loaded(&source).remove(0).exec_context.map_or_else(ExecContext::default, |asked| *asked)
    };
    let usual = ExecContext::default;
    let variables = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ExecContext { variables: pairs.collect(), ..usual() }
    };
    let text = [("A", ""), ("B_2", "a b\n"), ("_c", "ä")];
    assert_eq!(with("env: #{_c: `ä`, A: ``, B_2: \"a b\\n\"}"), variables(&text));
    let numbers = [("F", "1.0"), ("I", "-3"), ("PATH", "/bin"), ("T", "true")];
    assert_eq!(with("env: #{I: -3, F: 1.0, T: true, PATH: `/bin`}"), variables(&numbers));
    assert_eq!(with("cwd: `/srv/app`"), ExecContext { cwd: "/srv/app".into(), ..usual() });
    for (umask, expected) in [("0", 0), ("0o027", 0o027), ("0o777", 0o777)] {
        assert_eq!(with(&format!("umask: {umask}")), ExecContext { umask: expected, ..usual() });
    }
    for nice in [-20, 0, 19] {
        assert_eq!(with(&format!("nice: {nice}")), ExecContext { nice: Some(nice), ..usual() });
    }
    for resource in Resource::ALL {
        for (value, expected) in
            [("0", 0), ("9223372036854775807", i64::MAX as u64), ("`unlimited`", UNLIMITED)]
        {
            let limits = [(resource, expected)].into();
            let keys = format!("rlimits: #{{ \"{}\": {value} }}", resource.name());
            assert_eq!(with(&keys), ExecContext { limits, ..usual() });
        }
    }
    assert_eq!(with("no_new_privs: true"), ExecContext { no_new_privs: true, ..usual() });
    let file = Output::File("/var/log/x".into());
    for (output, expected) in [("log", Output::Log), ("discard", Output::Discard), ("/var/log/x", file)] {
        assert_eq!(with(&format!("output: `{output}`")), ExecContext { output: expected, ..usual() });
    }
    // Said or not, it is the same definition.
    let spelled_out = "env: #{}, cwd: `/`, umask: 0o022, rlimits: #{}, no_new_privs: false, output: `log`";
    let source = format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {spelled_out}}})");
    assert_eq!(loaded(&source)[0].exec_context, None);
}

#[test]
fn wrong_values_are_errors_that_name_them() {
    for (keys, expected) in [
        ("", "missing key `znode`"),
        ("znode: `/a`", "missing key `action`"),
        ("znode: `a`, action: OK", "`znode`: node path \"a\" is not absolute"),
        ("znode: `/a/`, action: OK", "`znode`: node path"),
        ("znode: 3, action: OK", "`znode` must be a string, not an int"),
        ("znode: `/a`, action: `x`", "`action` is a string; write Exec"),
        ("znode: `/a`, action: 3", "`action` must be Exec(...), a closure or Fn(\"name\"), not an int"),
        ("znode: `/a`, action: Exec(``)", "Exec: the command is empty"),
        ("znode: `/a`, action: Exec(` `)", "Exec: the command is empty"),
        ("znode: `/a`, action: Exec([])", "Exec: the command is empty"),
        ("znode: `/a`, action: Exec([``])", "Exec: the program's name is empty"),
        ("znode: `/a`, action: Exec([`a`, 3])", "Exec: word 1 is an int, not a string"),
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
            "`watch_type` must be WATCH_DATA, WATCH_CHILDREN or WATCH_TREE",
        ),
        (
            "znode: `/a`, action: OK, watch_type: QUEUE",
            "`watch_type` must be WATCH_DATA, WATCH_CHILDREN or WATCH_TREE",
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
        ("znode: `/a`, action: OK, timeout: 1e-9", "`timeout` must be a number of seconds above 0"),
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
            "`env`: \"A-B\" is no name of an environment variable; it takes letters, digits and _",
        ),
        (
            "znode: `/a`, action: OK, env: #{ \"1A\": 1 }",
            "`env`: \"1A\" is no name of an environment variable",
        ),
        ("znode: `/a`, action: OK, env: #{ \"\": 1 }", "`env`: \"\" is no name of an environment variable"),
        (
            "znode: `/a`, action: OK, env: #{ \"A=B\": 1 }",
            "`env`: \"A=B\" is no name of an environment variable",
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
        ("znode: `/a`, action: OK, umask: `022`", "`umask` must be an int, not a string"),
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
            "`output` must be \"log\", \"discard\" or the absolute path of a file, not \"dicard\"; did you mean `discard`?",
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
            "fn two(a, b) {{}} fn on_change(e) {{}} fn long() {{ let x = this; x.pad(131072, 'x'); x }}\nRegisterWatch(#{{znode: `/`, action: Exec(`x`), \
             description: `git.twc-0`}});\n  RegisterWatch(#{{{keys}}});"
        );
        let message = failed(&source);
        let at_call = keys.contains("Exec(`x`)") || !keys.contains("Exec(");
        let column = if at_call && !keys.contains("QEUE") { "3: " } else { "" };
        let start = format!("/etc/twitcher/git.twc:3:{column}");
        assert!(message.starts_with(&start), "{keys}: {message}");
        assert!(message.contains(expected), "{keys}: {message}");
    }
}

#[test]
fn errors_quote_the_line_and_point_at_the_column() {
    assert_eq!(
        failed("let a = 1;\n\tRegisterWach(#{});"),
        "/etc/twitcher/git.twc:2:2: unknown function `RegisterWach (map)`; did you mean `RegisterWatch`?\n  \
         |  RegisterWach(#{});\n  |  ^"
    );
    let message = failed("let a = ;");
    assert!(message.starts_with("/etc/twitcher/git.twc:1:9: "), "{message}");
    assert!(!message.contains("(line"), "{message}");
    let message = failed("fn reg(n) {\n RegisterWatch(n)\n}\nreg(3);");
    assert!(message.starts_with("/etc/twitcher/git.twc:2:2: RegisterWatch takes a map"), "{message}");
    assert!(message.ends_with("\n  called from /etc/twitcher/git.twc:4:1"), "{message}");
}

#[test]
fn configs_have_no_clock_no_eval_and_no_files() {
    for (source, expected) in [
        ("sleep(1)", "`sleep` is not available here"),
        ("sleep(0.1)", "`sleep` is not available here"),
        ("timestamp()", "`timestamp` is not available here"),
        ("eval(`1`)", "eval"),
        ("read_file(`/etc/passwd`)", "unknown function `read_file"),
        ("run(`true`)", "unknown function `run"),
    ] {
        let message = failed(source);
        assert!(message.starts_with("/etc/twitcher/git.twc:1:1: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn constants_are_visible_everywhere() {
    let watches = loaded(
        "fn reg(mode) { if mode == DISCARD { RegisterWatch(#{znode: `/a`, action: Exec(`x`), run_mode: mode, \
         watch_type: WATCH_CHILDREN}) } } let f = |m| reg(m); f.call(DISCARD); print(1); debug(2);",
    );
    assert_eq!(watches[0].watch_type, WatchType::Children);
}

#[test]
fn modules_are_asked_for_and_used() {
    let source = "import \"lib/a\" as a; a::reg();";
    let needs = |reply| match reply {
        Reply::NeedsModule { path } => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs(evaluate(source)), "lib/a.rhai");
    let a = (
        "lib/a.rhai",
        "import \"b\" as b; fn reg() { RegisterWatch(#{znode: b::node(), action: Exec(`x`)}) }",
    );
    assert_eq!(needs(evaluate_with(source, &[a])), "lib/b.rhai");
    let b = ("lib/b.rhai", "fn node() { `/n` }");
    match evaluate_with(source, &[a, b]) {
        Reply::Loaded { watches, .. } => {
            assert_eq!((watches[0].znode.as_str(), watches[0].source.as_str()), ("/n", "lib/a.rhai"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(needs(evaluate("fn later() { import \"c\" as c; }")), "c.rhai");
    assert_eq!(needs(evaluate("import \"c\" + 1 as c;")), "c1.rhai");
}

#[test]
fn errors_in_modules_name_the_module() {
    for (module, expected) in [
        ("let x = ;", "/etc/twitcher/a.rhai:1:9: "),
        ("\nnosuch();", "/etc/twitcher/a.rhai:2:1: unknown function `nosuch"),
        ("fn f() {\n  nosuch()\n}", "/etc/twitcher/a.rhai:2:3: unknown function `nosuch"),
        ("import \"a\" as b;", "/etc/twitcher/a.rhai:1:8: cannot import \"a\": a.rhai imports itself"),
    ] {
        match evaluate_with("import \"a\" as a;\na::f();", &[("a.rhai", module)]) {
            Reply::Failed { message } => {
                assert!(message.starts_with(expected), "{module}: {message}");
                assert!(message.contains("\n  called from /etc/twitcher/git.twc:"), "{message}");
            }
            other => panic!("{module}: {other:?}"),
        }
    }
    for source in ["import \"/etc/x\" as x;", "import \"../x\" as x;"] {
        assert!(failed(source).starts_with("/etc/twitcher/git.twc:1:8: cannot import"));
    }
}

fn facts(hostname: &str, variables: &[(&str, Option<&str>)]) -> Facts {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    Facts { hostname: hostname.into(), variables: variables.collect() }
}

#[test]
fn a_config_is_told_the_facts_that_it_asks_for() {
    let source = "fn node() { `/${hostname()}/${env(\"SITE\", `x`)}/${env(\"NONE\", `none`)}/${env(\"NONE\") == ()}` } \
        RegisterWatch(#{znode: node(), action: Exec(`x`)})";
    let needs = |known: &[_]| match evaluate_on(facts("web7", known), source, &[]) {
        Reply::NeedsVariable { name } => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs(&[]), "SITE");
    assert_eq!(needs(&[("SITE", Some("berlin"))]), "NONE");
    match evaluate_on(facts("web7", &[("SITE", Some("berlin")), ("NONE", None)]), source, &[]) {
        Reply::Loaded { watches, .. } => assert_eq!(watches[0].znode, "/web7/berlin/none/true"),
        other => panic!("{other:?}"),
    }
}

// An error that a script caught is asked for all the same, or it would go on without.
#[test]
fn what_is_missing_is_asked_for_even_where_the_script_would_do_without() {
    assert!(matches!(evaluate("try { env(`X`) } catch {}"), Reply::NeedsVariable { name } if name == "X"));
    let computed = "try { import \"m\" + 1 as m; } catch {}";
    assert!(matches!(evaluate(computed), Reply::NeedsModule { path } if path == "m1.rhai"));
}

#[test]
fn wrong_questions_to_the_host_are_errors() {
    for (source, expected) in [
        ("env(`A B`)", "`env`: \"A B\" is no name of an environment variable"),
        ("env(``, 1)", "`env`: \"\" is no name of an environment variable"),
        ("env(1)", "env takes the name of a variable"),
        ("env()", "env takes the name of a variable"),
        ("hostname(1)", "hostname takes no argument"),
        ("hostnam()", "unknown function `hostnam ()`; did you mean `hostname`?"),
    ] {
        let message = failed(source);
        assert!(message.starts_with("/etc/twitcher/git.twc:1:1: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_word_of_the_language_as_a_key_is_explained() {
    for map in ["as: 1", "core: 1, as: 2"] {
        let message = failed(&format!("let x = #{{ {map} }};"));
        assert!(
            message.contains("`as` is a word of the language, and goes in quotes as a key: \"as\""),
            "{message}"
        );
    }
    for (source, expected) in
        [("let x = #{ 3: 1 };", "to end this object map literal\n"), ("let x = #{ a: 1", "literal")]
    {
        let message = failed(source);
        assert!(message.contains(expected) && !message.contains("in quotes"), "{message}");
    }
}

#[test]
fn modules_share_constants_maps_and_whole_registrations() {
    let module = "export const ROOT = `/app`;\n\
        fn gentle() { #{ nice: 10, run_mode: DISCARD, rlimits: #{ nofile: 64 }, env: #{ SITE: env(`SITE`) } } }\n\
        fn reg(name) { RegisterWatch(gentle() + #{ znode: `/${hostname()}/${name}`, action: Exec(`x`), uid: `nobody` }) }";
    let source = "import \"lib/m\" as m;\n\
        RegisterWatch(m::gentle() + #{ znode: m::ROOT + `/a`, action: Exec(`x`) });\n\
        for name in [`b`, `c`] { m::reg(name); }";
    let watches =
        match evaluate_on(facts("web7", &[("SITE", Some("berlin"))]), source, &[("lib/m.rhai", module)]) {
            Reply::Loaded { watches, .. } => watches,
            other => panic!("{other:?}"),
        };
    let said: Vec<_> =
        watches.iter().map(|watch| (watch.znode.as_str(), watch.source.as_str(), watch.line)).collect();
    assert_eq!(said, [("/app/a", "git.twc", 2), ("/web7/b", "lib/m.rhai", 3), ("/web7/c", "lib/m.rhai", 3)]);
    for watch in &watches {
        let exec_context = watch.exec_context.as_ref().unwrap();
        assert_eq!((watch.run_mode, exec_context.nice), (RunMode::Discard, Some(10)));
        assert_eq!(exec_context.variables["SITE"], "berlin");
        assert_eq!(exec_context.limits[&Resource::Nofile], 64);
    }
}

#[test]
fn a_missing_comma_is_no_word_of_the_language() {
    let message = failed("RegisterWatch(#{ znode: \"/a\", action: Exec(\"x\")\n timeout: 60 });");
    assert!(message.contains("','") && !message.contains("word of the language"), "{message}");
}
