//! `decode` and `schema`: content is decoded before its action runs, and what is faulty is held.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::control::get;
use crate::harness::{
    Daemon, Journal, Process, Sandbox, exec, on_every_store, set_mode, wait_for, wait_until, watch,
};

/// Writes a config with one watch on `/n`, which journals the event and the content.
fn typed(sandbox: &Sandbox, keys: &str) -> Journal {
    let journal = sandbox.journal();
    let keys = format!("description: \"typed\", {keys}");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), &keys));
    journal
}

fn status(sandbox: &Sandbox) -> Option<Value> {
    let socket = sandbox.control_socket();
    UnixStream::connect(&socket).ok()?;
    get(&socket, "/v1/watches").json_lines().into_iter().find(|found| found["description"] == "typed")
}

/// Waits until an update is held for this reason.
#[track_caller]
fn wait_until_held(sandbox: &Sandbox, why: &str) -> Value {
    wait_for(&format!("it to be held: {why}"), || {
        status(sandbox).filter(|found| found["held"].as_str().is_some_and(|held| held.ends_with(why)))
    })
}

#[track_caller]
fn wait_until_idle(sandbox: &Sandbox) {
    wait_until("it to be idle", || status(sandbox).is_some_and(|found| found["state"] == "idle"));
}

fn said(daemon: &Daemon) -> Vec<String> {
    daemon.log_lines(&["app.twc:typed: held: "])
}

// "What does not decode is held like a guard's update: nothing runs, the last good content stays applied,
// `status` and the log say why with the place (line and column, or byte), `trigger --force` does not help. It
// heals with the next good content."
on_every_store!(what_does_not_decode_is_held_with_its_place_until_good_content_comes);
fn what_does_not_decode_is_held_with_its_place_until_good_content_comes(sandbox: &Sandbox) {
    let journal = typed(sandbox, "decode: JSON");
    sandbox.nodes.set("/n", "{\"a\": 1}");
    let daemon = sandbox.start();
    journal.wait_for(&["load {\"a\": 1}"]);
    wait_until_idle(sandbox);

    sandbox.nodes.set("/n", "{\"a\": 1,\n \"b\": x}");
    let why = "is no JSON: line 2, column 7: expected value";
    let held = wait_until_held(sandbox, why);
    assert_eq!((&held["state"], &held["held_by"]), (&json!("held"), &json!("decode")));
    assert_ne!(held["applied_version"], held["version"]);
    wait_until("it to be said", || said(&daemon).len() == 1);
    let line = said(&daemon).remove(0);
    assert!(line.ends_with(&format!("{why}; not run until the node changes")), "{line}");
    let shown = sandbox.operator(["status"]).finish().expect(0).text();
    assert!(shown.contains(" held ") && shown.contains(why), "{shown}");
    let checked = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(checked.code, Some(1));
    assert!(checked.text().ends_with(&format!("{why}\n")), "no trigger is a remedy: {}", checked.text());
    for args in [&["trigger", "typed"][..], &["trigger", "--force", "typed"]] {
        let refused = match args {
            [_, watch] => sandbox.operator(["trigger", watch]).finish(),
            _ => sandbox.operator(["trigger", "--force", "typed"]).finish(),
        };
        let error = refused.expect(1).stderr;
        assert!(error.contains(why) && error.contains("no trigger runs it"), "{error}");
    }

    sandbox.nodes.set("/n", "{\"a\": 2}");
    journal.wait_for(&["load {\"a\": 1}", "changed {\"a\": 2}"]);
    wait_until_idle(sandbox);
}

// "nothing held is forgotten over restart"
on_every_store!(a_restart_keeps_holding_what_does_not_decode);
fn a_restart_keeps_holding_what_does_not_decode(sandbox: &Sandbox) {
    for brutal in [true, false] {
        let keys = format!("decode: CBOR, run_on_load: CHANGED, timeout: {}", 60 + u8::from(brutal));
        let journal = typed(sandbox, &keys);
        sandbox.nodes.set("/n", b"\x18\x2a");
        let mut daemon = sandbox.start();
        journal.wait_for_last("load 42");
        let so_far = journal.lines();
        sandbox.nodes.set("/n", b"\x82\x01");
        let why = "is no CBOR: byte 2: the content ends before this value does";
        wait_until_held(sandbox, why);
        if brutal {
            daemon.kill();
        } else {
            assert_eq!(daemon.stop(), Some(0));
        }
        let mut next = sandbox.start();
        wait_until_held(sandbox, why);
        assert_eq!(journal.lines(), so_far);
        sandbox.nodes.set("/n", b"\x07");
        journal.wait_for_line_where("the good content", |line| line.ends_with(" 7"));
        assert_eq!(next.stop(), Some(0));
    }
}

// "commands read: JSON, the bytes unchanged; CBOR and PROPERTIES, one line of compact JSON (CBOR byte strings
// as {"$bytes": base64} ...); COMMIT, the payload"
on_every_store!(commands_read_what_was_decoded);
fn commands_read_what_was_decoded(sandbox: &Sandbox) {
    let header =
        r#"{"key":"n","version":7,"author":"gian","comment":"rofl","mtime":"2014-02-11T14:01:28.839Z"}"#;
    let commit = format!("{}\n{header}\na payload \n", header.len());
    for (format, content, expected) in [
        ("JSON", &b" {\"a\" : 1 } "[..], &b" {\"a\" : 1 } "[..]),
        (
            "CBOR",
            b"\xa2\x61a\x42hi\x61b\xc0\x61t",
            b"{\"a\":{\"$bytes\":\"aGk=\"},\"b\":{\"$tag\":[0,\"t\"]}}\n",
        ),
        ("CBOR", b"\xa1\x01\xf7", b"{\"$map\":[[1,{\"$simple\":23}]]}\n"),
        ("PROPERTIES", b"{ \"pid\": 12 }", b"{\"pid\":12}\n"),
        ("PROPERTIES", b"hello", b"{\"string_value\":\"hello\"}\n"),
        ("COMMIT", commit.as_bytes(), b"a payload "),
    ] {
        sandbox.nodes.set("/n", content);
        let out = sandbox.path("out");
        let script = format!("cat > {0}.new && mv {0}.new {0}", out.display());
        sandbox.config("app.twc", watch("/n", &exec(&script), &format!("decode: {format}")));
        sandbox.daemon().arg("--once").finish().expect(0);
        assert_eq!(fs::read(&out).unwrap(), expected, "{format}");
        fs::remove_file(&out).unwrap();
        fs::remove_dir_all(sandbox.state()).unwrap();
    }
}

// "Functions have `event.value` (maps, arrays, ints, floats, strings, blobs, `()`)"; "functions have
// `event.commit` (key, version, author, comment, mtime); `TWITCHER_VERSION` is the commit's"
on_every_store!(functions_have_the_value);
fn functions_have_the_value(sandbox: &Sandbox) {
    let header =
        r#"{"key":"n","version":7,"author":"gian","comment":"rofl","mtime":"2014-02-11T14:01:28.839Z"}"#;
    let commit = format!("{}\n{header}\npaid\n", header.len());
    let typed = "`${type_of(event.value.m)} ${type_of(event.value.a)} ${type_of(event.value.i)} \
                 ${type_of(event.value.f)} ${type_of(event.value.s)} ${type_of(event.value.b)} \
                 ${type_of(event.value.n)}`";
    let cbor = b"\xa7\x61m\xa0\x61a\x80\x61i\x01\x61f\xf9\x3c\x00\x61s\x61x\x61b\x42hi\x61n\xf6";
    for (format, content, expression, expected) in [
        ("CBOR", &cbor[..], typed, "map array i64 f64 string blob ()"),
        // Tags, keys that are no text, and what only CBOR has.
        (
            "CBOR",
            b"\xa2\x61t\xc1\x18\x2a\x61p\xa2\x01\xf7\xf6\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
            "`${event.value.t} ${event.value.p}`",
            r##"#{"$tag": [1, 42]} #{"$map": [[1, #{"$simple": 23}], [(), -1.8446744073709552e19]]}"##,
        ),
        ("JSON", b"[1, {\"$bytes\": \"aGk=\"}]", "`${event.value[1]}`", r##"#{"$bytes": "aGk="}"##),
        ("PROPERTIES", b"x", "event.value.string_value", "x"),
        (
            "COMMIT",
            commit.as_bytes(),
            "`${event.value} ${event.version} ${event.commit.author} ${event.commit.version}`",
            "paid 7 gian 7",
        ),
    ] {
        sandbox.nodes.set("/n", content);
        let action = format!("|event| log({expression})");
        sandbox.config("app.twc", watch("/n", &action, &format!("decode: {format}")));
        let log = sandbox.daemon().arg("--once").finish().expect(0);
        let log = format!("{}{}", log.text(), log.stderr);
        assert!(log.contains(&format!("stdout: {expected}\n")), "{format}: {log}");
        fs::remove_dir_all(sandbox.state()).unwrap();
    }
}

// "`schema: "file.json"` (JSON Schema 2020-12, beside the config, trusted like a module) holds what does not
// conform, with the instance path in the reason"; "a changed schema file reloads like a changed module"
on_every_store!(what_does_not_conform_is_held_until_the_node_or_the_schema_changes);
fn what_does_not_conform_is_held_until_the_node_or_the_schema_changes(sandbox: &Sandbox) {
    let schema = |most: u32| {
        let text = format!(r#"{{"properties": {{"port": {{"type": "integer", "maximum": {most}}}}}}}"#);
        sandbox.config("port.json", text);
    };
    schema(100);
    let journal = typed(sandbox, "decode: JSON, schema: \"port.json\"");
    sandbox.nodes.set("/n", "{\"port\": 200}");
    let daemon = sandbox.start();
    let why = "does not conform to port.json: /port: the value is greater than the maximum of 100";
    wait_until_held(sandbox, why);
    sandbox.nodes.set("/n", "{\"port\": 80}");
    journal.wait_for(&["load {\"port\": 80}"]);
    sandbox.nodes.set("/n", "{\"port\": 300}");
    wait_until_held(sandbox, why);
    schema(1000);
    journal.wait_for(&["load {\"port\": 80}", "load {\"port\": 300}"]);
    schema(2000);
    daemon.wait_for_log(&["app.twc: loaded, 0 added, 1 changed"]);
}

// "`$ref` to another host refused at load"; every mistake is told with its place.
#[test]
fn mistakes_are_told_when_the_config_is_checked() {
    let sandbox = Sandbox::directory();
    for (keys, schema, expected) in [
        ("decode: \"JSON\"", "{}", "`decode` must be JSON, CBOR, PROPERTIES or COMMIT (without quotes)"),
        ("decode: JSN", "{}", "did you mean `JSON`?"),
        ("decod: JSON", "{}", "unknown key `decod`; did you mean `decode`?"),
        ("decode: JSON, watch_type: WATCH_TREE", "{}", "`decode` is for watch_type: WATCH_DATA only"),
        ("schema: \"s.json\"", "{}", "`schema` is for a watch with `decode` only"),
        ("decode: JSON, schema: \"s.jsn\"", "{}", "`schema`: \"s.jsn\" does not end in .json"),
        ("decode: JSON, schema: \"none.json\"", "{}", "`schema`: none.json: no such file"),
        ("decode: JSON, schema: \"/etc/s.json\"", "{}", "is an absolute path"),
        ("decode: JSON, schema: \"../s.json\"", "{}", "lies outside the config directory"),
        (
            "decode: JSON, schema: \"s.json\"",
            "{\"a\":}",
            "`schema`: s.json: line 1, column 6: expected value",
        ),
        ("decode: JSON, schema: \"s.json\"", "{\"type\": \"nonsense\"}", "`schema`: s.json: /type: "),
        (
            "decode: JSON, schema: \"s.json\"",
            "{\"$ref\": \"https://example.com/s.json\"}",
            "`schema`: s.json: /$ref: refers to \"https://example.com/s.json\"",
        ),
        (
            "decode: JSON, schema: \"s.json\"",
            "{\"not\": {\"$ref\": \"file:///etc/passwd\"}}",
            "`schema`: s.json: /not/$ref: refers to \"file:///etc/passwd\"",
        ),
        (
            "decode: JSON, schema: \"s.json\"",
            "{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}",
            "`schema`: s.json: /$schema: names \"http://json-schema.org/draft-07/schema#\"",
        ),
    ] {
        sandbox.config("s.json", schema);
        sandbox.config("app.twc", watch("/n", &exec("true"), keys));
        let checked = sandbox.twitcher(["check"]).args([sandbox.configs().to_str().unwrap()]).finish();
        let said = format!("{}{}", checked.text(), checked.stderr);
        assert!(checked.code == Some(1) && said.contains(expected), "{keys}: {said}");
        assert!(said.contains("app.twc:1:"), "{said}");
    }
}

// "trusted like a module": a schema that cannot be read any more, or that somebody else could change, leaves
// the watch as it was, and is told with its remedy.
#[test]
fn a_schema_that_cannot_be_taken_leaves_the_last_good_one() {
    let sandbox = Sandbox::directory();
    let schema = sandbox.configs().join("s.json");
    let journal = typed(&sandbox, "decode: JSON, schema: \"s.json\"");
    let even = r#"{"multipleOf": 2}"#;
    sandbox.config("s.json", even);
    sandbox.nodes.set("/n", "0");
    let daemon = sandbox.start();
    journal.wait_for_last("load 0");
    let why = "does not conform to s.json: the whole value: the value is not a multiple of 2";
    let [open, link] = [".open", ".link"].map(|name| sandbox.configs().join(name));
    fs::write(&open, "{}").unwrap();
    set_mode(&open, 0o666);
    fs::write(sandbox.path("outside.json"), "{}").unwrap();
    symlink(sandbox.path("outside.json"), &link).unwrap();
    let spoil: [(&str, &dyn Fn()); 5] = [
        ("run `chmod go-w", &|| fs::rename(&open, &schema).unwrap()),
        ("s.json: no such file", &|| fs::remove_file(&schema).unwrap()),
        ("a link that leads out of the config directory", &|| fs::rename(&link, &schema).unwrap()),
        ("s.json: cannot read: not a regular file", &|| {
            fs::remove_file(&schema).unwrap();
            fs::create_dir(&schema).unwrap();
        }),
        ("s.json: line 1, column 1: EOF", &|| {
            fs::remove_dir(&schema).unwrap();
            sandbox.config("s.json", "{");
        }),
    ];
    for (number, (said, spoil)) in (1..).zip(spoil) {
        spoil();
        daemon.wait_for_log(&["app.twc", said]);
        sandbox.nodes.set("/n", (2 * number + 1).to_string());
        wait_until_held(&sandbox, why);
        sandbox.nodes.set("/n", (2 * number).to_string());
        journal.wait_for_last(&format!("changed {}", 2 * number));
    }
    sandbox.config("s.json", "{}");
    sandbox.nodes.set("/n", "odd".len().to_string());
    journal.wait_for_line_where("the content", |line| line.ends_with(" 3"));
}

// "Bad input": each is held with its place, on every store, and other watches run.
on_every_store!(hostile_contents_are_held_with_their_places);
fn hostile_contents_are_held_with_their_places(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    let nested = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let contents = [
        ("JSON", nested.as_bytes(), "is no JSON: line 1, column 128: nested more than 127 deep"),
        ("JSON", b"[1,\n NaN]", "is no JSON: line 2, column 2: expected value"),
        ("JSON", b"{\"a\": 1, \"a\": 2}", "is no JSON: line 1, column 12: duplicate key \"a\""),
        ("JSON", b"1e999999999999999999999", "is no JSON: line 1, column 12: number out of range"),
        ("JSON", b"\"\xff\"", "is no JSON: line 1, column 2: this is not UTF-8"),
        ("JSON", b"", "is no JSON: line 1, column 1: EOF while parsing a value"),
        ("CBOR", b"\x9b\x80\0\0\0\0\0\0\0", "is no CBOR: byte 9: the content ends before this value does"),
        ("CBOR", b"\x5b\x80\0\0\0\0\0\0\0", "is no CBOR: byte 0: the content ends before this value does"),
        ("CBOR", b"\x81\xf9\x7e\0", "is no CBOR: byte 1: the number NaN, which JSON does not have"),
        ("CBOR", b"\xa2\x01\x02\x01\x03", "is no CBOR: byte 3: duplicate key 1"),
        ("PROPERTIES", b"{\"a\":1,\"a\":2}", "has no properties: line 1, column 10: duplicate key \"a\""),
        (
            "COMMIT",
            b"x",
            "is no commit: byte 0: a commit begins with the length of its header, and a newline",
        ),
    ];
    let mut config = watch("/free", &exec(&journal.record_event()), "decode: JSON");
    for (number, (format, content, _)) in contents.iter().enumerate() {
        let node = format!("/bad/{number}");
        config += &watch(&node, &exec(&journal.record_event()), &format!("decode: {format}"));
        sandbox.nodes.set(&node, content);
    }
    sandbox.nodes.set("/free", "{\"a\": 12345678901234567890123}");
    sandbox.config("app.twc", config);
    let daemon = sandbox.start();
    for (number, (_, _, why)) in contents.iter().enumerate() {
        daemon.wait_for_log(&[&format!("held: /bad/{number}, "), &format!(" {why}; not run until")]);
    }
    journal.wait_for(&["load {\"a\": 12345678901234567890123}"]);
}

// A schema that takes exponential time belongs to its own watch, too.
#[test]
fn a_schema_that_takes_too_long_holds_up_its_own_watch_only() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let twice = |number: u32| {
        let below = format!(r##"{{"$ref": "#/$defs/{}"}}"##, number - 1);
        format!(r#""{number}": {{"anyOf": [{below}, {below}]}}"#)
    };
    let levels: Vec<_> = (1..40).map(twice).collect();
    let slow =
        format!(r##"{{"$ref": "#/$defs/39", "$defs": {{"0": {{"type": "null"}}, {}}}}}"##, levels.join(", "));
    sandbox.config("slow.json", slow);
    // It would take as long with an engine that tries all ways.
    sandbox.config("pattern.json", r#"{"pattern": "^(?=(a+)+$)(a|aa)+$"}"#);
    sandbox.nodes.set("/slow", "1");
    sandbox.nodes.set("/pattern", format!("\"{}b\"", "a".repeat(5000)));
    sandbox.nodes.set("/free", "1");
    let text = [
        watch("/slow", &exec("true"), "decode: JSON, schema: \"slow.json\""),
        watch("/pattern", &exec("true"), "decode: JSON, schema: \"pattern.json\""),
        watch("/free", &exec(&journal.record_event()), "decode: JSON"),
    ];
    sandbox.config("app.twc", text.concat());
    let daemon = sandbox.start();
    for number in 0..5 {
        sandbox.nodes.set("/free", format!("[{number}]"));
        journal.wait_for_line_where("the content", |line| line.ends_with(&format!(" [{number}]")));
    }
    // Its processor time runs out, or on a busy machine the time for it all.
    daemon.wait_for_log(&["held: /slow, ", " was not decoded: the process for it: "]);
    daemon.wait_for_log(&["held: /pattern, "]);
}

/// The child that decodes at the moment, if there is one.
fn decoder(daemon: &Daemon) -> Option<Process> {
    daemon.process().children().into_iter().find(|child| child.is_twitcher("decode"))
}

/// A document that takes long, and has no end.
fn hostile() -> String {
    format!("[{}", "[1],".repeat(2 << 20))
}

// "A hostile document costs its own watch time, and nothing else"
#[test]
fn a_hostile_document_holds_up_its_own_watch_only() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let mut config = watch("/free", &exec(&journal.record_event()), "decode: JSON");
    for number in 0..6 {
        config += &watch(&format!("/hostile/{number}"), &exec("true"), "decode: JSON");
        sandbox.nodes.set(&format!("/hostile/{number}"), hostile());
    }
    sandbox.nodes.set("/free", "{\"a\":".repeat(100_000));
    sandbox.config("app.twc", config);
    let daemon = sandbox.start();
    daemon.wait_for_log(&["held: /free", "line 1, column 636: nested more than 127 deep"]);
    for number in 0..5 {
        sandbox.nodes.set("/free", format!("[{number}]"));
        journal.wait_for_last(&format!("{} [{number}]", if number == 0 { "load" } else { "changed" }));
    }
    for number in 0..6 {
        daemon.wait_for_log(&[&format!("held: /hostile/{number}, ")]);
    }
}

// "a child that hangs or dies makes the update held with that reason"
#[test]
fn a_child_that_is_killed_or_hangs_makes_its_update_held() {
    for (signal, why) in [
        (Signal::SIGKILL, "it ended with signal: 9 (SIGKILL); the content may take too much memory or time"),
        (Signal::SIGSTOP, "the process for it: it did not end within 10 s"),
    ] {
        let sandbox = Sandbox::directory();
        let journal = typed(&sandbox, "decode: JSON");
        sandbox.nodes.set("/n", "1");
        let daemon = sandbox.start();
        journal.wait_for(&["load 1"]);
        wait_until_idle(&sandbox);
        // The daemon's loop does not wait for the child, so a busy one shows it for long enough.
        let large = format!("[{}1]", "1,".repeat(1 << 19));
        sandbox.nodes.set("/n", &large);
        let child = wait_for("the child", || decoder(&daemon));
        child.signal(signal);
        let held = wait_until_held(&sandbox, why);
        assert_eq!(held["held_by"], "decoder");
        let forced = sandbox.operator(["trigger", "--force", "typed"]).finish().expect(0).text();
        assert!(forced.ends_with("runs with what its node has now, if that can be decoded\n"), "{forced}");
        journal.wait_for_line_where("the content", |line| line.starts_with("trigger [1,1,1"));
        sandbox.nodes.set("/n", "2");
        journal.wait_for_last("changed 2");
    }
}

// "the root daemon parses no content": the child has no rights of the daemon.
#[test]
fn the_child_has_no_rights() {
    let sandbox = Sandbox::directory();
    typed(&sandbox, "decode: JSON");
    sandbox.nodes.set("/n", hostile());
    let daemon = sandbox.start();
    let found = wait_for("the child at work", || {
        let child = decoder(&daemon)?;
        let read = |name: &str| child.try_status(name);
        (read("Seccomp")? == "2").then_some(())?;
        Some([read("Uid")?, read("CapEff")?, read("CapBnd")?, read("NoNewPrivs")?])
    });
    let [uid, effective, bounding, no_new_privileges] = found;
    let none = "0000000000000000";
    assert!(uid.split_whitespace().all(|id| id.parse::<u32>().unwrap() >= 61184), "{uid}");
    assert_eq!((&*effective, &*bounding, &*no_new_privileges), (none, none, "1"));
}

// "The client commands know it, too: `get --decode cbor`, `set --encode cbor JSON`, `watch --decode …`."
on_every_store!(clients_decode_and_encode);
fn clients_decode_and_encode(sandbox: &Sandbox) {
    let plain = r#"{"a":{"$bytes":"aGk="},"b":[1.5,null]}"#;
    sandbox.client(["set", "--encode", "cbor", "/n", plain]).finish().expect(0);
    assert_eq!(sandbox.nodes.get("/n").unwrap(), b"\xa2\x61a\x42hi\x61b\x82\xfb\x3f\xf8\0\0\0\0\0\0\xf6");
    let get = |format: &str| sandbox.client(["get", "--decode", format, "/n"]).finish();
    assert_eq!(get("cbor").expect(0).text(), format!("{plain}\n"));
    let refused = get("json").expect(1);
    assert!(refused.stderr.contains("node /n is no JSON: line 1, column 1: "), "{}", refused.stderr);
    let refused = get("yaml").expect(2);
    assert!(refused.stderr.contains("the formats are json, cbor, properties, commit"), "{}", refused.stderr);
    let refused = sandbox.client(["set", "--encode", "cbor", "/n", "{1"]).finish().expect(1);
    assert!(refused.stderr.contains("line 1, column 2") && refused.stderr.contains("nothing was set"));
    // A number is written as it is, or not at all.
    let large = "{\"a\": 18446744073709551616}";
    let refused = sandbox.client(["set", "--encode", "cbor", "/n", large]).finish().expect(1);
    refused.expect_said(&[
        "set /n: line 1, column 7: this integer is not from -2^64 to 2^64-1; ",
        "nothing was set",
    ]);
    for (wrong, why) in [
        (r#"{"a":{"$bytes":"no base64"}}"#, "/a/$bytes: this is no base64"),
        (r#"[{"$bytes":"aGk=","x":1}]"#, "/0: $bytes stands alone in its object; as a key, write $$bytes"),
        (r#"{"$tag":[-1,0]}"#, "/$tag/0: a tag is an integer from 0 to 2^64-1"),
        (r#"{"$map":[[1,2],[1,3]]}"#, "/$map/1/0: duplicate key 1"),
    ] {
        let refused = sandbox.client(["set", "--encode", "cbor", "/n", wrong]).finish().expect(1);
        refused.expect_said(&["set /n: it stands for no CBOR: ", why, "nothing was set"]);
    }
    assert_eq!(get("cbor").expect(0).text(), format!("{plain}\n"));
    let watched = sandbox.client(["watch", "--json", "--count", "1", "--decode", "cbor", "/n"]).finish();
    let line: Value = serde_json::from_str(&watched.expect(0).text()).unwrap();
    assert_eq!(line["value"], serde_json::from_str::<Value>(plain).unwrap());
    sandbox.nodes.set("/n", "\x1b");
    let watched = sandbox.client(["watch", "--json", "--count", "1", "--decode", "cbor", "/n"]).finish();
    let line: Value = serde_json::from_str(&watched.expect(0).text()).unwrap();
    assert_eq!(line["fault"], "is no CBOR: byte 0: the content ends before this value does");
}

// "Queue modes ... must keep their meaning"
on_every_store!(parallel_runs_every_good_content);
fn parallel_runs_every_good_content(sandbox: &Sandbox) {
    let journal = typed(sandbox, "decode: JSON, run_mode: PARALLEL, run_on_load: false");
    sandbox.nodes.set("/n", "0");
    let _daemon = sandbox.start();
    wait_until_idle(sandbox);
    for number in 1..=5 {
        sandbox.nodes.set("/n", number.to_string());
        journal.wait_for_line(&format!("changed {number}"));
        sandbox.nodes.set("/n", "x");
        wait_until_held(sandbox, "is no JSON: line 1, column 1: expected value");
    }
    assert_eq!(journal.lines().len(), 5);
}
