//! `twitcher register`: members that are there while a command runs.

mod check;
mod faults;
mod foreign;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Daemon, Nodes, Process, Proxy, Sandbox, Store, Twitcher, ZooKeeper, on_every_kind, on_every_server,
    require_root, wait_for, wait_until,
};

const MEMBER: &str = "/services/web/h:1";

/// A `register` of [`MEMBER`] on this store, to which further flags can be added.
fn register(sandbox: &Sandbox, store: &str) -> Twitcher {
    if let Nodes::Directory(directory) = &sandbox.nodes {
        std::fs::create_dir_all(directory).expect("make the directory");
    }
    sandbox.twitcher(["register", "/services/web", "h:1", "--store", store])
}

/// Has `register` run this script of the shell.
fn with_script(register: Twitcher, script: &str) -> Twitcher {
    register.args(["--", "/bin/sh", "-c", script])
}

fn member(sandbox: &Sandbox) -> Option<Value> {
    let data = sandbox.nodes.get(MEMBER)?;
    Some(serde_json::from_slice(&data).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&data))))
}

#[track_caller]
fn wait_for_member(sandbox: &Sandbox) -> Value {
    wait_for("the member", || member(sandbox))
}

#[track_caller]
fn wait_for_absence(sandbox: &Sandbox) {
    wait_until("the member to go", || sandbox.nodes.get(MEMBER).is_none());
}

/// The process that talks to the store.
#[track_caller]
fn keeper(register: &Daemon) -> Process {
    wait_for("the keeper", || register.process().keepers().pop())
}

// "`register` holds a member while COMMAND runs (stdin, stdout, stderr and signals pass to it; the exit code
// is its own"
on_every_kind!(a_member_is_there_while_its_command_runs);
fn a_member_is_there_while_its_command_runs(store: Store) {
    let sandbox = &Sandbox::of_kind(store);
    let gate = sandbox.gate();
    let script = format!("cat; echo told >&2; {}; exit 7", gate.pass());
    let url = sandbox.nodes.url();
    let register = register(sandbox, &url).args(["--data", "weight=10", "--data", "{\"a\": [1]}"]);
    let register = with_script(register, &script).stdin("asked\n");
    std::thread::scope(|scope| {
        let register = scope.spawn(|| register.finish());
        let data = wait_for_member(sandbox);
        assert_eq!((&data["weight"], &data["a"]), (&json!(10), &json!([1])));
        let pid = Process(data["pid"].as_i64().expect("a number").try_into().expect("a process"));
        assert!(pid.is_alive(), "{data}");
        let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.0)).expect("its name");
        assert_eq!(name.trim(), "sh", "the process that serves");
        assert_eq!(data["created"].as_str().expect("a time").len(), "2012-12-15 00:45:03".len());
        gate.open();
        let finished = register.join().expect("it ends").expect(7);
        assert_eq!(finished.text(), "asked\n");
        finished.expect_said(&["told", "announced", "withdrawn"]);
        assert_eq!(sandbox.nodes.get(MEMBER), None);
    });
    // "`service`: the node that members are children of; created with its parents if missing": it stays.
    let listed = sandbox.client(["services", "/services/web"]).finish().expect(0);
    assert_eq!(listed.text(), "");
}

// "the member goes before the command is told to end"
on_every_kind!(the_member_goes_before_the_command_is_told_to_end);
fn the_member_goes_before_the_command_is_told_to_end(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    let url = sandbox.nodes.url();
    let (told, seen) = (sandbox.journal_named("told"), sandbox.journal_named("seen"));
    let look = format!(
        "{} ls /services/web --store {url} >> {} 2>/dev/null",
        env!("CARGO_BIN_EXE_twitcher"),
        seen.path()
    );
    let hup = told.note("HUP");
    let script = format!(
        "term() {{ {look}; {}; exit 3; }}; hup() {{ {hup}; }}; trap term TERM; trap hup HUP; {}; \
         while :; do sleep 0.05; done",
        told.note("TERM"),
        told.note("ready")
    );
    let mut register = with_script(register(&sandbox, &url), &script).start();
    told.wait_for(&["ready"]);
    wait_for_member(&sandbox);
    // A signal that tells nobody to end passes, and the member stays.
    register.signal(Signal::SIGHUP);
    told.wait_for(&["ready", "HUP"]);
    assert!(member(&sandbox).is_some());
    register.signal(Signal::SIGTERM);
    assert_eq!(register.wait_for_exit(), Some(3));
    told.wait_for(&["ready", "HUP", "TERM"]);
    assert_eq!(seen.lines(), [""; 0], "the member was there still");
}

// "or, without COMMAND, until SIGTERM"
on_every_kind!(without_a_command_a_member_is_there_until_sigterm);
fn without_a_command_a_member_is_there_until_sigterm(store: Store) {
    let sandbox = Sandbox::of_kind(store);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut register = register(&sandbox, &sandbox.nodes.url()).start();
        wait_for_member(&sandbox);
        register.signal(signal);
        assert_eq!(register.wait_for_exit(), Some(0));
        assert_eq!(sandbox.nodes.get(MEMBER), None);
    }
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let sandbox = Sandbox::zookeeper();
    let url = sandbox.nodes.url();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -KILL $$", 128 + 9)] {
        assert_eq!(with_script(register(&sandbox, &url), script).finish().code, Some(code), "{script}");
    }
    // As a shell does.
    let plain = sandbox.path("plain");
    std::fs::write(&plain, "no program").expect("write a file");
    for (program, code) in
        [("/nowhere/program", 127), ("no-such-program", 127), (plain.to_str().unwrap(), 126)]
    {
        let failed = register(&sandbox, &url).args(["--", program]).finish().expect(code);
        failed.expect_said(&["cannot start", program]);
        assert_eq!(sandbox.nodes.get(MEMBER), None, "{program}");
    }
}

#[test]
fn wrong_usage_starts_nothing() {
    let sandbox = Sandbox::zookeeper();
    let url = sandbox.nodes.url();
    let wrong = |args: &[&str], said: &[&str]| {
        let client = args.iter().fold(sandbox.twitcher(["register"]), Twitcher::arg);
        let client = client.args(["--store", &url, "--", "touch"]).arg(sandbox.path("started"));
        client.finish().expect(2).expect_said(said);
    };
    wrong(&["/services/web", "a/b"], &["a/b", "slash"]);
    wrong(&["/services/web", ".."], &["\"..\""]);
    wrong(&["services", "h:1"], &["services", "absolute"]);
    wrong(&["/s", "h:1", "--data", "weight"], &["weight", "KEY=VALUE"]);
    wrong(&["/s", "h:1", "--check", ""], &["--check", "value"]);
    wrong(&["/s", "h:1", "--data", "pid=1"], &["REGISTRY", "\"pid\""]);
    wrong(&["/s", "h:1", "--data", "{\"created\": 1}"], &["REGISTRY", "\"created\""]);
    wrong(&["/s", "h:1", "--data", "{\"a\": 1, \"a\": 2}"], &["duplicate key", "column"]);
    wrong(&["/s", ":80", "--format", "NERVE"], &["NERVE", "host"]);
    wrong(&["/s", "h:1", "--drain", "soon"], &["--drain", "seconds"]);
    // An argument has at most 128 KiB.
    let large: Vec<_> = (0..11).map(|key| format!("{key}={}", "x".repeat(100_000))).collect();
    let large = large.iter().flat_map(|data| ["--data", data]);
    let args: Vec<_> = ["/s", "h:1"].into_iter().chain(large).collect();
    wrong(&args, &["--data makes 1100", "at most 1000000"]);
    wrong(&["/s", "h:1", "--format", "registri"], &["registri", "REGISTRY"]);
    for format in ["curator", "serverset", "nerve"] {
        wrong(&["/s", "h", "--format", format], &[&format.to_uppercase(), "port", "HOST:PORT"]);
    }
    wrong(&["/s", "h:1", "--format", "nerve", "--data", "host=x"], &["NERVE", "host"]);
    wrong(&["/s", "h:1", "--interval", "5"], &["--check"]);
    assert!(!sandbox.has("started"));
    // So does a store that may not be written.
    sandbox.settings(&format!("store = \"{url}\"\nreadonly = true\n"));
    let client = sandbox.twitcher(["register", "/s", "h:1", "--", "touch"]).arg(sandbox.path("started"));
    let client = client.env("TWITCHER_CONFIG_PATH", sandbox.configs());
    client.finish().expect(1).expect_said(&["read-only", "twitcher.toml"]);
    assert!(!sandbox.has("started"));
    assert_eq!(sandbox.nodes.get("/s"), None);
}

// "Run by root it gives root up for what talks to the network", and the command keeps its identity.
#[test]
fn the_command_is_its_callers_and_the_keeper_is_not_root() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let out = sandbox.journal();
    let script = format!("umask 077; {}; sleep 60", out.note("$(id -u) $(id -G)"));
    let register = with_script(register(&sandbox, &sandbox.nodes.url()), &script).start();
    wait_for_member(&sandbox);
    let keeper = keeper(&register);
    assert!(keeper.status("Uid").split_whitespace().all(|id| id != "0"));
    let line = out.wait_for_line_where("the ids", |_| true);
    assert!(line.starts_with("0 "), "{line}");
}

// "A store that is away withdraws nothing by itself", and neither does it hold up the command.
on_every_server!(a_store_that_is_away_is_waited_for);
fn a_store_that_is_away_is_waited_for(store: Store) {
    let server = store.stopped_server();
    let sandbox = Sandbox::on_whole(&*server);
    let started = sandbox.journal();
    let script = format!("{}; sleep 1000", started.note("started"));
    let mut register = with_script(register(&sandbox, &sandbox.nodes.url()), &script).start();
    started.wait_for(&["started"]);
    register.wait_for_log(&["not connected", "trying again"]);
    server.up();
    wait_for_member(&sandbox);
    register.wait_for_log(&["connected to"]);
    register.signal(Signal::SIGTERM);
    assert_eq!(register.wait_for_exit(), Some(128 + 15));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

// "Nothing is written while nothing turns", and a connection that is lost moves no member.
#[test]
fn nothing_is_written_at_rest_and_by_a_reconnect() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on(&server);
    let proxy = Proxy::to(&crate::harness::Server::address(&server));
    let register = register(&sandbox, &sandbox.nodes.url_by_way_of(&proxy.address())).start();
    register.wait_for_log(&["is announced"]);
    let transactions = || {
        let answer = server.ask("srvr");
        answer.lines().find(|line| line.starts_with("Zxid")).expect("a number").to_owned()
    };
    wait_until("the test's own sessions to be closed", || server.sessions() == 1);
    let before = transactions();
    for round in 1..=3 {
        proxy.cut();
        wait_until("another connection", || register.log_lines(&["connected to"]).len() > round);
        wait_until("the member to be confirmed", || register.log_lines(&["is announced"]).len() > round);
    }
    assert_eq!(transactions(), before, "something was written");
    assert!(member(&sandbox).is_some());
}

// "`drain`": COMMAND is told to end when clients had the time to see that the member is gone.
on_every_kind!(clients_have_the_time_to_see_that_the_member_is_gone);
fn clients_have_the_time_to_see_that_the_member_is_gone(store: Store) {
    let sandbox = &Sandbox::of_kind(store);
    let url = sandbox.nodes.url();
    let told = sandbox.journal();
    let script = format!(
        "term() {{ {}; exit 3; }}; trap term TERM; {}; while :; do sleep 0.05; done",
        told.note("TERM"),
        told.note("ready")
    );
    let start = |drain: &str| {
        let register = with_script(register(sandbox, &url).args(["--drain", drain]), &script).start();
        register.wait_for_log(&[": it is announced"]);
        register
    };
    let mut register = start("2");
    told.wait_for(&["ready"]);
    let began = Instant::now();
    register.signal(Signal::SIGTERM);
    wait_for_absence(sandbox);
    register.wait_for_log(&["clients have 2 s to see it"]);
    assert_eq!(told.lines(), ["ready"], "it was told at once");
    assert_eq!(register.wait_for_exit(), Some(3));
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(told.lines(), ["ready", "TERM"]);
    // A second signal ends the wait.
    let mut register = start("1000");
    register.signal(Signal::SIGTERM);
    register.wait_for_log(&["clients have 1000 s to see it"]);
    assert_eq!(sandbox.nodes.get(MEMBER), None);
    register.signal(Signal::SIGTERM);
    assert_eq!(register.wait_for_exit(), Some(3));
}

#[test]
fn a_directory_that_does_not_exist_is_refused_and_not_made() {
    let sandbox = Sandbox::directory();
    let missing = sandbox.path("missing");
    let store = format!("dir:{}", missing.display());
    let refused =
        with_script(register(&sandbox, &store), &format!("touch {}", sandbox.path("started").display()));
    refused.finish().expect(1).expect_said(&["the directory", &store, "does not exist", "right store?"]);
    assert!(!missing.exists() && !sandbox.has("started"));
}
