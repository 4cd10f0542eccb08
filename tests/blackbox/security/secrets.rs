//! Places that the secrets of `twitcher.toml` must not reach.

use std::fs::{self, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::control::get;
use crate::harness::{Process, Sandbox, exec, require_root, wait_for, wait_until, watch};

const SECRET: &str = "hunter2-of-the-settings";

/// Variables of the process that starts the daemon: one that systemd sets, and one of a careless
/// administrator.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("CREDENTIALS_DIRECTORY", "/run/credentials/twitcher.service"),
    ("ZK_PASSWORD", "hunter2-of-the-environment"),
];

/// Whether the process has the secret in its memory. `None` if the process is gone.
fn knows(process: Process) -> Option<bool> {
    let proc = Path::new("/proc").join(process.0.to_string());
    let maps = fs::read_to_string(proc.join("maps")).ok().filter(|maps| !maps.is_empty())?;
    let mut memory = fs::File::open(proc.join("mem")).ok()?;
    let mut holds = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).expect("an address"));
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start)).ok()?;
        // Some parts cannot be read, such as the guard pages of stacks.
        let _ = (&mut memory).take(end - start).read_to_end(&mut bytes);
        Some(bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()))
    };
    Some(maps.lines().filter(|line| line.contains(" rw-p ")).any(|line| holds(line) == Some(true)))
}

/// The contents of all files in a directory.
fn contents(directory: &Path) -> Vec<u8> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.flat_map(|entry| fs::read(entry.expect("an entry").path()).unwrap_or_default()).collect()
}

// "Secrets (from `twitcher.toml` ...) never reach children, logs, status, core dumps or command lines."
#[test]
fn a_secret_of_the_settings_reaches_no_child_no_log_no_operator_no_file_and_no_command_line() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    let settings = sandbox.configs().join("twitcher.toml");
    let text = format!(
        "[metrics]\nlisten = \"127.0.0.1:0\"\n\
         [[auth]]\nscheme = \"digest\"\ncredentials = \"operator:{SECRET}\"\n"
    );
    fs::write(&settings, text).expect("write the settings");
    fs::set_permissions(&settings, Permissions::from_mode(0o600)).expect("guard them");
    sandbox.nodes.set("/n", "1");
    let file = |name: &str| sandbox.path(name).display().to_string();
    let dump = "cat /proc/$$/environ /proc/$$/cmdline; ls -l /proc/$$/fd";
    let command = exec(&format!("{{ {dump}; }} > {}; {}", file("command"), journal.note("command")));
    let function = format!(
        "|event| {{ \
             let looked = run([\"sh\", \"-c\", \"cat /proc/$PPID/environ /proc/$PPID/cmdline; env\"]); \
             write_file({:?}, looked.stdout); run([\"sh\", \"-c\", {:?}]); 1 }}",
        file("function"),
        journal.note("function"),
    );
    let stays = exec(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file("stays")));
    sandbox.config(
        "app.twc",
        [
            watch("/n", &command, r#"uid: "nobody""#),
            watch("/n", &function, ""),
            watch("/n", &stays, r#"uid: "nobody""#),
        ]
        .concat(),
    );
    let daemon =
        ENVIRONMENT.iter().fold(sandbox.daemon().arg("-d"), |daemon, (name, value)| daemon.env(name, value));
    let daemon = daemon.start();
    journal.wait_for_line("command");
    journal.wait_for_line("function");
    wait_until("the one that stays", || sandbox.has("stays"));
    let stays = Process::parse(&sandbox.read_text("stays"));
    wait_until("its program", || {
        fs::read(format!("/proc/{}/cmdline", stays.0)).is_ok_and(|words| words.starts_with(b"sleep"))
    });
    sandbox.config("endless.twc", "loop {}");
    let (words, environment, evaluator_knows) = wait_for("the evaluator", || {
        daemon.process().children().into_iter().find_map(|child| {
            let read = |file| fs::read(format!("/proc/{}/{file}", child.0)).ok();
            let words = read("cmdline")?;
            (words == b"twitcher\0evaluate\0").then(|| Some((words, read("environ")?, knows(child)?)))?
        })
    });
    assert_eq!(
        (evaluator_knows, knows(stays)),
        (false, Some(false)),
        "whether a child has the secret in its memory"
    );
    assert_eq!(
        knows(daemon.process()),
        Some(true),
        "the daemon must have the secret, or the test shows nothing"
    );
    daemon.wait_for_log(&["endless.twc", "did not end"]);

    let socket = sandbox.control_socket();
    let mut places: Vec<(String, Vec<u8>)> = vec![
        ("the evaluator's command line".into(), words),
        ("the evaluator's environment".into(), environment),
        ("the log".into(), daemon.log().concat().into()),
        (
            "the daemon's command line".into(),
            fs::read(format!("/proc/{}/cmdline", daemon.process().0)).expect("it"),
        ),
        ("the ledger".into(), contents(&sandbox.state())),
        (
            "what `check` says".into(),
            sandbox.twitcher(["check", "--explain"]).arg(sandbox.configs()).finish().stdout,
        ),
    ];
    for name in ["command", "function"] {
        places.push((format!("the {name}'s environment and command line"), sandbox.read(name)));
    }
    for path in ["/v1/status", "/v1/watches", "/v1/history", "/metrics"] {
        places.push((path.into(), get(&socket, path).body));
    }
    for (place, text) in places {
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.is_empty() || place.contains("environment"), "{place} is empty");
        for secret in ["hunter2", "CREDENTIALS_DIRECTORY", "/run/credentials"] {
            assert!(!text.contains(secret), "{place}: {text}");
        }
    }
}
