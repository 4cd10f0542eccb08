//! Tests of the real evaluator and of the loader that follows a directory.

mod check;
mod evaluator;
mod functions;
mod loader;
mod mistakes;

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

/// A command that runs `program` without the environment of these tests, except PATH.
fn command(program: &str) -> Command {
    set_umask();
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Gives this process the usual umask, because trust depends on the modes of files.
fn set_umask() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        umask(Mode::from_bits_truncate(0o022));
    });
}
