//! txaio-etcd, the Python library that keeps typed tables in etcd.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command::command;

/// Runs the body of an asynchronous Python function and returns what it printed. It finds `etcd`, the
/// library; `db`, a database at the server with this address; `U` and `V`, two UUIDs; and `tw`, which runs a
/// command of the program under test there and returns its stdout. Panics if it fails.
#[track_caller]
pub fn txaioetcd(address: &str, body: &str) -> String {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("txaioetcd").join("bin/python3");
    assert!(python.exists(), "this test needs txaioetcd: run tests/run");
    let library = patched(&python);
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let script = format!(
        "import json, subprocess, sys, uuid, warnings, zlib\n\
         warnings.simplefilter('ignore')\n\
         import cbor2, txaioetcd as etcd\n\
         from twisted.internet import defer, task\n\
         U = uuid.UUID('6e2c37fa-2f43-4d9c-9a10-0123456789ab')\n\
         V = uuid.UUID('00000000-0000-4000-8000-0000000000ff')\n\
         def tw(*args, stdin=b''):\n    \
             command = [sys.argv[2], args[0], '--store', 'etcd://' + sys.argv[1], *args[1:]]\n    \
             return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout\n\
         async def main(reactor):\n    \
             db = etcd.Database(etcd.Client(reactor, 'http://' + sys.argv[1]))\n\
         {body}\n\
         task.react(lambda reactor: defer.ensureDeferred(main(reactor)))\n"
    );
    let mut python = command(&python);
    let python = python.env("PYTHONPATH", library.path()).arg("-c").arg(script);
    let output = python.arg(address).arg(env!("CARGO_BIN_EXE_twitcher")).output().expect("start python");
    assert!(output.status.success(), "python: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Copies the library, and has the copy speak to the API that etcd 3.4 and later have.
fn patched(python: &Path) -> TempDir {
    let find = "import os, txaioetcd; print(os.path.dirname(txaioetcd.__file__))";
    let found = command(python).args(["-W", "ignore", "-c", find]).output().expect("start python");
    let from = PathBuf::from(String::from_utf8(found.stdout).expect("a path").trim());
    let copy = tempfile::tempdir().expect("create a directory");
    let to = copy.path().join("txaioetcd");
    fs::create_dir(&to).expect("create a directory");
    for entry in fs::read_dir(from).expect("the library") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "py") {
            let text = fs::read_to_string(&path).expect("Python").replace("v3alpha", "v3");
            fs::write(to.join(path.file_name().expect("a name")), text).expect("write the copy");
        }
    }
    copy
}
