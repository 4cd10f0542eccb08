//! "What a znode writer can do is choose bytes and moments, never a command ... nothing of the data in
//! command lines, environment or logs."

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::control::get;
use crate::harness::{Daemon, Journald, Process, Sandbox, exec, on_every_store, wait_until, watch};

/// Stands in each content and in each name that a writer chooses, and nowhere else.
const MARK: &str = "m4rk3r";

fn contents(pwned: &Path) -> Vec<Vec<u8>> {
    let pwned = pwned.display();
    let texts = [
        format!("'\"; touch {pwned}; $(touch {pwned}) `touch {pwned}` | touch {pwned} & # {MARK}"),
        format!("{MARK}\n2026-01-01T00:00:00.000Z ERROR   forged {MARK}\n  forged {MARK}\r\n\n"),
        format!("{MARK}\0LD_PRELOAD=/{MARK}.so\0TWITCHER_ZNODE=/{MARK}\0"),
        format!("\u{1b}]0;{MARK}\u{7}\u{1b}[2J\u{1b}[31m{MARK}\u{9b}31m\u{202e}{MARK}"),
        format!("%s%n%x{{}}{{0}}$1${{HOME}}\\n{MARK}"),
        format!("{MARK}\nPRIORITY=0\nTWITCHER_WATCH={MARK}\n_PID=1\n"),
        format!("--help {MARK}"),
        // This is a little less than a ZooKeeper server accepts in one request.
        MARK.repeat(1_000_000 / MARK.len()),
    ];
    let no_text = [b"\xff\xfe\xc0\x80".as_slice(), MARK.as_bytes()].concat();
    texts.into_iter().map(String::into_bytes).chain([no_text]).collect()
}

/// Hostile names of nodes, in their sorted order.
fn names() -> [String; 5] {
    [
        format!("$(id>&2){MARK}"),
        format!("%s{{}}{MARK}"),
        format!("'\"{MARK}; id #"),
        format!("-rf {MARK}"),
        format!("`id`\\{MARK}\\n"),
    ]
}

/// Watches of every kind. Each run writes its payload into a file of its own, whose name begins with the
/// kind, and waits at the gate, so that all runs exist at the same time.
fn watches(sandbox: &Sandbox) -> String {
    let gate = sandbox.gate().pass();
    let out = sandbox.path("");
    let out = out.display();
    let keep =
        |what: &str| exec(&format!("cat > {out}/.$$; mv {out}/.$$ {out}/{what}-$TWITCHER_RUN_ID; {gate}"));
    let function =
        format!("|event| {{ write_file(`{out}function-${{event.version}}`, event.data); run({gate:?}); 0 }}");
    let each = |node: &str, what: &str, action: &str, keys: &str| {
        watch(node, action, &format!("description: {what:?}, run_mode: PARALLEL, {keys}"))
    };
    [
        each("/n", "data", &keep("data"), ""),
        each("/n", "function", &function, ""),
        each("/n", "fails", &exec("exit 3"), ""),
        each("/n", "held", &exec("true"), "max_data: 0"),
        each("/dir", "children", &keep("children"), "watch_type: WATCH_CHILDREN"),
        each("/dir", "tree", &keep("tree"), "watch_type: WATCH_TREE"),
    ]
    .concat()
}

/// The payloads of all runs of a watch of this kind.
fn payloads(sandbox: &Sandbox, what: &str) -> BTreeSet<Vec<u8>> {
    let files = fs::read_dir(sandbox.path("")).expect("list the files").map(|file| file.expect("a file"));
    let ours = files.filter(|file| file.file_name().to_string_lossy().starts_with(&format!("{what}-")));
    ours.map(|file| fs::read(file.path()).expect("read the file")).collect()
}

/// Publishes all contents and names one after the other, and waits until each action got exactly that.
fn publish(sandbox: &Sandbox, pwned: &Path) {
    for content in contents(pwned) {
        sandbox.nodes.set("/n", &content);
        for what in ["data", "function"] {
            wait_until(&format!("{what} to get it"), || payloads(sandbox, what).contains(&content));
        }
    }
    for name in names() {
        sandbox.nodes.set(&format!("/dir/{name}"), MARK);
    }
    let list: String = names().iter().flat_map(|name| [name, "\n"]).collect();
    wait_until("the list of children", || payloads(sandbox, "children").contains(list.as_bytes()));
    let last = format!("`id`\\\\{MARK}\\\\n\"");
    let has_it = |tree: &Vec<u8>| String::from_utf8_lossy(tree).contains(&last);
    wait_until("the tree", || payloads(sandbox, "tree").iter().any(has_it));
}

fn descendants(of: Process) -> Vec<Process> {
    let children = of.children();
    children.iter().copied().chain(children.iter().flat_map(|child| descendants(*child))).collect()
}

#[track_caller]
fn assert_unmarked(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(at) = text.find(MARK) {
        let start = (0..=at.saturating_sub(200)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        panic!("{what} contains some of the data: {:?}", text[start..].chars().take(300).collect::<String>());
    }
}

#[track_caller]
fn assert_nothing_leaked(sandbox: &Sandbox, daemon: &Daemon) {
    let processes = descendants(daemon.process());
    let mut runs = 0;
    for process in processes.iter().chain([&daemon.process()]) {
        for file in ["cmdline", "environ"] {
            // Some processes end in the meantime.
            let Ok(bytes) = fs::read(format!("/proc/{}/{file}", process.0)) else { continue };
            assert_unmarked(&format!("{file} of {}", process.0), &bytes);
            runs += usize::from(file == "environ" && bytes.windows(14).any(|at| at == b"TWITCHER_RUN_I"));
        }
    }
    assert!(runs > 2 * contents(Path::new("")).len(), "only {runs} were there to be seen");
    for command in ["status", "history"] {
        assert_unmarked(command, &sandbox.operator([command]).finish().expect(0).stdout);
    }
    for resource in ["/v1/status", "/v1/watches", "/v1/history", "/metrics"] {
        assert_unmarked(resource, &get(&sandbox.control_socket(), resource).body);
    }
    for file in fs::read_dir(sandbox.state()).expect("list the state") {
        let file = file.expect("a file").path();
        // This is where the data is kept, for root alone.
        if file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"cache.db")) {
            let mode = fs::metadata(&file).expect("look at the cache").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", file.display());
            continue;
        }
        assert_unmarked(&file.display().to_string(), &fs::read(&file).expect("read the state"));
    }
}

on_every_store!(nothing_of_the_data_is_in_command_lines_environments_logs_or_the_state);
fn nothing_of_the_data_is_in_command_lines_environments_logs_or_the_state(sandbox: &Sandbox) {
    let pwned = sandbox.path("pwned");
    sandbox.nodes.set("/n", "");
    sandbox.nodes.make("/dir");
    sandbox.config("app.twc", watches(sandbox));
    let daemon = sandbox.daemon().arg("-d").start();
    wait_until("the first runs", || payloads(sandbox, "tree").len() == 1);
    publish(sandbox, &pwned);
    daemon.wait_for_log(&["app.twc:held: held: /n, version ", "has 999996 bytes (max_data: 0)"]);
    daemon.wait_for_log(&["app.twc:fails run "]);
    assert_nothing_leaked(sandbox, &daemon);
    for line in daemon.log() {
        assert!(line.starts_with("20"), "a line that is not the daemon's: {line:?}");
        assert_unmarked("the log", line.as_bytes());
    }
    sandbox.gate().open();
    assert!(!pwned.exists(), "something was run");
}

#[test]
fn nothing_of_the_data_is_in_the_journal() {
    crate::harness::require_root();
    let sandbox = Sandbox::directory();
    let pwned = sandbox.path("pwned");
    let journald = Journald::listening(sandbox.path("run"));
    sandbox.config("app.twc", watches(&sandbox));
    let _daemon = journald.around(sandbox.daemon_logging_elsewhere().arg("-d"), "stderr").start();
    journald.wait_for(&["configs loaded"]);
    fs::create_dir(sandbox.root().join("nodes/dir")).expect("create the node");
    publish(&sandbox, &pwned);
    journald.wait_for(&["app.twc:held: held: /n, version ", "has 999996 bytes (max_data: 0)"]);
    for entry in journald.entries() {
        assert_unmarked("the journal", format!("{entry:?}").as_bytes());
    }
    sandbox.gate().open();
    assert!(!pwned.exists(), "something was run");
}

// A list of children has one name a line, and a log entry is one line: a name with a line break would forge
// both.
#[test]
fn a_file_whose_name_has_a_control_character_is_no_node() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let directory = sandbox.root().join("nodes/dir");
    fs::create_dir(&directory).expect("create the node");
    for name in ["a", "b\n  forged", "c\u{1b}[31m", "d\u{85}x", "e\r"] {
        fs::write(directory.join(name), "").expect("create a file");
    }
    let each = |what: &str| watch("/dir", &exec(&journal.record()), &format!("watch_type: {what}"));
    sandbox.config("app.twc", each("WATCH_CHILDREN"));
    let _daemon = sandbox.start();
    journal.wait_for(&["a"]);
    let listed = sandbox.client(["ls", "/dir"]).finish().expect(0).text();
    assert_eq!(listed, "a\n");
    sandbox.config("app.twc", each("WATCH_TREE"));
    let node = |znode: &str, text: &str| {
        format!(r#"{{"znode":"{znode}","event":"load","version":V,"size":0,"text":"{text}"}}"#)
    };
    let without_version = |line: &str| {
        let (start, rest) = line.split_once("\"version\":")?;
        Some(format!(
            "{start}\"version\":V{}",
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-')
        ))
    };
    let expected = ["a".to_owned(), node("/dir", ""), node("/dir/a", "")];
    wait_until("the tree", || {
        let lines = journal.lines();
        let lines: Vec<_> =
            lines.iter().map(|line| without_version(line).unwrap_or_else(|| line.clone())).collect();
        assert!(expected.starts_with(&lines), "{lines:?}");
        lines == expected
    });
}
