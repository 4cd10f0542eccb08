//! Several mistakes of one file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{TWITCHER, command, run, said};

// One check finds every mistake, in the order of the file, each at its key.
#[test]
fn all_mistakes_of_a_file_are_said_in_order() {
    let config = r#"// Deploys the site.
RegisterWatch(#{
    description: "deploy",
    znode: "/git/head",
    action: Exec(["git", "pull", 3]),
    uid: "nobdy",
    tiemout: 60,
});
for color in ["red", "green"] {
    RegisterWatch(#{
        znode: `/colors/${color}`,
        run_mode: QEUE,
        action: |event| log(event.txt),
        env: #{ "A-B": 1 },
    });
}
fn later() { frob() }
"#;
    let expected = r#"a.twc:5:13: Exec: word 3 is an int, not a string
  |     action: Exec(["git", "pull", 3]),
  |             ^
a.twc:6:5: `uid`: unknown user "nobdy"; did you mean `nobody`?
  |     uid: "nobdy",
  |     ^
  of watch "deploy", registered at a.twc:2:1
a.twc:7:5: unknown key `tiemout`; did you mean `timeout`?
  |     tiemout: 60,
  |     ^
  of watch "deploy", registered at a.twc:2:1
a.twc:12:19: unknown variable `QEUE`; did you mean `QUEUE`?
  |         run_mode: QEUE,
  |                   ^
a.twc:13:35: the event has no field `txt`; did you mean `text`?
  |         action: |event| log(event.txt),
  |                                   ^
a.twc:14:17: `env`: "A-B" is not a valid name of an environment variable; it takes letters, digits and _
  |         env: #{ "A-B": 1 },
  |                 ^
  of watch "a.twc-2", registered at a.twc:10:5
a.twc:17:14: unknown function `frob`
  | fn later() { frob() }
  |              ^
"#;
    assert_eq!(said(config, &[]), expected);
}

// What the script needs behind an unknown name is loaded as well.
#[test]
fn an_unknown_name_hides_no_mistake_and_makes_none_up() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("web.json"), "{}").unwrap();
    let config = "RegisterWatch(#{ znode: `/a`, action: Exec(`x`), run_mode: QUEU });\n\
                  RegisterWatch(#{ znode: `/b`, action: Exec(`x`), decode: JSON, schema: `web.json` });\n\
                  RegisterWatch(#{ znode: `/c/${env(\"HOME\", \"h\")}`, action: Exec(`x`) });\n\
                  import \"usual\" as u;\n\
                  RegisterWatch(#{ znode: `/d`, action: Exec(`x`), tiemout: 3 });\n";
    let (code, said) = run(directory.path(), config, &[]);
    let messages: Vec<&str> = said.lines().filter(|line| line.starts_with("a.twc:")).collect();
    let expected = [
        "a.twc:1:60: unknown variable `QUEU`; did you mean `QUEUE`?",
        "a.twc:5:50: unknown key `tiemout`; did you mean `timeout`?",
    ];
    assert_eq!((code, &messages[..]), (Some(1), &expected[..]), "{said}");
}

// The parser stops at each of them.
#[test]
fn all_syntax_errors_of_a_file_are_said_and_nothing_else() {
    let config = r#"let port = 80
let host = "h;
RegisterWatch(#{
    znode: "/a"
    action: Exec("x"),
});
RegisterWatch(#{ znode: "/b", action: Exec("x") }
RegisterWatch(#{ znode: "/c", timeout: 5m, action: Exec("x") });
import "broken" as b;
fn act(event) {
    run("x"
}
RegisterWatch(#{
    tiemout: 3,
    znode: `/g/${host}/${port}`,
    action: Fn("act"),
});
for name in ["a", "b"] {
RegisterWatch(#{ znode: `/${name}`, action: act(name) });
}
RegisterWatch({ znode: "/e" });
RegisterWatch(#{ znode = "/f" });
let usual = #{ nice: 1, ;
RegisterWatch(usual + #{ znode: "/h", action: Exec("x") });
RegisterWatch(#{ znode: "/i", action: Exec("x"), run_mode: QEUE });
"#;
    let expected = [
        "a.twc:2:1",
        "a.twc:2:12",
        "a.twc:5:5",
        "a.twc:7:14",
        "a.twc:8:41",
        "a.twc:12:1",
        "a.twc:14:5",
        "a.twc:21:22",
        "a.twc:22:24",
        "a.twc:23:25",
        "a.twc:25:60",
        "broken.rhai:1:9",
    ];
    assert_places(config, &expected);
}

/// Expects messages at these places, and no others.
fn assert_places(config: &str, expected: &[&str]) {
    let said = said(config, &[]);
    let messages = said.lines().filter(|line| !line.starts_with(' '));
    let places: Vec<&str> = messages.filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, expected, "{said}");
}

// What looks like a statement in a comment or in a text is none.
#[test]
fn comments_and_texts_hide_no_syntax_error_and_make_none_up() {
    let config = r##"/* The first line
let a = ;
/* nested */ RegisterWatch(#{
*/
RegisterWatch(#{ znode: "/a", timeout: 5m, action: Exec(`
for f in *; do
let "n = 1"
done
`) });
let b = 1 /* one
let c = ;
*/ + 1; // let d = ;
let text = #"
RegisterWatch(#{ znode = 1 });
"#;
RegisterWatch(#{ znode: "/b" /*, */ action: Exec(`echo ${b} # /* `) });
RegisterWatch(#{ znode: "/c", action: Exec("ls /*"), tiemout: b });
"##;
    assert_places(config, &["a.twc:5:41", "a.twc:16:37", "a.twc:17:54"]);
    let open = "let a = `one;\nRegisterWatch(#{ znode: `/a`, action: Exec(\"x\"), tiemout: 1 });\n\
                RegisterWatch(#{ znode: \"/b\" action: Exec(`x`) });\n";
    assert_places(open, &["a.twc:1:9", "a.twc:2:50", "a.twc:3:30"]);
}

// The next statement is judged for itself.
#[test]
fn a_bracket_that_stays_open_is_said_where_it_opens_and_hides_only_its_statement() {
    let config = r#"fn deploy(event) {
    if event.text == "" {
        run("x");
}
RegisterWatch(#{
    znode: "/a",
    tiemout: 1,
    action: Fn("deploy"),
});
for name in ["a", "b"] {
RegisterWatch(#{ znode: `/${name}`, action: Exec("x") });

RegisterWatch(#{
    znode: "/b",
    action: Exec("x"),

let usual = #{ nice: 1, env: #{ A: "b" };
RegisterWatch(usual + #{ znode: "/c", action: Exec("x"), run_mode: QEUE });
RegisterWatch(#{ znode: "/d", action: Exec("x"), nicee: 1 });
while true {
let n = 1;
if n > 1 { break; }
fn last(event) { frob(event) }
"#;
    assert_places(
        config,
        &[
            "a.twc:2:25",
            "a.twc:7:5",
            "a.twc:10:24",
            "a.twc:13:14",
            "a.twc:17:41",
            "a.twc:18:68",
            "a.twc:19:50",
            "a.twc:20:12",
            "a.twc:23:18",
        ],
    );
    let said = said(config, &[]);
    for text in ["2:25: `{` is never closed; `}` is", "13:14: `(` is never closed; `})` is"] {
        assert!(said.contains(text), "{text}: {said}");
    }
}

// A generated file is as long as it needs to be.
#[test]
fn a_file_of_fifteen_hundred_statements_shows_all_its_syntax_errors() {
    let watch = |n: usize| match n {
        500 => format!("RegisterWatch(#{{ znode: \"/{n}\" action: Exec(\"x\") }});\n"),
        1000 => format!("RegisterWatch(#{{ znode: \"/{n}\", action: Exec(\"x\") }}\n"),
        1250 => format!("RegisterWatch(#{{ znode: \"/{n}\", action: Exec(\"x\"), tiemout: 1 }});\n"),
        _ => format!("RegisterWatch(#{{ znode: \"/{n}\", action: Exec(\"x\") }});\n"),
    };
    let config: String = (1..=1500).map(watch).collect();
    assert_places(&config, &["a.twc:500:32", "a.twc:1000:14", "a.twc:1250:53"]);
}

// The interpreter takes the rest of the file for a part of the comment, and would say nothing.
#[test]
fn a_comment_without_an_end_is_said_where_it_begins() {
    let config = "RegisterWatch(#{ znode: \"/a\", action: Exec(\"x\") });\n/* of /srv/* */\n\
                  RegisterWatch(#{ znode: \"/b\", action: Exec(\"x\"), tiemout: 1 });\n";
    assert_places(config, &["a.twc:2:1"]);
    let wrong = format!("let a = ;\nlet b = 5m;\n{config}");
    assert_places(&wrong, &["a.twc:1:9", "a.twc:2:10", "a.twc:4:1"]);
}

// Several registrations share the code of a function, so a message names the call.
#[test]
fn a_mistake_within_a_function_names_the_calls_that_led_there() {
    let config = "fn reg(time) {\n    \
                  RegisterWatch(#{ znode: \"/n\", action: Exec(\"x\"), timeout: time });\n}\n\
                  reg(5);\nreg(\"5m\");\nreg(\"x\");\n";
    let said = said(config, &[]);
    assert!(said.contains("write 300, the number of seconds, without quotes\n"), "{said}");
    for (watch, call) in [("a.twc-2", "a.twc:5:1"), ("a.twc-3", "a.twc:6:1")] {
        let notes = format!("  of watch \"{watch}\", registered at a.twc:2:5\n  called from {call}\n");
        assert!(said.contains(&notes), "{said}");
    }
}

// A key may stand in another map than that of the call.
#[test]
fn a_key_is_found_where_it_is_written() {
    let config = "let usual = #{ timeout: 0, uid: 1.5 };\nlet w = #{ znode: \"/n\", action: Exec(\"x\") };\n\
                  w.nice = 99;\nRegisterWatch(usual + w);\n";
    let said = said(config, &[]);
    for place in ["a.twc:1:16: `timeout`", "a.twc:1:28: `uid`", "a.twc:3:3: `nice`"] {
        assert!(said.contains(place), "{place}: {said}");
    }
}

// As in every release: a script may do without a watch that it could not register.
#[test]
fn a_script_may_catch_its_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let config = "try { RegisterWatch(#{ znode: \"n\" }) } catch { }\n\
                  RegisterWatch(#{ znode: \"/n\", action: Exec(\"x\") });\n";
    assert_eq!(run(directory.path(), config, &[]), (Some(0), "a.twc: ok, 1 watch\n".to_owned()));
}

// A build server does not have the users of the hosts.
#[test]
fn lint_judges_without_the_users_groups_and_rights_of_this_host() {
    let directory = tempfile::tempdir().unwrap();
    let watch = |keys: &str| format!("RegisterWatch(#{{ znode: \"/n\", action: Exec(\"x\"), {keys} }});\n");
    let right = watch("uid: \"no-such-user\", gid: \"no-such-group\", nice: -5");
    assert_eq!(run(directory.path(), &right, &["--lint"]), (Some(0), "a.twc: ok, 1 watch\n".to_owned()));
    assert!(said(&right, &[]).contains("unknown user"));
    let wrong = watch("uid: 1.5, tiemout: 3");
    let said = said(&wrong, &["--lint"]);
    assert!(
        said.contains("`uid` must be an int or a name") && said.contains("unknown key `tiemout`"),
        "{said}"
    );
}

// Nor does it have their owners and modes.
#[test]
fn lint_judges_a_file_that_root_would_not_load() {
    assert!(nix::unistd::geteuid().is_root(), "only root refuses such a file: run the suite as root");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("a.twc");
    fs::write(&config, crate::watch("/n")).unwrap();
    fs::set_permissions(&config, Permissions::from_mode(0o664)).unwrap();
    let check = |flags: &[&str]| {
        let mut check = command(TWITCHER);
        check.arg("check").args(flags).arg("--config-path").args([directory.path(), &config]);
        let output = check.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = check(&[]);
    assert!(code == Some(1) && said.contains("writable by its group or others"), "{said}");
    assert_eq!(check(&["--lint"]), (Some(0), String::new()));
}

// A function runs at night. So `check` finds what it calls, but only what cannot work.
#[test]
fn names_that_exist_are_no_mistakes() {
    let directory = tempfile::tempdir().unwrap();
    let config = r##"import "usual" as usual;
const SITE = "a";
let names = ["x", "y"];
fn helper(event, n) { n }
fn act(event) {
    let result = run(["true"]);
    log(`${global::SITE} ${usual::ROOT} ${result.code + 1} ${helper(event, 2)}`);
    for change in event.changes { log(change.text ?? change.znode); }
    for (name, n) in ["a"] { print(name + n); }
    let map = #{ f: |x| x + 1, n: 3 };
    log(map.f(1) + map.n);
    log(event.text.split("\n").filter(|line| line.len > 0 && !line.starts_with("#"))
        .reduce(|a, b| a + b, ""));
    event.mine = 1;
    event["yours"] = 1;
    log(event.mine + event.yours);
    log(event.changes.len + event.changes[0..1].len + event.changes[event.children.len].size);
    log(event.data[0] + event.text[0] + event.value.any.thing + event["value"]["thing"].other);
    log(env("A") + env("A", 1) + hostname() + 2.0.log(2.0) + event.text.log());
    either(event); either(#{ another: 1 });
    pointed(event); [1].map(Fn("pointed"));
    usual::foreign(event);
    switch event.event { "load" => log("l"), _ => debug(event) }
    try { throw "x" } catch (error) { log(error) }
    let file = open_file("/dev/null"); file.read_string();
    path("/a").exists();
    let t = timestamp(); log(t.elapsed); sleep(0); exit(3);
    write_file("/tmp/x", parse_json(event.text).to_string());
    if false { return type_of(event); }
    do { break; } while true;
    this_is_set(event)
}
// These get other values, too.
fn either(e) { e.another }
fn pointed(e) { e.another }
fn reg(name) { RegisterWatch(#{ znode: name, action: Exec("x") }) }
reg("/one");
fn this_is_set(e) { e.data.len() }
for name in names {
    RegisterWatch(usual::quiet() + #{
        description: name,
        znode: `/n/${name}`,
        action: |event| { log(name); act(event); QUEUE },
    });
}
RegisterWatch(#{ znode: "/n", action: Fn("act"), env: #{ HOME: "${HOME}" } });
RegisterWatch(#{ znode: "/n", action: Exec("echo ${HOME} ${TWITCHER_EVENT:-none} $name") });
"##;
    assert_eq!(run(directory.path(), config, &[]), (Some(0), "a.twc: ok, 5 watches\n".to_owned()));
}

// The daemon loads such a file as before, because it may never come to the place.
#[test]
fn a_name_in_code_that_never_runs_is_refused_by_check_only() {
    let config = "if false { frob(); }\nRegisterWatch(#{ znode: \"/n\", action: Exec(\"x\") });\n";
    let said = said(config, &[]);
    assert!(said.starts_with("a.twc:1:12: unknown function `frob`\n"), "{said}");
}

#[test]
fn the_mistakes_of_a_loop_are_shown_three_times_and_counted() {
    let config = "for n in 0..200 { RegisterWatch(#{ znode: `n${n}`, action: Exec(\"x\") }); }";
    let said = said(config, &[]);
    assert!(said.ends_with("a.twc: 200 mistakes; the first 3 are shown\n"), "{said}");
    assert_eq!(said.matches("is not absolute").count(), 3, "{said}");
}
