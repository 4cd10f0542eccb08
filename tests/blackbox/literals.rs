//! Numbers and characters in configs that are not what they look like.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use crate::harness::{Sandbox, Twitcher, exec, wait_for, watch};

fn touch(sandbox: &Sandbox, umask: &str) -> String {
    watch("/n", &exec(&format!("touch {}", sandbox.path("private").display())), &format!("umask: {umask}"))
}

// "Wrong types ... are errors, given as FILE:LINE:COLUMN": 077 would be 0o115, and files writable by all.
#[test]
fn a_leading_zero_is_refused_and_a_umask_is_what_it_looks_like() {
    let sandbox = Sandbox::directory();
    sandbox.config("app.twc", format!("\n{}", touch(&sandbox, "077")));
    let check = || sandbox.twitcher(["check"]).arg(sandbox.configs()).finish();
    check().expect(1).expect_said(&["app.twc:2:", "077 has a leading zero", "0o077 or \"077\""]);
    sandbox.config("app.twc", touch(&sandbox, "77"));
    check().expect(1).expect_said(&["app.twc:1:", "`umask`: 77 is a decimal number, 0o115 in octal digits"]);
    sandbox.config("lib.rhai", "fn limit() { 0600 }");
    sandbox.config("app.twc", "import \"lib\" as lib;");
    check().expect(1).expect_said(&["lib.rhai:1:14: 0600 has a leading zero"]);
    sandbox.config("app.twc", touch(&sandbox, "\"077\""));
    check().expect(0);
    sandbox.nodes.set("/n", "1");
    let _daemon = sandbox.start();
    let mode = wait_for("the file", || fs::metadata(sandbox.path("private")).ok());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}

#[test]
fn settings_of_numbers_that_lie_are_refused() {
    let sandbox = Sandbox::directory();
    for (text, said) in [
        ("session_timeout = 0.0001", "session_timeout: 0.0001 is not between 0.001 and"),
        ("session_timeout = nan", "session_timeout: NaN is not between"),
        ("stop_timeout = 1e300", "stop_timeout: 1"),
        ("rescan_interval = 0", "rescan_interval: 0 is not between 1 and 3600 seconds"),
        ("rescan_interval = 0.5", "rescan_interval: 0.5 is not between 1 and 3600 seconds"),
        ("rescan_interval = 1e9", "rescan_interval: 1000000000 is not between 1 and 3600 seconds"),
        ("rescan_interval = inf", "rescan_interval: inf is not between 1 and 3600 seconds"),
        ("stop_timeout = 010", "stop_timeout: a number has no leading zero; write it without"),
        (
            "stop_timeout =\u{a0}1",
            "twitcher.toml:1:15: stop_timeout: U+00A0 NO-BREAK SPACE cannot stand here",
        ),
        ("stop_timeout = 10s", "stop_timeout: must be a string in quotes, or a number without a unit"),
        ("stop_timeout = \"10s\"", "must be a number of seconds, without quotes and without a unit"),
        ("session_timeout = -1", "session_timeout: -1 is not between 0.001 and"),
        ("max_actions = 1e3", "max_actions: must be an int from 0"),
        ("max_actions = -1", "max_actions: must be an int from 0"),
        (
            "max_waiting_bytes = 64M",
            "max_waiting_bytes: must be a string in quotes, or a number without a unit",
        ),
        ("max_waiting_bytes = 1_000_000.0", "max_waiting_bytes: must be an int from 0"),
        ("stop_timeout = \"\0\"", "twitcher.toml:1:17: U+0000 NULL"),
        ("[control]\nmode = \"+660\"", "control.mode: \"+660\" is not a mode"),
        ("[control]\nmode = 660", "twitcher.toml:2:8: mode: must be a string in quotes"),
        (
            "[control]\nmode = 0660",
            "mode: a number has no leading zero; write it without, or a mode in quotes",
        ),
        ("[control]\nmode = 0o660", "twitcher.toml:2:8: mode: must be a string in quotes"),
        ("[control]\nmode = \"7777\"", "control.mode: \"7777\" is not a mode"),
        ("[control]\nmode = \"0x1b0\"", "control.mode: \"0x1b0\" is not a mode"),
        ("[control]\ngroup = 0", "twitcher.toml:2:9: group: must be a string in quotes"),
        ("[control]\ngroup = \"00\"", "control.group: there is no group \"00\""),
        ("[control]\ngroup = \"4294967295\"", "control.group: there is no group \"4294967295\""),
        ("[control]\ngroup = \"+0\"", "control.group: there is no group \"+0\""),
    ] {
        sandbox.settings(text);
        let configs = sandbox.configs();
        let done = sandbox.twitcher(["check"]).arg(&configs).env("TWITCHER_CONFIG_PATH", &configs).finish();
        done.expect(1).expect_said(&[said]);
    }
}

#[test]
fn settings_may_start_with_a_byte_order_mark() {
    let sandbox = Sandbox::directory();
    sandbox.settings("\u{feff}stop_timeout = 1\n");
    let configs = sandbox.configs();
    sandbox.twitcher(["check"]).arg(&configs).env("TWITCHER_CONFIG_PATH", &configs).finish().expect(0);
}

// An editor of another system saves a byte order mark, and a web page has no-break spaces.
#[test]
fn a_byte_order_mark_is_skipped_and_other_hidden_characters_are_named() {
    let sandbox = Sandbox::directory();
    let good = watch("/n", &exec("true"), "");
    let bytes = |text: &str| text.as_bytes().to_vec();
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (name, content, code, said) in [
        ("mark", bytes(&format!("\u{feff}{good}")), 0, "ok, 1 watch"),
        ("space", bytes(&good.replace(": ", ":\u{a0}")), 1, "1:24: U+00A0 NO-BREAK SPACE cannot stand here"),
        ("quotes", bytes(&good.replace('"', "\u{201d}")), 1, "U+201D RIGHT DOUBLE QUOTATION MARK"),
        ("zero", bytes(&good.replace("znode", "znode\u{200b}")), 1, "U+200B ZERO WIDTH SPACE"),
        ("inner", bytes(&good.replace("znode", "\u{feff}znode")), 1, "U+FEFF ZERO WIDTH NO-BREAK SPACE"),
        ("dash", bytes(&watch("/n", &exec("true"), "nice: \u{2013}5")), 1, "U+2013 EN DASH"),
        ("utf16", [b"\xff\xfe".to_vec(), utf_16(&good)].concat(), 1, "it is UTF-16; save it as UTF-8"),
        ("utf16-unmarked", utf_16(&good), 1, "it seems to be UTF-16"),
        ("latin1", b"// caf\xe9\n".to_vec(), 1, ":1:7: not UTF-8 (byte 0xe9)"),
        ("null", bytes(&format!("// \0\n{good}")), 1, ":1:4: U+0000 NULL"),
        (
            "override",
            bytes(&format!("// \u{202e}\n{good}")),
            0,
            ":1:4: U+202E RIGHT-TO-LEFT OVERRIDE does not show",
        ),
        (
            "in-string",
            bytes(&good.replace("true", "true\u{a0}x")),
            0,
            "U+00A0 NO-BREAK SPACE looks like a plain",
        ),
        ("lines", bytes(&good.replace('\n', "\r")), 0, "ok, 1 watch"),
    ] {
        let file = sandbox.configs().join(format!("{name}.twc"));
        fs::write(&file, content).expect("write the config");
        let done = sandbox.twitcher(["check"]).arg(&file).finish().expect(code);
        done.expect_said(&[&format!("{name}.twc"), said]);
        let raw = |text: &str| text.contains(['\u{feff}', '\u{202e}', '\u{200b}', '\0']);
        assert!(!raw(&done.text()) && !raw(&done.stderr), "{name}");
        fs::remove_file(file).expect("remove the config");
    }
}

// "stdout and stderr become log lines": what reorders the text of a terminal, or does not show, is escaped.
#[test]
fn hidden_characters_of_nodes_actions_and_names_are_escaped_in_the_log() {
    let sandbox = Sandbox::directory();
    let hidden =
        ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{2028}', '\u{9b}', '\u{e0041}'];
    let text: String = hidden.iter().flat_map(|c| ['a', *c]).collect();
    sandbox.nodes.set("/n", &text);
    let description = "description: \"name\u{202e}\"";
    sandbox.config("a\u{202e}.twc", watch("/n", &exec("cat; cat >&2; exit 3"), description));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["a\\u{202e}a\\u{2066}a\\u{200b}a\\u{feff}a\\u{ad}a\\u{2028}a\\u{9b}a\\u{e0041}"]);
    daemon.wait_for_log(&["a\\u{202e}.twc:name\\u{202e}", "exit code 3"]);
    let status = sandbox.operator(["status"]).finish().expect(0);
    status.expect_said(&["name\\u{202e}"]);
    let said = format!("{}{}", daemon.log().join("\n"), status.text());
    assert!(!said.contains(hidden), "{said:?}");
}

// A node, store or file that looks like another one: its escaped name is told of, and no message has it raw.
#[test]
fn hidden_characters_on_the_command_line_are_told_of_and_escaped() {
    let sandbox = Sandbox::directory();
    let hidden = ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}'];
    let finish = |command: Twitcher, code: i32| {
        let done = command.finish().expect(code);
        assert!(!done.stderr.contains(hidden) && !done.text().contains(hidden), "{done:?}");
        done
    };
    let set = finish(sandbox.client(["set", "/n\u{200b}", "x"]), 0);
    set.expect_said(&["warning: node /n\\u{200b}: U+200B ZERO WIDTH SPACE does not show"]);
    assert_eq!(sandbox.nodes.get("/n\u{200b}").as_deref(), Some(&b"x"[..]));
    let get = finish(sandbox.client(["get", "/n\u{a0}"]), 1);
    get.expect_said(&["U+00A0 NO-BREAK SPACE looks like a plain space and is none"]);
    let (_, shown) = sandbox.client(["ls", "/"]).finish_on_terminal(80);
    assert!(shown.contains("n\\u{200b}"), "{shown:?}");

    let store = format!("{}\u{202e}", sandbox.nodes.url());
    for command in [
        sandbox.twitcher(["get", "/n", "--store", &store]),
        sandbox.twitcher(["get", "/n"]).env("TWITCHER_STORE", &store),
        sandbox.twitcher(["watch", "/n", "--store", "zk://a\u{202e}", "--session-timeout", "1"]),
    ] {
        finish(command, 1).expect_said(&["warning: store ", "U+202E RIGHT-TO-LEFT OVERRIDE does not show"]);
    }
    let run = finish(sandbox.daemon_on(&store).arg("--once"), 0);
    run.expect_said(&["WARNING", "store dir:", "U+202E RIGHT-TO-LEFT OVERRIDE does not show"]);
    let with = |flag: &str, value: &str| sandbox.daemon().arg("--once").arg(flag).arg(value);
    finish(sandbox.twitcher(["get", "n\u{202e}"]), 2);
    finish(sandbox.twitcher(["get", "/n", "--zkservers", "a\u{202e}:x"]), 2);
    finish(sandbox.twitcher(["sta\u{202e}tus"]), 2);
    finish(sandbox.twitcher(["check", "/no\u{202e}"]), 1);
    finish(with("--session-timeout", "1\u{200b}"), 2);
    finish(sandbox.twitcher(["run", "--store", "dir:/", "--config-path", "/no\u{2066}"]), 1);
    finish(with("--pid-file", "/no\u{2066}/pid"), 1);
    finish(sandbox.twitcher(["status", "--control-socket", "/no\u{feff}"]), 1);
}

// With U+FFFD in its place, a byte that is not UTF-8 would name another store, node or watch.
#[test]
fn what_must_be_utf_8_and_is_not_is_named() {
    let sandbox = Sandbox::directory();
    let odd = |text: &str| OsString::from_vec([text.as_bytes(), b"\xff"].concat());
    let elsewhere = format!("dir:{}/elsewhere", sandbox.root().display());
    let get = || sandbox.twitcher(["get", "/n"]);
    let refused = get().env("TWITCHER_STORE", odd(&elsewhere)).finish().expect(1);
    refused.expect_said(&["TWITCHER_STORE: ", "elsewhere\\xFF\" is not UTF-8"]);
    let run = sandbox.daemon_without_store().arg("--once").env("ZKSERVERS", odd("a"));
    run.finish().expect(1).expect_said(&["ZKSERVERS: \"a\\xFF\" is not UTF-8"]);
    let refused = get().arg("--store").arg(odd(&elsewhere)).finish().expect(2);
    refused.expect_said(&["not UTF-8: \"dir:", "\\xFF\""]);
    for command in ["get", "status", "history", "logs"] {
        let refused = sandbox.twitcher([command]).arg(odd("/n")).finish().expect(2);
        refused.expect_said(&["not UTF-8: \"/n\\xFF\"", "paths of files and the DATA of `set`"]);
    }
    sandbox.client(["set", "/n"]).arg(odd("data")).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").as_deref(), Some(&b"data\xff"[..]));
}
