//! Configs through the real evaluator: what scripts can do to it, and how the loader follows a directory.

mod check;
mod evaluator;
mod functions;
mod loader;

use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};

const TWITCHER: &str = env!("CARGO_BIN_EXE_twitcher");

/// Only a test that fails waits this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// The text of a config with one watch.
fn watch(znode: &str) -> String {
    format!("RegisterWatch(#{{znode: \"{znode}\", action: Exec(\"true\")}});\n")
}

/// The program, with nothing of the environment that these tests happen to be run in.
fn command(program: &str) -> Command {
    settle();
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Gives this process the usual umask: whom root trusts depends on the modes of files.
fn settle() {
    static SETTLED: Once = Once::new();
    SETTLED.call_once(|| {
        umask(Mode::from_bits_truncate(0o022));
    });
}
