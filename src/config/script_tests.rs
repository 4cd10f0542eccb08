use super::*;
use crate::config::spec::{Account, OnFailure, RunOnLoad, Throttle};

fn evaluate(source: &str) -> Reply {
    evaluate_with(source, &[])
}

fn evaluate_with(source: &str, modules: &[(&str, &str)]) -> Reply {
    let modules = modules.iter().map(|(path, source)| ((*path).into(), Ok((*source).into()))).collect();
    Interpreter::new().evaluate(&Request {
        path: "/etc/twitcher/git.twc".into(),
        name: "git.twc".into(),
        source: source.into(),
        modules,
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
        ("znode: `/a`, action: OK, description: ``", "`description` is empty"),
        ("znode: `/a`, action: OK, description: 1", "`description` must be a string"),
        ("znode: `/a`, action: OK, description: `git.twc-0`", "duplicate `description` \"git.twc-0\""),
    ] {
        let keys = keys.replace("action: OK", "action: Exec(`x`)");
        let source = format!(
            "fn two(a, b) {{}} fn on_change(e) {{}}\nRegisterWatch(#{{znode: `/`, action: Exec(`x`), \
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
