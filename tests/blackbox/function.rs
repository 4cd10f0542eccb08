//! "A closure or function takes one argument, the event, and runs in a child process of its own."

use crate::harness::{Journal, Sandbox, on_every_store, require_root, wait_until, watch};

/// The Rhai statement that appends the value of an expression to the journal, and has no value itself.
fn note(journal: &Journal, expression: &str) -> String {
    format!(
        r#"let noted = run(["/bin/sh", "-c", "printf '%s\\n' \"$1\" >> {}", "sh", "" + ({expression})]);"#,
        journal.path()
    )
}

/// A watch on `/n` whose action is a closure with this body.
fn closure(body: &str, more: &str) -> String {
    watch("/n", &format!("|event| {{ {body} }}"), more)
}

/// A sandbox where `/n` says `content`.
fn sandbox() -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let journal = sandbox.journal();
    (sandbox, journal)
}

// "the event (`znode`, `event`, `data` as a blob, `text` with U+FFFD for what is no UTF-8, `children`,
// `version`, `watch`)"
on_every_store!(a_function_is_given_the_event);
fn a_function_is_given_the_event(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", b"a\xffb\0c");
    let body = note(
        &journal,
        "`${event.znode} ${event.event} ${event.text.len()} ${event.text.contains(\"\\uFFFD\")} \
         ${event.data.len()} ${event.data[1]} ${event.watch} ${type_of(event.version)}`",
    );
    sandbox.config("app.twc", closure(&body, r#"description: "named""#));
    let _daemon = sandbox.start();
    journal.wait_for(&["/n load 5 true 5 255 named i64"]);
    sandbox.nodes.set("/n", "xyz");
    journal.wait_for(&["/n load 5 true 5 255 named i64", "/n changed 3 false 3 121 named i64"]);
}

#[test]
fn a_function_of_a_children_watch_is_given_the_sorted_names() {
    let (sandbox, journal) = sandbox();
    for name in ["b", "c", "a"] {
        sandbox.nodes.set(&format!("/members/{name}"), "");
    }
    let action = format!("|event| {{ {} }}", note(&journal, "`${event.event} ${event.children}`"));
    sandbox.config("app.twc", watch("/members", &action, "watch_type: WATCH_CHILDREN"));
    let _daemon = sandbox.start();
    journal.wait_for(&[r#"load ["a", "b", "c"]"#]);
}

// "`Exec(...)`, closure or `Fn("name")`"
#[test]
fn a_named_function_and_captured_variables_work() {
    let (sandbox, journal) = sandbox();
    let by_name = format!("fn pull(event) {{ {} }}\n", note(&journal, "`by name ${event.text}`"));
    let captured = closure(&note(&journal, "`${greeting} ${number} ${event.text}`"), "");
    sandbox.config("named.twc", [by_name, watch("/n", r#"Fn("pull")"#, "")].concat());
    sandbox
        .config("captured.twc", format!("let greeting = \"hello\";\nfor number in 1..=2 {{ {captured} }}"));
    let _daemon = sandbox.start();
    for line in ["by name content", "hello 1 content", "hello 2 content"] {
        journal.wait_for_line(line);
    }
}

// "An integer result 0-255 is the exit code, no result is 0; anything else, or an error, is 1 and logged."
#[test]
fn the_result_of_a_function_is_its_exit_code() {
    let (sandbox, journal) = sandbox();
    let cases = [
        ("code-zero", "0", None),
        ("code-none", "let x = 1;", None),
        ("code-three", "3", Some("3")),
        ("code-big", "256", Some("1")),
        ("code-text", "\"text\"", Some("1")),
        ("code-throw", "throw \"thrown words\"", Some("thrown words")),
    ];
    let text: String =
        cases.iter().map(|(name, body, _)| closure(body, &format!("description: {name:?}"))).collect();
    let last = closure(&note(&journal, "event.text"), r#"description: "last""#);
    sandbox.config("app.twc", [text, last].concat());
    let daemon = sandbox.daemon().arg("-v").start();
    for (name, _, failure) in cases {
        match failure {
            Some(said) => {
                daemon.wait_for_log(&[name, said]);
                daemon.wait_for_log(&[name, "fail"])
            }
            // With -v the log has successful ends, too.
            None => daemon.wait_for_log(&[name, "ended"]),
        };
    }
    journal.wait_for(&["content"]);
}

// "from the source and modules as loaded, never re-read from disk"
#[test]
fn a_function_runs_from_the_source_as_loaded_even_when_the_file_broke() {
    let (sandbox, journal) = sandbox();
    sandbox.config("lib.rhai", format!("fn say(text) {{ {} }}", note(&journal, "`module ${text}`")));
    sandbox.config("app.twc", format!("import \"lib\" as lib;\n{}", closure("lib::say(event.text)", "")));
    let daemon = sandbox.start();
    journal.wait_for(&["module content"]);
    sandbox.config("lib.rhai", "fn say(text) { this is broken");
    daemon.wait_for_log(&["app.twc"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["module content", "module new"]);
}

// "`import` of modules beside it; a changed module reloads its importers"
#[test]
fn a_changed_module_reloads_its_importers() {
    let (sandbox, journal) = sandbox();
    let library =
        |word: &str| format!("fn say(text) {{ {} }}", note(&journal, &format!("`{word} ${{text}}`")));
    sandbox.config("lib.rhai", library("old"));
    sandbox.config("app.twc", format!("import \"lib\" as lib;\n{}", closure("lib::say(event.text)", "")));
    let _daemon = sandbox.start();
    journal.wait_for(&["old content"]);
    sandbox.config("lib.rhai", library("new"));
    // The definition has changed, so the action runs.
    journal.wait_for(&["old content", "new content"]);
}

// "`read_file(path)`, `write_file(path, text or blob)` (atomic), `run(string or array)` giving
// `#{code, stdout, stderr}`, `parse_json(text)`, `log(text)`"
#[test]
fn what_a_function_can_call_works() {
    let (sandbox, journal) = sandbox();
    let (text, blob) = (sandbox.path("text"), sandbox.path("blob"));
    let body = format!(
        r#"
        write_file({text:?}, "some text");
        write_file({blob:?}, event.data);
        let shell = run("echo out; echo err >&2; exit 5");
        let list = run(["printf", "%s|", "a b", "$HOME"]);
        let json = parse_json(`{{"key": [1, 2]}}`);
        log("logged words");
        {}
        "#,
        note(
            &journal,
            "`${read_file(\"TEXT\")} ${shell.code} ${shell.stdout.trim_it()} ${shell.stderr.trim_it()} \
             ${list.stdout} ${json.key[1]}`"
        )
        .replace("\"TEXT\"", &format!("{text:?}"))
    );
    let trim = "fn trim_it() { let text = this; text.trim(); text }\n";
    sandbox.config("app.twc", [trim, &closure(&body, r#"description: "kit""#)].concat());
    let daemon = sandbox.start();
    journal.wait_for(&["some text 5 out err a b|$HOME| 2"]);
    assert_eq!(sandbox.read("blob"), b"content");
    daemon.wait_for_log(&["kit", "logged words"]);
}

// "in a child process of its own like any other action: same identity, stdin, timeout and signals"
#[test]
fn a_function_runs_under_its_uid() {
    require_root();
    let (sandbox, journal) = sandbox();
    let body = note(&journal, r#"run("id -u; id -g; id -G").stdout.replaced()"#);
    let replaced = "fn replaced() { let text = this; text.replace(\"\\n\", \" \"); text }\n";
    sandbox.config("app.twc", [replaced, &closure(&body, r#"uid: "nobody""#)].concat());
    let _daemon = sandbox.start();
    journal.wait_for(&["65534 65534 65534 "]);
}

#[test]
fn a_function_that_loops_ends_by_its_timeout_and_leaves_the_watch_armed() {
    let (sandbox, journal) = sandbox();
    let body = format!("if event.text == \"content\" {{ loop {{ }} }} {}", note(&journal, "event.text"));
    sandbox.config("app.twc", closure(&body, r#"timeout: 0.5, description: "looping""#));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["looping", "time"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["new"]);
}

// "One bad thing stays one bad thing": the script takes its process down, but nothing else.
#[test]
fn a_function_that_exhausts_its_stack_hurts_only_its_own_run() {
    let (sandbox, journal) = sandbox();
    let deep = "fn deep(n) { deep(n + 1) + 1 }\n";
    let other = closure(&note(&journal, "event.text"), "");
    sandbox.config("app.twc", [deep, &closure("deep(0)", r#"description: "deep""#), &other].concat());
    let mut daemon = sandbox.start();
    journal.wait_for(&["content"]);
    daemon.wait_for_log(&["deep", "fail"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["content", "new"]);
    wait_until("the daemon to live on", || daemon.is_running());
}

// What a program prints ends in a newline, with which a line in the log would break.
#[test]
fn the_shipped_example_of_a_function_logs_whole_lines() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/twitcher/example2", "hello");
    sandbox.config("function.twc", include_str!("../../etc/examples/function.twc"));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["I am nobody, and the node says hello"]);
}
