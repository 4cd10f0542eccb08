//! A second ZooKeeper client, kazoo, which shares no code with the program under test.

use std::path::{Path, PathBuf};

use super::command::command;

/// Runs a Python script and returns what it printed. The script finds `zk`, a kazoo client connected to the
/// servers with this address, and `retry`, which calls a function again while the connection is lost. Panics
/// if the script fails.
#[track_caller]
pub fn kazoo(address: &str, script: &str) -> String {
    // This client reconnects sooner than the daemon, so that it writes while nobody watches.
    let frame = "import sys\nfrom kazoo.client import KazooClient\nfrom kazoo.retry import KazooRetry\n\
                 from kazoo.security import *\n\
                 soon = dict(max_tries=-1, delay=0.02, backoff=1)\n\
                 retry = KazooRetry(deadline=60, **soon)\n\
                 zk = KazooClient(hosts=sys.argv[1], timeout=4, connection_retry=soon)\n\
                 zk.start(timeout=30)\n";
    run(&[&format!("{frame}{script}\nzk.stop()\n"), address])
}

/// Runs a Python script and returns what it printed. Panics if it fails.
#[track_caller]
pub fn python(script: &str) -> String {
    run(&[script])
}

#[track_caller]
fn run(script_and_arguments: &[&str]) -> String {
    let python = interpreter();
    assert!(python.exists(), "this test needs kazoo: {}", install_command(&python));
    let output = command(&python).arg("-c").args(script_and_arguments).output().expect("start python");
    assert!(output.status.success(), "python: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The Python into which `tests/run` installs kazoo.
pub fn interpreter() -> PathBuf {
    match std::env::var_os("TWITCHER_TEST_PYTHON") {
        Some(python) => python.into(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kazoo").join("bin/python3"),
    }
}

fn install_command(python: &Path) -> String {
    let environment = python.ancestors().nth(2).unwrap_or(Path::new("target/kazoo")).display();
    format!("python3 -m venv {environment} && {environment}/bin/pip install kazoo nd_service_registry==1.1.0")
}
