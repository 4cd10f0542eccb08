//! A machine without free processes or descriptors, and a machine whose clock is set.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chown};
use time::{Duration, OffsetDateTime};

use super::actions::run_or_counted;
use crate::harness::{
    Daemon, Journal, Process, Proxy, Sandbox, Server, ZooKeeper, command, exec, load, require_root, wait_for,
    wait_until, watch,
};

/// Two watches: `crowd`, whose runs use up a resource and stay, and `victim`, which needs some of it. Their
/// actions start no further processes.
struct Crowded {
    sandbox: Sandbox,
    crowd: Journal,
    victim: Journal,
}

impl Crowded {
    /// Both nodes contain `0`.
    #[track_caller]
    fn new() -> Self {
        require_root();
        let sandbox = Sandbox::zookeeper();
        let (crowd, victim) = (sandbox.journal_named("crowd"), sandbox.journal_named("victim"));
        let stays = format!("read -r v; {}; exec sleep 1000", crowd.note("+ $v"));
        let passes = format!("read -r v; {}", victim.note("$v"));
        let text = [
            watch("/crowd", &exec(&stays), r#"run_mode: PARALLEL, max_parallel: 1000, description: "crowd""#),
            watch("/victim", &exec(&passes), r#"description: "victim""#),
        ];
        sandbox.config("app.twc", text.concat());
        ["/crowd", "/victim"].iter().for_each(|node| sandbox.nodes.set(node, "0"));
        Self { sandbox, crowd, victim }
    }

    /// Starts runs until no further one is possible. Returns the content of `/crowd` then.
    #[track_caller]
    fn fill(&self, daemon: &Daemon) -> usize {
        self.victim.wait_for(&["0"]);
        let mut last = 0;
        wait_until("no further run to be possible", || {
            last += 1;
            self.sandbox.nodes.set("/crowd", last.to_string());
            // Two that start at once may both fail where there is room for one.
            let runs = daemon.log_lines(&[":crowd run"]);
            let news = runs.iter().filter(|line| line.contains("postponed") || line.contains("started"));
            news.rev().take(3).filter(|line| line.contains("postponed")).count() == 3
        });
        last
    }
}

/// Sets a running process's soft limit as the process's user, because root may lack the capability.
#[track_caller]
fn limit(process: Process, resource: &str, soft: usize) {
    let owner = fs::metadata(format!("/proc/{}", process.0)).expect("a running process").uid().to_string();
    let done = command("setpriv")
        .args(["--reuid", &owner, "--regid", &owner, "--clear-groups", "--", "prlimit"])
        .args([format!("--pid={}", process.0), format!("--{resource}={soft}:")])
        .status();
    assert!(done.expect("run prlimit").success());
}

// "An action that cannot be started for want of descriptors, memory or processes is put off, with a growing
// pause of at most 30 s." Root has no limit of processes, so the daemon runs as another user.
#[test]
fn without_processes_updates_are_put_off_and_run_when_there_are_some_again() {
    let it = Crowded::new();
    // No other process may run as this user, because it would count towards the limit. No two test runs have
    // the same process number.
    let user = 100_000 + std::process::id();
    chown(&it.sandbox.state(), Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))
        .expect("give the state away");
    let number = user.to_string();
    let credentials = ["--reuid", &number, "--regid", &number, "--clear-groups", "--pdeathsig", "KILL"];
    let daemon = it.sandbox.daemon().arg("--debug").binary(&it.sandbox.copy_of_the_binary());
    let daemon = daemon.under(["setpriv"]).under(credentials).under(["--"]).start();
    it.victim.wait_for(&["0"]);
    limit(daemon.process(), "nproc", 16);
    let last = it.fill(&daemon);
    it.sandbox.nodes.set("/victim", "1");
    daemon.wait_for_log(&[":victim run", "cannot start", "Resource temporarily unavailable"]);
    daemon.wait_for_log(&[":victim run", "postponed for", "the update is not lost"]);
    it.victim.wait_for(&["0"]);
    limit(daemon.process(), "nproc", 1000);
    it.victim.wait_for(&["0", "1"]);
    it.crowd.wait_for_line(&format!("+ {last}"));
    // "one run for every observed update", or the update "is counted"
    wait_until("every observed update to be run or counted", || {
        run_or_counted(&daemon, "crowd", &it.crowd.lines())
    });
}

// "Nothing is lost. ... network cuts ... do not break this", "One bad thing stays one bad thing": the daemon
// lacks descriptors, which it also needs to connect and to read configs.
#[test]
fn without_descriptors_no_update_and_no_config_is_lost() {
    let it = Crowded::new();
    let proxy = Proxy::to(&ZooKeeper::shared().address());
    let daemon = it.sandbox.daemon_on(&it.sandbox.nodes.url_by_way_of(&proxy.address())).start();
    it.victim.wait_for(&["0"]);
    // This leaves descriptors for some more runs.
    limit(daemon.process(), "nofile", daemon.process().open_files() + 16);
    let last = it.fill(&daemon);
    it.sandbox.nodes.set("/victim", "1");
    daemon.wait_for_log(&[":victim run", "postponed"]);
    // This leaves none, not even to connect.
    limit(daemon.process(), "nofile", 3);
    proxy.cut();
    daemon.wait_for_log(&["store: not connected"]);
    it.sandbox.nodes.set("/crowd", (last + 1).to_string());
    it.sandbox.config("late.twc", watch("/victim", &exec(&it.crowd.note("late")), ""));
    daemon.wait_for_log(&["configs: cannot read", "open files"]);
    limit(daemon.process(), "nofile", 1000);
    it.victim.wait_for(&["0", "1"]);
    it.crowd.wait_for_line(&format!("+ {}", last + 1));
    // By itself the daemon tries only once a minute what failed for reasons outside of the file.
    daemon.signal(Signal::SIGHUP);
    it.crowd.wait_for_line("late");
}

/// The duration of each timer in seconds. The first one takes half as long.
const PAUSE: f64 = 2.0;

/// `/proc/uptime` ticks every 10 ms.
const TICK: f64 = 0.02;

// "Time ... from a monotonic clock: a step of the wall clock moves no timeout", no `min_interval` and no
// `retry`.
#[test]
fn setting_the_clock_a_day_ahead_and_back_moves_no_timer() {
    assert!(Path::new("/usr/bin/faketime").exists(), "this test needs faketime: apt-get install -y faketime");
    let sandbox = Sandbox::zookeeper();
    let journals = ["soon", "paced", "failing"].map(|name| sandbox.journal_named(name));
    let checks = sandbox.journal_named("checks");
    sandbox.config("app.twc", timers(&journals));
    sandbox.config("web.twc", checked_service(&checks));
    let daemon = with_a_clock_of_its_own(&sandbox);
    for (jump, days) in [1, -1].into_iter().cycle().take(load(2, 20)).enumerate() {
        let since = uptime();
        set_going(&sandbox, &daemon, &journals, jump);
        let member = member_node(&sandbox);
        set_clock(&sandbox, days);
        // The reload makes the daemon log something after the jump.
        daemon.signal(Signal::SIGHUP);
        wait_until("the timeout", || daemon.log_lines(&[":timed run", "timed out"]).len() == jump + 1);
        assert!(uptime() >= since + PAUSE - TICK, "jump {jump} cut the timeout short");
        for (journal, pause) in journals.iter().zip([PAUSE / 2.0, PAUSE, PAUSE]) {
            wait_until("the timer's end", || journal.lines().len() == 2 * (jump + 1));
            let end = journal.lines().last().map_or(0.0, |line| seconds(line));
            assert!(end >= since + pause - TICK, "jump {jump} cut {} short: {since}, {end}", journal.path());
        }
        wait_until("the daemon to log the time that was set", || logs_time_of(&daemon, days));
        let checked = checks.lines().len();
        wait_until("more checks", || checks.lines().len() > checked + 2);
        assert_eq!(member_node(&sandbox), member, "jump {jump} moved the member");
    }
    assert_eq!(daemon.log_lines(&["withdrew"]), [""; 0]);
}

/// A service whose checks are journalled.
fn checked_service(checks: &Journal) -> String {
    format!(
        "RegisterService(#{{ service: \"/services/web\", address: \"h:1\", check: {}, interval: 0.2 }});\n",
        exec(&checks.note("checked"))
    )
}

/// Which node the member is: one that was withdrawn for a moment is another one.
#[track_caller]
fn member_node(sandbox: &Sandbox) -> serde_json::Value {
    wait_for("the member", || {
        let shown = sandbox.client(["get", "--json", "/services/web/h:1"]).finish().stdout;
        let node: serde_json::Value = serde_json::from_slice(&shown).ok()?;
        Some(node["czxid"].clone()).filter(|czxid| czxid.is_number())
    })
}

/// A watch that is timed out at each update, and three watches that journal the time twice: for two updates,
/// or for two tries.
fn timers([soon, paced, failing]: &[Journal; 3]) -> String {
    let note = |journal: &Journal| format!("read -r up _ < /proc/uptime; echo $up >> {}", journal.path());
    let fails = format!("{}; exit 1", note(failing));
    // The delay is jittered by half.
    let retry = format!("retry: #{{ attempts: 1, delay: {0:?}, max_delay: {0:?} }}", 2.0 * PAUSE);
    [
        // This timer ends soon after the jump. Then the daemon looks at all timers.
        watch("/soon", &exec(&note(soon)), &format!("min_interval: {:?}", PAUSE / 2.0)),
        watch("/timed", &exec("exec sleep 1000"), &format!("timeout: {PAUSE:?}, description: \"timed\"")),
        watch("/paced", &exec(&note(paced)), &format!("min_interval: {PAUSE:?}")),
        watch("/failing", &exec(&fails), &retry),
    ]
    .concat()
}

/// Starts a daemon with a wall clock of its own.
fn with_a_clock_of_its_own(sandbox: &Sandbox) -> Daemon {
    set_clock(sandbox, 0);
    let clock = format!("FAKETIME_TIMESTAMP_FILE={}", sandbox.path("clock").display());
    let environment = [
        // The dynamic linker replaces `$LIB`.
        "LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1",
        &clock,
        "FAKETIME_NO_CACHE=1",
        // Setting the wall clock of a machine steps neither this clock nor the times of files.
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "NO_FAKE_STAT=1",
    ];
    let daemon = sandbox.daemon().under(["env"]).under(environment).start();
    daemon.wait_for_log(&["configs loaded"]);
    daemon
}

/// Puts the daemon's clock so many days ahead of the true one.
fn set_clock(sandbox: &Sandbox, days: i64) {
    // The file is replaced in one step, because the daemon reads it all the time.
    let (file, new) = (sandbox.path("clock"), sandbox.path("clock.new"));
    fs::write(&new, format!("{days:+}d\n")).expect("write the time");
    fs::rename(new, file).expect("put the time in place");
}

/// Starts all timers. Returns when each is running or has already ended.
#[track_caller]
fn set_going(sandbox: &Sandbox, daemon: &Daemon, journals: &[Journal; 3], jump: usize) {
    for node in ["/timed", "/failing", "/paced", "/soon"] {
        sandbox.nodes.set(node, jump.to_string());
    }
    wait_until("the run to be timed", || daemon.log_lines(&[":timed run", "started"]).len() > jump);
    for journal in journals {
        wait_until("the timer's start", || journal.lines().len() > 2 * jump);
    }
    for node in ["/paced", "/soon"] {
        sandbox.nodes.set(node, format!("{jump}, again"));
    }
}

/// The seconds since boot, from a clock that nobody sets.
#[track_caller]
fn uptime() -> f64 {
    seconds(&fs::read_to_string("/proc/uptime").expect("the time since boot"))
}

/// The number at the beginning of a line.
#[track_caller]
fn seconds(line: &str) -> f64 {
    let number = line.split_whitespace().next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{line:?} begins with no number"))
}

/// Whether the date of the last line is this many days ahead of today.
fn logs_time_of(daemon: &Daemon, days: i64) -> bool {
    let now = OffsetDateTime::now_utc() + Duration::days(days);
    // The line may have been written before midnight.
    let dates = [now, now - Duration::MINUTE].map(|time| time.date().to_string());
    daemon.log().last().is_some_and(|line| dates.iter().any(|date| line.starts_with(date)))
}

// Actions take descriptors, and the daemon keeps some for its own work.
#[test]
fn with_all_descriptors_in_use_configs_are_still_read_and_operators_answered() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    let sleeping = |n: usize| watch("/n", &exec("exec sleep 1000"), &format!("description: \"sleeper-{n}\""));
    sandbox.config("app.twc", (0..40).map(sleeping).collect::<String>());
    let daemon = sandbox.daemon().under(["prlimit", "--nofile=80:80", "--"]).start();
    daemon.wait_for_log(&["cannot start", "descriptors: Too many open files", "raise RLIMIT_NOFILE"]);
    let (changed, change) = (std::time::Instant::now(), watch("/n", "|event| 0", "description: \"late\""));
    sandbox.config("late.twc", change);
    daemon.wait_for_log(&["late.twc: loaded"]);
    assert!(changed.elapsed() < std::time::Duration::from_secs(30), "{:?}", changed.elapsed());
    sandbox.operator(["status"]).finish().expect_said(&["late.twc:late"]);
    let said = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(said.code, Some(1));
    said.expect_said(&["actions: descriptors: ", "raise RLIMIT_NOFILE"]);
    sandbox.config("app.twc", watch("/n", &exec(&journal.note("room")), ""));
    assert!(daemon.log_lines(&["configs: cannot read"]).is_empty());
}
