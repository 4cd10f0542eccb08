//! Configs through the real evaluator: what scripts can do to it, and how the loader follows a directory.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use twitcher::config::evaluate::{Evaluation, Evaluator};
use twitcher::config::files::{FileChange, Loader, start_with};
use twitcher::config::root::Root;
use twitcher::config::scan;
use twitcher::config::script::Request;
use twitcher::model::{Facts, StoreName, StoreNames};
use twitcher::trust::Trust;

const TWITCHER: &str = env!("CARGO_BIN_EXE_twitcher");

/// No test waits that long but one that fails.
const TIMEOUT: Duration = Duration::from_secs(20);

fn watch(znode: &str) -> String {
    format!("RegisterWatch(#{{znode: \"{znode}\", action: Exec(\"true\")}});\n")
}

// ---- the evaluator -------------------------------------------------------------------------------

fn request(source: &str) -> Request {
    Request {
        path: "/etc/twitcher/a.twc".into(),
        name: "a.twc".into(),
        source: source.into(),
        modules: BTreeMap::new(),
        facts: Facts::of_this_host(),
    }
}

fn evaluate(evaluator: &mut Evaluator, source: &str) -> Evaluation {
    evaluator.evaluate(&mut request(source), &mut |module| Err(format!("no {module}")))
}

fn message(outcome: Evaluation) -> (String, bool) {
    match outcome {
        Evaluation::Failed { message, transient } => (message, transient),
        Evaluation::Loaded { watches, .. } => panic!("loaded {} watches", watches.len()),
    }
}

#[test]
fn a_hostile_script_is_an_error_of_its_own_file_only() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    let late = "did not end within 2 s";
    let died = "ran out of memory or stack";
    for (what, source, expected, transient) in [
        ("loop", "loop {}".to_owned(), late, true),
        ("recursion", "fn f(n) { f(n + 1) } f(0)".into(), "tack overflow", false),
        ("memory", "let a = []; loop { a.push(`0123456789` + a.len); }".into(), "", true),
        ("doubling", "let s = `xxxxxxxxxxxxxxxx`; loop { s += s; }".into(), died, false),
        ("blob", "blob(9000000000)".into(), died, false),
        ("deep arrays", format!("let a = {}{};", "[".repeat(100_000), "]".repeat(100_000)), "", false),
        ("deep values", "let a = []; for i in 0..100000 { a = [a]; } ".into(), "", false),
        ("slow native", "let a = []; a.pad(1000000, 0); loop { a.sort(); a.reverse() }".into(), late, true),
        ("sleep", "sleep(10)".into(), "`sleep` is not available", false),
    ] {
        let started = Instant::now();
        let outcome = evaluate(&mut evaluator, &source);
        assert!(started.elapsed() < Duration::from_millis(2700), "{what}: {:?}", started.elapsed());
        if what == "deep values" && matches!(outcome, Evaluation::Loaded { .. }) {
            continue;
        }
        let (message, retry) = message(outcome);
        assert!(message.starts_with("/etc/twitcher/a.twc:"), "{what}: {message}");
        assert!(message.contains(expected), "{what}: {message}");
        assert!(retry == transient || expected.is_empty(), "{what}: {message}");
        match evaluate(&mut evaluator, &watch("/a")) {
            Evaluation::Loaded { watches, .. } => assert_eq!(watches.len(), 1, "after {what}"),
            Evaluation::Failed { message, .. } => panic!("after {what}: {message}"),
        }
    }
}

#[test]
fn ten_thousand_registrations_are_well_within_the_limits() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    for action in ["Exec(\"true\")", "|e| n + 1", "Exec([\"a\", \"b\", `${n}`])"] {
        let source = format!(
            "for n in 0..10000 {{ RegisterWatch(#{{znode: `/a/${{n}}`, action: {action}, uid: 0}}); }}"
        );
        // The limit is one of time, and a busy machine may have none for us: the daemon tries again as well.
        let deadline = Instant::now() + Duration::from_secs(60);
        let watches = loop {
            match evaluate(&mut evaluator, &source) {
                Evaluation::Loaded { watches, .. } => break watches,
                Evaluation::Failed { message, .. } => {
                    assert!(
                        message.contains("did not end within 2 s") && Instant::now() < deadline,
                        "{message}"
                    );
                }
            }
        };
        assert_eq!(watches.len(), 10_000);
    }
}

#[test]
fn nothing_leaves_our_environment_but_what_a_config_asks_for() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    let mut request = request(
        "RegisterWatch(#{znode: `/${env(\"CARGO_PKG_NAME\")}/x${env(\"NO_SUCH\")}`, action: Exec(`x`)});",
    );
    match evaluator.evaluate(&mut request, &mut |module| Err(format!("no {module}"))) {
        Evaluation::Loaded { watches, .. } => assert_eq!(watches[0].znode, "/twitcher/x"),
        Evaluation::Failed { message, .. } => panic!("{message}"),
    }
    let asked = [("CARGO_PKG_NAME".to_owned(), Some("twitcher".to_owned())), ("NO_SUCH".to_owned(), None)];
    assert_eq!(request.facts.variables, asked.into());
}

#[test]
fn a_config_can_ask_for_so_many_variables_and_no_more() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    let asking = |count: usize| {
        format!("for n in 0..{count} {{ try {{ env(`V${{n}}`) }} catch {{}} }}\n{}", watch("/a"))
    };
    assert!(matches!(evaluate(&mut evaluator, &asking(64)), Evaluation::Loaded { .. }));
    let (message, transient) = message(evaluate(&mut evaluator, &asking(65)));
    assert_eq!(message, "/etc/twitcher/a.twc: more than 64 environment variables");
    assert!(!transient);
}

#[test]
fn more_files_than_one_child_serves() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    for n in 0..600 {
        match evaluate(&mut evaluator, &watch(&format!("/{n}"))) {
            Evaluation::Loaded { watches, .. } => assert_eq!(watches[0].znode, format!("/{n}")),
            Evaluation::Failed { message, .. } => panic!("{n}: {message}"),
        }
    }
}

#[test]
fn an_evaluator_that_cannot_start_or_talks_nonsense_is_an_error() {
    for (program, expected) in
        [("/no/such", "cannot evaluate"), ("/bin/true", "ran out"), ("/bin/echo", "ran out")]
    {
        let (message, _) = message(evaluate(&mut Evaluator::new(program.into()), &watch("/a")));
        assert!(message.contains(expected), "{program}: {message}");
    }
}

/// The evaluators that this test process started, by pid.
fn evaluators() -> Vec<u32> {
    let own = std::process::id().to_string();
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        field(&status, "PPid") == own && command.ends_with(b"\0evaluate\0")
    })
    .collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

#[test]
fn the_evaluator_is_confined() {
    let looping = std::thread::spawn(|| evaluate(&mut Evaluator::new(TWITCHER.into()), "loop {}"));
    // It hides itself right after exec, so the first look may come too early.
    let started = Instant::now();
    let confined = |pid: &u32| -> Option<()> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let hidden =
            std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{pid}/mem")).ok()?) == 0;
        if nix::unistd::geteuid().is_root() && !hidden {
            return None;
        }
        let (status, limits) = (read("status")?, read("limits")?);
        let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).ok()?, Path::new("/"));
        assert_eq!(read("environ")?, "");
        assert_eq!(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(), 3);
        assert!(limit("Max address space")?.starts_with("268435456"), "{limits}");
        assert!(limit("Max file size")?.starts_with("0 "), "{limits}");
        assert!(limit("Max core file size")?.starts_with("0 "), "{limits}");
        if nix::unistd::geteuid().is_root() {
            let ids: Vec<u32> =
                field(&status, "Uid").split_whitespace().map(|id| id.parse().unwrap()).collect();
            let id = if ids[0] >= 0x7000_0000 { 0x7000_0000 + pid } else { 61184 + pid % 4336 };
            assert_eq!(ids, [id; 4]);
            let gids: Vec<u32> =
                field(&status, "Gid").split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(gids, [id; 4]);
            assert_eq!(field(&status, "Groups"), "");
            assert_eq!(field(&status, "CapEff"), "0000000000000000");
            assert!(limit("Max processes")?.starts_with("0 "), "{limits}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), "1");
        Some(())
    };
    while !evaluators().iter().any(|pid| confined(pid).is_some()) {
        assert!(started.elapsed() < TIMEOUT, "no evaluator was seen");
    }
    looping.join().unwrap();
}

// ---- act -----------------------------------------------------------------------------------------

fn act(source: &str, stdin: &str) -> Output {
    use twitcher::act::function::{ActEvent, ActRequest};
    use twitcher::action::payload::Payload;
    use twitcher::model::Program;
    let directory = tempfile::tempdir().unwrap();
    let order = directory.path().join("order");
    let program = Program {
        path: "/etc/twitcher/a.twc".into(),
        name: "a.twc".into(),
        source: source.into(),
        modules: BTreeMap::new(),
        facts: Facts::default(),
    };
    let payload = Payload::Data(vec![b'x'; 1 << 20].into());
    let event = ActEvent { znode: "/a".into(), event: "load".into(), version: 1, watch: "w".into(), payload };
    fs::write(&order, ActRequest { program: program.into(), index: 0, event }.encode()).unwrap();
    let shell = format!("exec 9<{}; echo {stdin} | {TWITCHER} act 9", order.display());
    Command::new("/bin/sh").args(["-c", &shell]).output().unwrap()
}

#[test]
fn a_function_runs_in_a_process_of_its_own() {
    let action = |body: &str| format!("RegisterWatch(#{{znode: `/a`, action: |e| {{\n{body}\n}}}});");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    let output =
        act(&action("log(`${e.data.len} ${e.text.len}`); print(run(`cat`).stdout); debug(1); 7"), "hello");
    assert_eq!(text(&output.stdout), "1048576 1048576\nhello\n\n");
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("2:63: 1\n", Some(7)));

    // The harness may leave descriptors of its own, but the order is not among them.
    let output = act(&action("print(run(`ls -l /proc/self/fd`).stdout)"), "");
    assert!(output.status.success() && !text(&output.stdout).contains("order"), "{output:?}");

    let output = act(&action("let a = 1;\n  a.nosuch()"), "");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("/etc/twitcher/a.twc:3:5: unknown function `nosuch"), "{stderr}");

    let output = act(&format!("fn f(n) {{ if n == 0 {{ 9 }} else {{ f(n - 1) }} }}{}", action("f(60)")), "");
    assert_eq!(output.status.code(), Some(9), "{output:?}");

    let output = Command::new(TWITCHER).args(["act", "8"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

// ---- the loader ----------------------------------------------------------------------------------

struct Follower {
    loader: Loader,
    root: PathBuf,
    changes: Receiver<FileChange>,
    _directory: tempfile::TempDir,
}

fn stores() -> StoreNames {
    StoreNames::from([StoreName::default()])
}

impl Follower {
    /// Where links may lead wherever they do: most of these tests are not about trust.
    fn new(files: &[(&str, &str)]) -> Self {
        Self::trusting(Trust::Anyone, files)
    }

    fn trusting(trust: Trust, files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("twitcher");
        fs::create_dir(&root).unwrap();
        for (name, text) in files {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let (sender, changes) = mpsc::channel();
        let sink = move |change| drop(sender.send(change));
        let loader = start_with(root.clone(), trust, stores(), TWITCHER.into(), sink).unwrap();
        Self { loader, root, changes, _directory: directory }
    }

    /// As [`Self::new`], with the first scan behind it.
    fn ready(files: &[(&str, &str)]) -> Self {
        let follower = Self::new(files);
        while !matches!(follower.next(), FileChange::FirstScanDone) {}
        follower
    }

    /// The next change. That a rescan is over is none.
    fn next(&self) -> FileChange {
        let mut changes = std::iter::from_fn(|| self.changes.recv_timeout(TIMEOUT).ok());
        changes.find(|change| !is_answer(change)).expect("a change")
    }

    /// What is said, in short, from now until so many rescans are answered.
    fn until_answered(&self, rescans: usize) -> Vec<String> {
        let mut said = Vec::new();
        let (mut open, end) = (rescans, Instant::now() + TIMEOUT);
        while open > 0 {
            let left = end.saturating_duration_since(Instant::now());
            match self.changes.recv_timeout(left).expect("an answer") {
                FileChange::Rescanned { requests } => open -= requests,
                change => said.push(short(&change)),
            }
        }
        said
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.root.join(name), text).unwrap();
    }

    /// What comes next, in short: `a.twc: /x,/y`, `a.twc failed`, `a.twc removed`.
    fn short(&self) -> String {
        short(&self.next())
    }

    /// Nothing happens for longer than a change takes. A negative has no condition to wait for.
    fn quiet(&self) {
        let end = Instant::now() + Duration::from_millis(1200);
        while let Ok(change) = self.changes.recv_timeout(end.saturating_duration_since(Instant::now())) {
            assert!(is_answer(&change), "unexpected {change:?}");
        }
    }
}

fn short(change: &FileChange) -> String {
    match change {
        FileChange::Loaded { file, watches, .. } => {
            let nodes: Vec<&str> = watches.iter().map(|watch| watch.subject.path.as_str()).collect();
            format!("{file}: {}", nodes.join(","))
        }
        FileChange::Failed { file, .. } => format!("{file} failed"),
        FileChange::Removed { file } => format!("{file} removed"),
        FileChange::Inaccessible { path, error } => format!("{path} closed: {error}"),
        FileChange::Accessible { path } => format!("{path} opened"),
        FileChange::Warning(warning) => format!("warning: {warning}"),
        FileChange::Degraded(trouble) => format!("trouble: {trouble}"),
        FileChange::FirstScanDone => "done".into(),
        FileChange::Rescanned { requests } => format!("{requests} rescanned"),
    }
}

fn is_answer(change: &FileChange) -> bool {
    matches!(change, FileChange::Rescanned { .. })
}

#[test]
fn the_first_scan_gives_every_file_and_then_its_end() {
    let (a, b) = (watch("/a"), watch("/b"));
    let follower = Follower::new(&[
        ("a.twc", &a),
        ("sub/deep/b.twc", &b),
        (".hidden.twc", &a),
        (".git/c.twc", &a),
        ("readme.txt", "no config"),
        ("bad.twc", "nosuch()"),
        ("empty.twc", "// nothing"),
    ]);
    let changes: Vec<FileChange> = (0..5).map(|_| follower.next()).collect();
    let said: Vec<String> = changes.iter().map(short).collect();
    assert_eq!(said, ["a.twc: /a", "bad.twc failed", "empty.twc: ", "sub/deep/b.twc: /b", "done"]);
    let warned = changes.iter().any(|change| {
        matches!(change, FileChange::Loaded { warnings, .. } if warnings.iter().any(|w| w.contains("registers no watch")))
    });
    assert!(warned);
    follower.quiet();
}

#[test]
fn a_missing_directory_is_an_error_at_once() {
    assert!(
        start_with("/no/such/directory".into(), Trust::Anyone, stores(), TWITCHER.into(), |_| {}).is_err()
    );
}

#[test]
fn changes_take_effect_within_a_second() {
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    for n in 0..5 {
        let written = Instant::now();
        follower.write("a.twc", &watch(&format!("/{n}")));
        assert_eq!(follower.short(), format!("a.twc: /{n}"));
        assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
    }
    let written = Instant::now();
    fs::remove_file(follower.root.join("a.twc")).unwrap();
    assert_eq!(follower.short(), "a.twc removed");
    assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
}

#[test]
fn edits_within_one_second_and_of_one_size_are_seen() {
    let follower = Follower::ready(&[("a.twc", &watch("/0"))]);
    let path = follower.root.join("a.twc");
    let times = fs::metadata(&path).unwrap();
    for n in 1..5 {
        follower.write("a.twc", &watch(&format!("/{n}")));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(times.modified().unwrap()).unwrap();
        assert_eq!(follower.short(), format!("a.twc: /{n}"));
    }
}

#[test]
fn an_unchanged_file_is_not_evaluated_again() {
    let follower = Follower::ready(&[("a.twc", &watch("/a")), ("bad.twc", "nosuch()")]);
    follower.write("a.twc", &watch("/a"));
    follower.write("bad.twc", "nosuch()");
    follower.loader.rescan();
    assert!(follower.until_answered(1).is_empty());
    follower.quiet();
}

#[test]
fn a_failing_file_is_told_once_and_heals() {
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    follower.write("a.twc", "RegisterWatch(#{znode: `/a`, action: Exec(`x`), uid: `nosuchuser`});");
    match follower.next() {
        FileChange::Failed { error, .. } => {
            assert!(error.contains("a.twc:1:1: `uid`: unknown user \"nosuchuser\"\n  | Reg"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Tried again, and still the same.
    follower.loader.rescan();
    assert!(follower.until_answered(1).is_empty());
    follower.quiet();
    follower.write("a.twc", &watch("/b"));
    assert_eq!(follower.short(), "a.twc: /b");
}

#[test]
fn a_rescan_is_answered_after_all_that_was_there_when_it_was_asked_for() {
    let follower = Follower::ready(&[("a.twc", &watch("/a")), ("gone.twc", &watch("/gone"))]);
    for n in 0..5 {
        follower.write("a.twc", &watch(&format!("/{n}")));
        fs::remove_file(follower.root.join("gone.twc")).unwrap();
        (0..3).for_each(|_| follower.loader.rescan());
        let mut said = follower.until_answered(3);
        said.sort();
        assert_eq!(said, [&format!("a.twc: /{n}"), "gone.twc removed"]);
        follower.write("gone.twc", &watch("/gone"));
        assert_eq!(follower.short(), "gone.twc: /gone");
    }
    // What is not asked is not answered.
    follower.write("a.twc", &watch("/end"));
    assert_eq!(follower.short(), "a.twc: /end");
    assert!(follower.changes.recv_timeout(Duration::from_millis(1200)).is_err());
}

// Others' files may change all the time.
#[test]
fn files_that_are_written_all_the_time_do_not_keep_a_rescan_from_being_answered() {
    let follower = Follower::ready(&[]);
    let paths = ["a.twc", "b.twc", "c.twc"].map(|name| follower.root.join(name));
    let (answered, writing) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        for (n, path) in paths.iter().cycle().enumerate() {
            fs::write(path, format!("// {n}")).unwrap();
            let pause = Duration::from_millis(7);
            if writing.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    });
    follower.next();
    follower.loader.rescan();
    follower.until_answered(1);
    drop(answered);
    writer.join().unwrap();
}

#[test]
fn nested_new_directories_are_found() {
    let follower = Follower::ready(&[]);
    fs::create_dir_all(follower.root.join("x/y/z")).unwrap();
    follower.write("x/y/z/a.twc", &watch("/a"));
    assert_eq!(follower.short(), "x/y/z/a.twc: /a");
    follower.write("x/y/z/a.twc", &watch("/b"));
    assert_eq!(follower.short(), "x/y/z/a.twc: /b");
    fs::rename(follower.root.join("x"), follower.root.join("w")).unwrap();
    let mut said = [follower.short(), follower.short()];
    said.sort();
    assert_eq!(said, ["w/y/z/a.twc: /b", "x/y/z/a.twc removed"]);
    fs::remove_dir_all(follower.root.join("w")).unwrap();
    assert_eq!(follower.short(), "w/y/z/a.twc removed");
}

#[test]
fn editors_may_swap_files() {
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    let path = follower.root.join("a.twc");
    for n in 0..3 {
        fs::rename(&path, follower.root.join("a.twc~")).unwrap();
        // Somebody looks just then.
        follower.loader.rescan();
        std::thread::sleep(Duration::from_millis(20));
        follower.write("a.twc", &watch(&format!("/{n}")));
        assert_eq!(follower.short(), format!("a.twc: /{n}"));
        follower.write(".a.twc.new", &watch(&format!("/new{n}")));
        fs::rename(follower.root.join(".a.twc.new"), &path).unwrap();
        assert_eq!(follower.short(), format!("a.twc: /new{n}"));
    }
    follower.quiet();
}

#[test]
fn half_written_files_are_waited_for() {
    use std::io::Write;
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    let mut file = fs::File::create(follower.root.join("a.twc")).unwrap();
    let (mut last_write, mut longest_pause) = (Instant::now(), Duration::ZERO);
    let mut write = |text: &str| {
        file.write_all(text.as_bytes()).unwrap();
        longest_pause = longest_pause.max(last_write.elapsed());
        last_write = Instant::now();
    };
    for n in 0..10 {
        let text = watch(&format!("/{n}"));
        let (first, second) = text.split_at(20);
        write(first);
        // Somebody looks just then.
        follower.loader.rescan();
        std::thread::sleep(Duration::from_millis(15));
        write(second);
    }
    let mut said = follower.short();
    // A loaded machine may hold the writer up for longer than anybody waits for it (50 ms).
    while longest_pause > Duration::from_millis(40) && !said.ends_with("/9") {
        said = follower.short();
    }
    assert_eq!(said, "a.twc: /0,/1,/2,/3,/4,/5,/6,/7,/8,/9");
}

#[test]
fn a_root_that_vanishes_removes_nothing() {
    let follower = Follower::ready(&[("a.twc", &watch("/a")), ("b.twc", &watch("/b"))]);
    let aside = follower.root.with_extension("aside");
    fs::rename(&follower.root, &aside).unwrap();
    assert!(follower.short().contains("cannot read"));
    fs::create_dir(&follower.root).unwrap();
    follower.write("a.twc", &watch("/changed"));
    assert_eq!(follower.short(), "./ opened");
    assert_eq!(follower.short(), "a.twc: /changed");
    assert_eq!(follower.short(), "b.twc removed");
    // The new directory is followed like the old one.
    follower.write("b.twc", &watch("/b"));
    assert_eq!(follower.short(), "b.twc: /b");
}

#[test]
fn a_directory_that_cannot_be_read_removes_nothing() {
    let follower = Follower::ready(&[("sub/a.twc", &watch("/a"))]);
    let sub = follower.root.join("sub");
    // A symlink to itself cannot be read, not even by root.
    fs::rename(&sub, follower.root.join(".sub")).unwrap();
    symlink("sub", &sub).unwrap();
    assert!(follower.short().contains("sub: cannot read"));
    follower.quiet();
    fs::remove_file(&sub).unwrap();
    fs::rename(follower.root.join(".sub"), &sub).unwrap();
    assert_eq!(follower.short(), "sub/ opened");
    follower.write("sub/a.twc", &watch("/b"));
    assert_eq!(follower.short(), "sub/a.twc: /b");
}

#[test]
fn symlinked_files_and_directories_are_followed() {
    let follower = Follower::ready(&[]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("real"), watch("/a")).unwrap();
    symlink(outside.path().join("real"), follower.root.join("a.twc")).unwrap();
    assert_eq!(follower.short(), "a.twc: /a");
    fs::write(outside.path().join("real"), watch("/b")).unwrap();
    assert_eq!(follower.short(), "a.twc: /b");
    // A cycle.
    symlink(".", follower.root.join("loop")).unwrap();
    follower.write("b.twc", &watch("/c"));
    assert_eq!(follower.short(), "b.twc: /c");
    follower.quiet();
}

#[test]
fn a_changed_or_created_module_reloads_its_importers() {
    let user = "import \"lib/m\" as m; RegisterWatch(#{znode: m::node(), action: Exec(`x`)});";
    let follower = Follower::ready(&[("a.twc", user), ("b.twc", &watch("/b"))]);
    fs::create_dir(follower.root.join("lib")).unwrap();
    follower.write("lib/m.rhai", "fn node() { `/one` }");
    assert_eq!(follower.short(), "a.twc: /one");
    follower.write("lib/m.rhai", "fn node() { `/two` }");
    assert_eq!(follower.short(), "a.twc: /two");
    fs::remove_file(follower.root.join("lib/m.rhai")).unwrap();
    match follower.next() {
        FileChange::Failed { file, error } => {
            assert_eq!(file, "a.twc");
            assert!(error.contains("lib/m.rhai: no such module"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    follower.write("lib/m.rhai", "fn node() { `/three` }");
    assert_eq!(follower.short(), "a.twc: /three");
    // A symlink that leads out is no way out.
    fs::remove_file(follower.root.join("lib/m.rhai")).unwrap();
    symlink("/etc/hostname", follower.root.join("lib/m.rhai")).unwrap();
    match follower.next() {
        FileChange::Failed { error, .. } => assert!(error.contains("outside"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn loose_permissions_are_warned_of_where_they_are_allowed() {
    let follower = Follower::trusting(Trust::Warned, &[]);
    while !matches!(follower.next(), FileChange::FirstScanDone) {}
    follower.write(".new", &watch("/a"));
    fs::set_permissions(follower.root.join(".new"), Permissions::from_mode(0o666)).unwrap();
    fs::rename(follower.root.join(".new"), follower.root.join("a.twc")).unwrap();
    match follower.next() {
        FileChange::Loaded { warnings, .. } => {
            assert!(warnings.iter().any(|warning| warning.contains("writable by its group")), "{warnings:?}");
        }
        other => panic!("{other:?}"),
    }
}

// Faster than any loader looks.
#[test]
fn what_is_swapped_between_the_judging_and_the_reading_is_never_read() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (root, outside) = (directory.path().join("configs"), directory.path().join("outside"));
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        path.to_owned()
    };
    write(&outside.join("a.twc"), "evil");
    let foreign = write(&root.join(".foreign.twc"), "evil");
    lchown(&foreign, Some(65534), None).unwrap();
    symlink("../outside/a.twc", root.join(".link.twc")).unwrap();
    symlink("../outside", root.join(".into")).unwrap();
    let loose = write(&root.join(".loose/a.twc"), "evil");
    fs::set_permissions(loose.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
    let kinds = ["foreign.twc", "link.twc", "into", "loose"];
    let (mut good, mut refused) = ([0; 4], [0; 4]);
    let done = AtomicBool::new(false);
    let files =
        kinds.map(|kind| if kind.ends_with(".twc") { kind.to_owned() } else { format!("{kind}/a.twc") });
    files.iter().for_each(|file| drop(write(&root.join(file), "good")));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for kind in kinds {
                    let (one, other) = (root.join(kind), root.join(format!(".{kind}")));
                    let flags = RenameFlags::RENAME_EXCHANGE;
                    renameat2(AT_FDCWD, &one, AT_FDCWD, &other, flags).unwrap();
                }
            }
        });
        let started = Instant::now();
        let mut read_evil = false;
        for n in 0.. {
            let opened = Root::open(&root, Trust::Root).unwrap();
            for (kind, file) in files.iter().enumerate() {
                match scan::read(&opened, Path::new(file)) {
                    Ok(Some(read)) if read.text == "good" => good[kind] += 1,
                    Ok(Some(_)) => read_evil = true,
                    Ok(None) => {}
                    Err(_) => refused[kind] += 1,
                }
            }
            let enough = n > 5_000 && good.iter().chain(&refused).all(|count| *count > 100);
            if enough || read_evil || started.elapsed() > TIMEOUT {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(!read_evil);
    });
    eprintln!("read {good:?}, refused {refused:?}");
    assert!(good.iter().chain(&refused).all(|count| *count > 0), "read {good:?}, refused {refused:?}");
}

#[test]
fn ten_thousand_files_load_and_one_of_them_reloads() {
    let files: Vec<(String, String)> =
        (0..10_000).map(|n| (format!("d{}/{n}.twc", n % 100), watch(&format!("/{n}")))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let follower = Follower::new(&files);
    let mut loaded = 0;
    loop {
        match follower.next() {
            FileChange::Loaded { .. } => loaded += 1,
            FileChange::FirstScanDone => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(loaded, 10_000);
    follower.write("d0/0.twc", &watch("/changed"));
    assert_eq!(follower.short(), "d0/0.twc: /changed");
}

// ---- check ---------------------------------------------------------------------------------------

fn check(paths: &[&Path]) -> Output {
    Command::new(TWITCHER).arg("check").args(paths).output().unwrap()
}

#[test]
fn check_says_what_is_good_and_what_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("a.twc"), watch("/a")).unwrap();
    fs::write(root.join("sub/b.txt"), format!("import \"m\" as m;\n{}", watch("/b"))).unwrap();
    fs::write(root.join("sub/m.rhai"), "").unwrap();
    let output = check(&[root, &root.join("sub/b.txt")]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let root_path = root.display();
    assert_eq!(
        text(&output.stdout),
        format!("{root_path}/a.twc: ok, 1 watch\n{root_path}/sub/b.txt: ok, 1 watch\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(0));

    fs::write(root.join("sub/bad.twc"), "\nRegisterWatch(#{zonde: 1});").unwrap();
    let output = check(&[root, Path::new("/no/such.twc")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains(&format!("{root_path}/sub/bad.twc:2:1: unknown key `zonde`; did you mean `znode`?")),
        "{stderr}"
    );
    assert!(stderr.contains("/no/such.twc: No such file"), "{stderr}");
}
