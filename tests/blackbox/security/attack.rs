//! Attacks by an action that runs as another user.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::{Daemon, STRANGER, Sandbox, exec, require_root, wait_for, wait_until, watch};

/// Debian's Python, which every user can execute.
const PYTHON: &str = "/usr/bin/python3";

const KEY: &str = "twitcher-test";

/// The outcome of each attempt by its name: `done`, or the name of an error.
type Outcomes = BTreeMap<String, String>;

/// A daemon that has every kind of file, a terminal and a key, runs an action, and evaluates configs all the
/// time.
struct Scene {
    sandbox: Sandbox,
    _daemon: Daemon,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        require_root();
        let sandbox = Sandbox::directory();
        for (name, text) in
            [("attack.py", include_str!("attack.py")), ("session.py", include_str!("session.py"))]
        {
            sandbox.executable(name, text);
        }
        let secret = "[[auth]]\nscheme = \"digest\"\ncredentials = \"operator:hunter2\"\n";
        for (file, text) in [
            (sandbox.configs().join("twitcher.toml"), secret),
            (sandbox.root().join("credential"), "hunter2"),
        ] {
            fs::write(&file, text).expect("write a secret");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("guard it");
        }
        let victim =
            format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", sandbox.path("victim").display());
        sandbox.nodes.set("/victim", "secret");
        sandbox.config("app.twc", watch("/victim", &exec(&victim), r#"uid: "daemon""#));
        // The daemon creates the state directory, with the right mode.
        fs::remove_dir(sandbox.state()).expect("remove the state directory");
        let daemon = sandbox
            .daemon_logging_elsewhere()
            .arg("--log-file")
            .arg(sandbox.root().join("log"))
            .arg("--pid-file")
            .arg(sandbox.root().join("pid"))
            .under([PYTHON, sandbox.path("session.py").to_str().expect("temporary paths are UTF-8")])
            .under([sandbox.path("terminal").to_str().expect("temporary paths are UTF-8"), KEY])
            .start();
        wait_until("the victim", || sandbox.has("victim"));
        Self { sandbox, _daemon: daemon }
    }

    /// Runs the attacks as an action with this identity, and returns their outcomes.
    #[track_caller]
    fn attacked_by(&self, name: &str, identity: &str) -> Outcomes {
        let sandbox = &self.sandbox;
        let home = sandbox.root();
        let places = json!({
            "victim": sandbox.read_text("victim").trim().parse::<i32>().expect("a number"),
            "settings": sandbox.configs().join("twitcher.toml"),
            "config": sandbox.configs().join("app.twc"),
            "config_dir": sandbox.configs(),
            "credential": home.join("credential"),
            "pid_file": home.join("pid"),
            "log_file": home.join("log"),
            "state_dir": sandbox.state(),
            "ledger": sandbox.state().join("ledger.db"),
            "socket": sandbox.control_socket(),
            "terminal": sandbox.read_text("terminal"),
            "key": KEY,
        });
        fs::write(sandbox.path("places"), places.to_string()).expect("write it down");
        let file = |name: &str| sandbox.path(name).display().to_string();
        let words = [PYTHON.to_owned(), file("attack.py"), file("places"), file(name)];
        sandbox.nodes.set(&format!("/{name}"), "");
        sandbox.config(
            &format!("{name}.twc"),
            watch(&format!("/{name}"), &format!("Exec({words:?})"), identity),
        );
        let log = || fs::read_to_string(home.join("log")).expect("read the log");
        let given_up = || log().matches("endless.twc:1:6: the config did not end").count();
        let mut next = given_up();
        wait_for(&format!("the report of {name}"), || {
            // Each evaluation and its child end after two seconds.
            if given_up() >= next {
                next += 1;
                sandbox.config("endless.twc", format!("loop {{}} // {name} {next}"));
            }
            fs::read_to_string(sandbox.path(name)).ok()
        })
        .parse::<serde_json::Value>()
        .and_then(serde_json::from_value)
        .expect("a report")
    }
}

/// An attempt that fails for every user, because each action has a session of its own without a terminal.
const HOPELESS: &str = "use the terminal of its own session";

// "What an action can do: not signal the daemon, read its secrets or write its state; tested from inside an
// action running as another user."
#[test]
fn an_action_of_another_user_can_do_nothing_to_the_daemon_and_to_actions_of_others() {
    let scene = Scene::new();
    let of_root = scene.attacked_by("root", "");
    // Otherwise the attempts themselves would be wrong.
    let failed = of_root.iter().filter(|(_, outcome)| *outcome != "done");
    // A container's root may lack the capability to change the limits of others.
    let failed: Vec<_> = failed.filter(|(name, _)| !name.ends_with(": change limits")).collect();
    assert_eq!(failed, [(&HOPELESS.to_owned(), &"ENXIO".to_owned())], "root can do all of it");
    let of_nobody = scene.attacked_by("nobody", r#"uid: "nobody""#);
    assert!(of_nobody.len() == of_root.len() && of_nobody.len() > 80, "{of_nobody:?}");
    let refusal = |name: &str| match name {
        HOPELESS => "ENXIO",
        // The key is in no keyring that the action can search.
        "find the daemon's key" => "ENOKEY",
        _ => "EPERM or EACCES",
    };
    let wrong: Vec<_> =
        of_nobody.iter().filter(|(name, outcome)| !refusal(name).contains(outcome.as_str())).collect();
    assert!(wrong.is_empty(), "nobody can do some of it: {wrong:?}");
}

// "One bad thing stays one bad thing. A hanging child ... hurts only its own watch": an action can stop every
// process of its user, also a child of the daemon that is about to execute another action and that the daemon
// waits for.
#[test]
fn an_action_that_stops_all_processes_of_its_user_delays_no_other_user() {
    require_root();
    let sandbox = Sandbox::directory();
    // With another user the action would also stop the actions of other tests.
    let user = format!("uid: {STRANGER:?}");
    let endless =
        "import os, signal\nwhile True:\n  try: os.kill(-1, signal.SIGSTOP)\n  except OSError: pass\n";
    let stops = format!("Exec([{PYTHON:?}, \"-c\", {endless:?}])");
    let others = sandbox.journal_named("others");
    for node in ["/stops", "/stopped", "/others"] {
        sandbox.nodes.set(node, "0");
    }
    sandbox.config("stops.twc", watch("/stops", &stops, &user));
    sandbox.config(
        "app.twc",
        [
            watch(
                "/stopped",
                r#"Exec(["sleep", "0"])"#,
                &format!("run_mode: PARALLEL, max_parallel: 1000, {user}"),
            ),
            watch("/others", &exec(&others.record()), ""),
        ]
        .concat(),
    );
    let daemon = sandbox.daemon_with_a_stranger().start();
    let mut value = 0;
    wait_until("some to be stopped before they execute", || {
        others.wait_for_last(&value.to_string());
        value += 1;
        sandbox.nodes.set("/stopped", value.to_string());
        sandbox.nodes.set("/others", value.to_string());
        daemon.log_lines(&["cannot start sleep: another process of its user stopped it"]).len() >= 3
    });
    others.wait_for_last(&value.to_string());
}

// "stdin: exactly the node's bytes": an action can write to the file that is its stdin, but each run has its
// own.
#[test]
fn what_an_action_writes_into_its_stdin_reaches_no_other_run() {
    require_root();
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    sandbox.nodes.set("/n", "content");
    let spoils =
        format!("printf spoiled 1<>/dev/stdin; {}; exit 1", journal.note("spoils $(cat /dev/stdin)"));
    let reads = format!("{}; {}", gate.pass(), journal.note("reads $(cat)"));
    let nobody = r#"uid: "nobody""#;
    sandbox.config(
        "app.twc",
        [
            watch(
                "/n",
                &exec(&format!("{}; {spoils}", journal.note("given $(head -c 7)"))),
                &format!("retry: #{{ attempts: 1, delay: 0.1 }}, {nobody}"),
            ),
            watch("/n", &exec(&reads), nobody),
        ]
        .concat(),
    );
    let _daemon = sandbox.start();
    wait_until("both tries", || journal.lines().len() == 4);
    gate.open();
    wait_until("the other", || journal.lines().len() == 5);
    assert_eq!(
        journal.lines(),
        ["given content", "spoils spoiled", "given content", "spoils spoiled", "reads content"]
    );
}

// A long content is one file in memory for all runs. Each has an offset of its own, and none can change it.
#[test]
fn what_an_action_does_to_a_long_stdin_concerns_no_other_run() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let content = "0123456789".repeat(10_000);
    sandbox.nodes.set("/n", &content);
    let action = format!(
        "head -c 70000 > /dev/null; (printf spoiled 1<>/dev/stdin; : > /dev/stdin; \
         truncate -s 9 /dev/stdin); {}; exit 1",
        journal.note("$(cat /dev/stdin | wc -c) $(wc -c) $(head -c 7 /dev/stdin)")
    );
    let options = |description| {
        format!(r#"uid: "nobody", description: "{description}", retry: #{{ attempts: 1, delay: 0.1 }}"#)
    };
    let watches = [watch("/n", &exec(&action), &options("a")), watch("/n", &exec(&action), &options("b"))];
    sandbox.config("app.twc", watches.concat());
    let _daemon = sandbox.start();
    wait_until("two tries each", || journal.lines().len() == 4);
    assert_eq!(journal.lines(), ["100000 30000 0123456"; 4]);
}
