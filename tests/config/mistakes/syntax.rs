//! Mistakes that the parser meets, and words of other languages: the message says what was meant.

use super::{Case, check, run};

#[test]
fn what_the_parser_does_not_take_is_explained() {
    check(SYNTAX);
}

#[rustfmt::skip]
const SYNTAX: &[Case] = &[
    ("RegisterWatch(#{\n    znode: \"/n\",\n    timeout: 5m,\n});", &[
        "3:15: `5m` is no number; write 300, the number of seconds",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", max_data: 2MB });", &[
        "1:42: `2MB` is no number; write 2097152, the number of bytes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", nice: 5x });", &[
        "1:38: `5x` is no number; a number has no unit; put a text in quotes",
    ]),
    ("RegisterWatch({\n    znode: \"/n\",\n    action: Exec(\"true\"),\n});", &[
        "2:10: a map begins with #{, as in RegisterWatch(#{ znode: ..., action: ... })",
    ]),
    ("{\"znode\": \"/n\", \"action\": \"true\"}", &[
        "1:9: a map begins with #{, as in RegisterWatch(#{ znode: ..., action: ... })",
    ]),
    ("RegisterWatch(znode: \"/n\", action: Exec(\"true\"));", &[
        "1:20: named values are a map, RegisterWatch(#{ znode: ..., action: ... })",
    ]),
    ("RegisterWatch(#{\n    znode = \"/n\",\n});", &[
        "2:11: Syntax error: Expecting ':' to follow the property 'znode' in this object map literal; a map \
         has `key: value`",
    ]),
    ("RegisterWatch(#{\n    znode: \"/n\"\n    action: Exec(\"true\"),\n});", &[
        "3:5: Syntax error: Expecting ',' to separate the items of this object map literal; put a , at the \
         end of the line before",
    ]),
    ("let a = 1\nlet b = 2;", &[
        "2:1: Syntax error: Expecting ';' to terminate this statement; put a ; at the end of the line before",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", timeout: 3, timeout: 4 });", &[
        "1:43: `timeout` stands twice in this map",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"grep \\d x\") });", &[
        "1:51: \\d is no escape in a text; write \\\\ for a backslash, or put the text in backticks",
    ]),
    ("RegisterWatch(#{ znode: \"/n, action: Exec(\"true\") });", &[
        "1:44: a text ends before `true`: does it, or the text before it, lack a quote? A quote in a text \
         is \\\"",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\") }\nRegisterWatch(#{ znode: \"/m\" });", &[
        "1:14: `(` is never closed; `)` is missing",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\") };\n", &[
        "1:53: the call of `RegisterWatch` lacks its `)`",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\" });\n", &[
        "1:51: the call of `Exec` lacks its `)`",
    ]),
    ("fn act(event) {\n    run(\"x\"\n}", &[
        "3:1: the call of `run` lacks its `)`",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec([\"a\"\n    \"b\"]) });", &[
        "2:5: Syntax error: Expecting ',' to separate the items of this array literal; put a , at the end of \
         the line before",
    ]),
    ("fn f(x) { f(x + 1) }\nf(0);", &[
        "2:1: functions call one another too deep; does one call itself without an end?",
    ]),
];

#[test]
fn words_of_other_languages_are_translated() {
    check(WORDS);
}

#[rustfmt::skip]
const WORDS: &[Case] = &[
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), run_on_load: yes });", &[
        "1:66: unknown variable `yes`; write true",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), pipe_stdin: off });", &[
        "1:65: unknown variable `off`; write false",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), uid: null });", &[
        "1:58: there is no `null`; write () for nothing, or leave the key out",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(`echo ${HOME}`) });", &[
        "1:52: unknown variable `HOME`; put the text in double quotes for a variable of the shell",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), max_data: \"1M\" });", &[
        "1:53: `max_data` must be an int, not a string; write 1048576, the number of bytes, without quotes",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: Exec(\"true\"), watch_type: \"children\" });", &[
        "1:53: `watch_type` must be WATCH_DATA, WATCH_CHILDREN, WATCH_TREE or WATCH_MEMBERS (without \
         quotes), not a string; did you mean `WATCH_CHILDREN`?",
    ]),
    ("RegisterWatch(#{ znode: \"/n\", action: [\"git\", \"pull\"] });", &[
        "1:31: `action` is an array; write Exec([...]) to run it",
    ]),
    ("RegisterWatch(#{ znode: \"zk://h:2181/git\", action: Exec(\"true\") });", &[
        "1:18: `znode`: node path \"zk://h:2181/git\" is a URL; write only the path in the store, from / on",
    ]),
];

// A node may have this name, so it is a warning.
#[test]
fn a_node_that_looks_like_a_pattern_gets_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let config = "RegisterWatch(#{ znode: \"/git/*\", action: Exec(\"true\") });";
    let (code, said) = run(directory.path(), config, &[]);
    assert_eq!(code, Some(0), "{said}");
    let expected = "warning: a.twc:1:1: `znode`: \"/git/*\" is one node of this name, and no pattern";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_byte_that_is_no_text_has_a_place() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("b.twc"), b"// one\n// caf\xe9\n").unwrap();
    let output =
        super::command(super::TWITCHER).current_dir(directory.path()).args(["check", "b.twc"]).output();
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(said.starts_with("b.twc:2:7: not UTF-8 (byte 0xe9); save it as UTF-8"), "{said}");
}
