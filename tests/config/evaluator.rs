//! Tests of what a script can do to the evaluator, and of what the evaluator itself may do.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use twitcher::config::evaluate::{Evaluation, Evaluator};
use twitcher::config::request::Request;
use twitcher::model::Facts;

use super::{DEADLINE, TWITCHER, watch};

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
        Evaluation::Wrong { mistakes, .. } => {
            let lines = mistakes.iter().map(|it| format!("/etc/twitcher/{}:{}", it.at.source, it.text));
            (lines.collect::<Vec<_>>().join("\n"), false)
        }
        Evaluation::Loaded { watches, .. } => panic!("loaded {} watches", watches.len()),
    }
}

#[test]
fn a_hostile_script_is_an_error_of_its_own_file_alone() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    let late = "did not end within 2 s";
    let died = "ran out of memory or stack";
    for (what, source, expected, transient) in [
        ("loop", "loop {}".to_owned(), late, true),
        ("recursion", "fn f(n) { f(n + 1) } f(0)".into(), "call one another too deep", false),
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
        let (said, retry) = message(outcome);
        assert!(said.starts_with("/etc/twitcher/a.twc:"), "{what}: {said}");
        assert!(said.contains(expected), "{what}: {said}");
        assert!(retry == transient || expected.is_empty(), "{what}: {said}");
        match evaluate(&mut evaluator, &watch("/a")) {
            Evaluation::Loaded { watches, .. } => assert_eq!(watches.len(), 1, "after {what}"),
            other => panic!("after {what}: {}", message(other).0),
        }
    }
}

#[test]
fn thousands_of_registrations_are_well_within_the_limits() {
    // Not 10,000, because an unoptimized build on a slow machine has the same limit of time.
    let mut evaluator = Evaluator::new(TWITCHER.into());
    for action in ["Exec(\"true\")", "|e| n + 1", "Exec([\"a\", \"b\", `${n}`])"] {
        let source = format!(
            "for n in 0..3000 {{ RegisterWatch(#{{znode: `/a/${{n}}`, action: {action}, uid: 0}}); }}"
        );
        // The limit is one of time, and a busy machine may exceed it. The daemon tries again, too.
        let deadline = Instant::now() + Duration::from_secs(60);
        let watches = loop {
            match evaluate(&mut evaluator, &source) {
                Evaluation::Loaded { watches, .. } => break watches,
                other => {
                    let (message, _) = message(other);
                    assert!(
                        message.contains("did not end within 2 s") && Instant::now() < deadline,
                        "{message}"
                    );
                }
            }
        };
        assert_eq!(watches.len(), 3000);
    }
}

#[test]
fn a_config_gets_only_those_variables_of_the_environment_that_it_asks_for() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    let mut request = request(
        "RegisterWatch(#{znode: `/${env(\"CARGO_PKG_NAME\")}/x${env(\"NO_SUCH\")}`, action: Exec(`x`)});",
    );
    match evaluator.evaluate(&mut request, &mut |module| Err(format!("no {module}"))) {
        Evaluation::Loaded { watches, .. } => assert_eq!(watches[0].znode, "/twitcher/x"),
        other => panic!("{}", message(other).0),
    }
    let asked = [("CARGO_PKG_NAME".to_owned(), Some("twitcher".to_owned())), ("NO_SUCH".to_owned(), None)];
    assert_eq!(request.facts.variables, asked.into());
}

#[test]
fn a_config_can_ask_for_64_variables_and_no_more() {
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
fn more_files_are_evaluated_than_one_child_serves() {
    let mut evaluator = Evaluator::new(TWITCHER.into());
    for n in 0..600 {
        match evaluate(&mut evaluator, &watch(&format!("/{n}"))) {
            Evaluation::Loaded { watches, .. } => assert_eq!(watches[0].znode, format!("/{n}")),
            other => panic!("{n}: {}", message(other).0),
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

// The time of a config does not begin before its evaluator is ready.
#[test]
fn an_evaluator_that_starts_slowly_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (slow, program) = (directory.path().join("slow"), directory.path().join("twitcher"));
    // The user of an evaluator may not have the way to the original.
    fs::copy(TWITCHER, &program).unwrap();
    // A shell would start a process for `sleep`, which an evaluator may not.
    let script = format!("import os, sys, time\ntime.sleep(3)\nos.execv({program:?}, sys.argv)\n");
    fs::write(&slow, format!("#!/usr/bin/python3\n{script}")).unwrap();
    fs::set_permissions(&slow, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    match evaluate(&mut Evaluator::new(slow), &watch("/a")) {
        Evaluation::Loaded { watches, .. } => assert_eq!(watches.len(), 1),
        other => panic!("{}", message(other).0),
    }
}

/// The process numbers of the evaluators that this process started.
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
    let looping = thread::spawn(|| evaluate(&mut Evaluator::new(TWITCHER.into()), "loop {}"));
    // The evaluator hides itself right after exec, so the first look may come too early.
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
        assert!(started.elapsed() < DEADLINE, "no evaluator was seen");
    }
    looping.join().unwrap();
}
