//! A foreign client: kazoo, which shares no code with the program under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a Python script with a connected kazoo client `zk` in its scope. Panics if it fails.
#[track_caller]
pub fn kazoo(address: &str, script: &str) {
    let frame = "import sys\nfrom kazoo.client import KazooClient\nfrom kazoo.security import *\n\
                 zk = KazooClient(hosts=sys.argv[1], timeout=4)\nzk.start(timeout=30)\n";
    run(&[&format!("{frame}{script}\nzk.stop()\n"), address]);
}

/// Runs a Python script. Panics if it fails.
#[track_caller]
pub fn python(script: &str) {
    run(&[script]);
}

#[track_caller]
fn run(script_and_arguments: &[&str]) {
    let python = interpreter();
    assert!(python.exists(), "this test needs kazoo: {}", install_command(&python));
    let output = Command::new(&python).arg("-c").args(script_and_arguments).output().expect("start python");
    assert!(output.status.success(), "python: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where `tests/run` installs it.
fn interpreter() -> PathBuf {
    match std::env::var_os("TWITCHER_TEST_PYTHON") {
        Some(python) => python.into(),
        None => Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kazoo").join("bin/python3"),
    }
}

fn install_command(python: &Path) -> String {
    let environment = python.ancestors().nth(2).unwrap_or(Path::new("target/kazoo")).display();
    format!("python3 -m venv {environment} && {environment}/bin/pip install kazoo")
}
