//! The command line. `command` lists the subcommands, and `shared` holds what several of them use.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::sys;
use command::Command;
use shared::exit::{Exit, exit_code};

mod act;
mod check;
mod command;
mod evaluate;
mod history;
mod logs;
mod run;
mod set;
mod shared;
mod status;
mod watch;

/// Watches nodes in ZooKeeper and runs something the moment one changes
///
/// Without a command, twitcher runs the daemon and takes the options of `run`.
#[derive(Debug, Parser)]
#[command(
    name = "twitcher",
    version,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Run,
}

const AFTER_HELP: &str = "\
Stores: zk://HOST:PORT,HOST:PORT/CHROOT, dir:PATH, or the name of a store in twitcher.toml.

Environment: TWITCHER_STORE, TWITCHER_CONFIG_PATH and TWITCHER_CONTROL_SOCKET stand for --store, \
--config-path and --control-socket; for `run`, ZKSERVERS stands for --zkservers. Flags win over the \
environment, and the environment over twitcher.toml in the config directory.

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Returns the definition of the command line, for the generator of the manual page and the completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the subcommand, and returns the exit code.
pub fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Exit {
    let Cli { command, run } = Cli::parse();
    let command = command.unwrap_or(Command::Run(run));
    // Hide the secrets that will be read from other processes of this user, and keep them out of core dumps.
    // A function action has nothing to hide: it knows no more than its user.
    if !matches!(command, Command::Act(_)) {
        let hidden = sys::make_undumpable();
        hidden.map_err(|error| format!("cannot hide this process from others of its user: {error}"))?;
    }
    command.run()
}
