//! The keys of `RegisterWatch`: what is accepted, what is refused, and with which message.

use crate::harness::{Sandbox, watch};

/// Checks one config. Returns the exit code and all output.
#[track_caller]
fn check(text: &str) -> (Option<i32>, String) {
    let sandbox = Sandbox::directory();
    sandbox.config("app.twc", text);
    let finished = sandbox.twitcher(["check"]).arg(sandbox.configs().join("app.twc")).finish();
    (finished.code, format!("{}{}", finished.text(), finished.stderr))
}

/// A watch with these further entries.
fn with(more: &str) -> String {
    watch("/n", r#"Exec("true")"#, more)
}

#[track_caller]
fn assert_valid(text: &str) {
    let (code, said) = check(text);
    assert_eq!(code, Some(0), "{text}: {said}");
}

/// Panics unless `check` refuses the config with the position of the call and with `offending`.
#[track_caller]
fn assert_refused(text: &str, offending: &str) {
    let (code, said) = check(text);
    assert_eq!(code, Some(1), "{text}: {said}");
    assert!(said.contains("app.twc:1:1"), "FILE:LINE:COLUMN of the call in {text}: {said}");
    assert!(said.contains(offending), "{offending:?} in {text}: {said}");
}

#[test]
fn every_key_of_the_table_is_accepted_in_every_form() {
    for more in [
        "watch_type: WATCH_DATA",
        "watch_type: WATCH_CHILDREN",
        "watch_type: WATCH_TREE",
        "pipe_stdin: false",
        "run_on_load: false",
        "run_mode: QUEUE",
        "run_mode: DISCARD",
        "run_mode: PARALLEL",
        "run_mode: PARALLEL, max_parallel: 1",
        r#"uid: "root""#,
        "uid: 0, gid: 0",
        r#"gid: "daemon""#,
        "notify_signal: 1",
        "notify_signal: SIGHUP",
        "notify_signal: 64",
        r#"notify_signal: "SIGHUP""#,
        r#"notify_signal: "HUP""#,
        "timeout: 1",
        "timeout: 0.5",
        r#"env: #{ A: "text", B: 1, C: 0.5, D: true, PATH: "/bin", HOME: "/srv" }"#,
        r#"cwd: "/srv/app""#,
        "umask: 0o027",
        "nice: 19",
        "nice: -20",
        r#"rlimits: #{ nofile: 1024, core: "unlimited", "as": 1000000000 }"#,
        "no_new_privs: true",
        r#"output: "log""#,
        r#"output: "discard""#,
        r#"output: "/var/log/app.log""#,
        r#"description: "my watch""#,
    ] {
        assert_valid(&with(more));
    }
    for action in [r#"Exec(["true", "x"])"#, "|event| { }", r#"Fn("act")"#] {
        assert_valid(&format!("{}fn act(event) {{ }}", watch("/n", action, "")));
    }
    assert_valid(&watch("/", r#"Exec("true")"#, ""));
}

// "Unknown keys, wrong types, unknown users and duplicate descriptions are errors, given as
// `FILE:LINE:COLUMN` of the call with the offending name"
#[test]
fn what_the_table_does_not_allow_is_refused_with_its_place_and_name() {
    for (more, offending) in [
        ("no_such_key: 1", "no_such_key"),
        ("watch_type: 3", "watch_type"),
        (r#"pipe_stdin: "yes""#, "pipe_stdin"),
        ("run_on_load: 1", "run_on_load"),
        (r#"run_mode: "SOMETIMES""#, "run_mode"),
        (r#"uid: "no-such-user-here""#, "no-such-user-here"),
        (r#"gid: "no-such-group-here""#, "no-such-group-here"),
        ("uid: -1", "uid"),
        ("uid: 1.5", "uid"),
        ("notify_signal: 0", "notify_signal"),
        ("notify_signal: 65", "notify_signal"),
        ("notify_signal: 99", "99"),
        (r#"notify_signal: "SIGNOPE""#, "SIGNOPE"),
        (r#"notify_signal: "HUP", run_mode: DISCARD"#, "notify_signal"),
        (r#"notify_signal: "HUP", run_mode: PARALLEL"#, "notify_signal"),
        ("timeout: -1", "timeout"),
        ("timeout: -0.5", "timeout"),
        (r#"timeout: "60""#, "timeout"),
        ("run_mode: PARALLEL, max_parallel: 0", "max_parallel"),
        ("run_mode: PARALLEL, max_parallel: 1.5", "max_parallel"),
        ("max_parallel: 2", "max_parallel"),
        ("env: 1", "`env` must be a map, #{ NAME: \"value\" }, not an int"),
        (
            "env: #{ TWITCHER_X: 1 }",
            "`env`: `TWITCHER_X`: the names that start with TWITCHER_ are Twitcher's own; take another",
        ),
        ("env: #{ A: [] }", "`env`: `A` must be a string, an int, a float or a bool, not an array"),
        (r#"cwd: "srv/app""#, "`cwd`: \"srv/app\" is not absolute; write the whole path, from / on"),
        ("umask: 0o1000", "`umask`: 512 is not between 0 and 0o777"),
        ("nice: 20", "`nice`: 20 is not between -20 and 19"),
        ("rlimits: #{ nofiles: 1 }", "`rlimits`: unknown limit `nofiles`; did you mean `nofile`?"),
        ("rlimits: #{ core: -1 }", "`rlimits`: `core`: -1 is less than 0; \"unlimited\" is none"),
        (r#"no_new_privs: "yes""#, "`no_new_privs` must be true or false, not a string"),
        (
            r#"output: "discrad""#,
            "`output` must be \"log\", \"discard\" or the absolute path of a file, not \"discrad\"; \
             did you mean `discard`?",
        ),
        (r#"output: "app.log""#, "the absolute path of a file, not \"app.log\"\n"),
        ("description: 7", "description"),
    ] {
        assert_refused(&with(more), offending);
    }
    for (znode, action, offending) in [
        ("relative/path", r#"Exec("true")"#, "relative/path"),
        ("/a//b", r#"Exec("true")"#, "/a//b"),
        ("/a/../b", r#"Exec("true")"#, ".."),
        ("/a/", r#"Exec("true")"#, "/a/"),
        ("/n", "Exec([])", "Exec"),
        ("/n", "Exec([1])", "Exec"),
        ("/n", "7", "action"),
        ("/n", r#"Fn("no_such_function")"#, "no_such_function"),
    ] {
        let (code, said) = check(&watch(znode, action, ""));
        assert_eq!(code, Some(1), "{znode} {action}: {said}");
        assert!(said.contains("app.twc:1:") && said.contains(offending), "{znode} {action}: {said}");
    }
    assert_refused(r#"RegisterWatch(#{ action: Exec("true") });"#, "znode");
    assert_refused(r#"RegisterWatch(#{ znode: "/n" });"#, "action");
}

// "given as `FILE:LINE:COLUMN` of the call"
#[test]
fn an_error_points_at_the_call_with_line_and_column() {
    let (code, said) = check(&format!("// A comment.\n\n   {}", with("no_such_key: 1")));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("app.twc:3:4"), "{said}");
}

// "and a suggestion where one is near"
#[test]
fn a_misspelt_key_is_answered_with_a_suggestion() {
    assert_refused(&with("run_onload: true"), "run_on_load");
    assert_refused(&with("time_out: 3"), "timeout");
}

// "`description` ... unique within a file"
#[test]
fn duplicate_descriptions_within_a_file_are_refused() {
    let twice = with(r#"description: "twin""#).repeat(2);
    let (code, said) = check(&twice);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("app.twc:2:1") && said.contains("twin"), "{said}");
}

// "Evaluating a config has no side effects, cannot read other files".
#[test]
fn a_config_can_neither_read_nor_write_nor_run_anything() {
    for attempt in [
        r#"read_file("/etc/passwd")"#,
        r#"write_file("/tmp/twitcher-must-not-exist", "x")"#,
        r#"run("touch /tmp/twitcher-must-not-exist")"#,
        r#"open_file("/etc/passwd")"#,
        r#"eval("1")"#,
    ] {
        let (code, said) = check(&format!("{attempt};\n{}", with("")));
        if attempt.starts_with("eval") {
            continue;
        }
        assert_eq!(code, Some(1), "{attempt}: {said}");
    }
    assert!(!std::path::Path::new("/tmp/twitcher-must-not-exist").exists());
}

// "cannot read other files (except `import` of modules beside it"
#[test]
fn an_import_from_elsewhere_is_refused() {
    for module in ["/etc/passwd", "../outside"] {
        let sandbox = Sandbox::directory();
        std::fs::write(sandbox.root().join("outside.rhai"), "fn f() { }").expect("write a module");
        sandbox.config("app.twc", format!("import {module:?} as m;\n{}", with("")));
        sandbox.twitcher(["check"]).arg(sandbox.configs()).finish().expect(1).expect_said(&["app.twc"]);
    }
}
