//! The command line. Each subcommand has a file or a folder of its name; `shared` is for several of them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::sys;
use shared::exit::{Exit, WRONG_USAGE, exit_code, print_error};
use shared::stdout::print;

mod act;
mod check;
mod drain;
mod evaluate;
mod get;
mod history;
mod kill;
mod logs;
mod ls;
mod pause;
mod poke;
mod reload;
mod resume;
mod rm;
mod run;
mod set;
mod shared;
mod status;
mod store;
mod trigger;
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

/// Declares the subcommands. The type of a subcommand has its arguments as fields, its help as doc comments,
/// and a method `run` that does the work.
macro_rules! subcommands {
    ($($(#[$attribute:meta])* $name:ident($type:ty),)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($type),)*
        }

        impl Command {
            fn run(self) -> Exit {
                match self {
                    $(Self::$name(command) => command.run(),)*
                }
            }
        }
    };
}

subcommands! {
    Run(run::Run),
    Check(check::Check),
    Get(get::Get),
    Set(set::Set),
    Poke(poke::Poke),
    Ls(ls::Ls),
    Rm(rm::Rm),
    Watch(watch::Watch),
    Status(status::Status),
    Trigger(trigger::Trigger),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Kill(kill::Kill),
    Reload(reload::Reload),
    History(history::History),
    Logs(logs::Logs),
    #[command(hide = true)]
    Evaluate(evaluate::Evaluate),
    #[command(hide = true)]
    Store(store::Store),
    #[command(hide = true)]
    Act(act::Act),
    #[command(hide = true)]
    Drain(drain::Drain),
}

/// The definition of the command line, from which the manual page and the completions are generated.
pub fn command() -> clap::Command {
    command_of("twitcher")
}

/// The same for a binary of another name.
fn command_of(program: &str) -> clap::Command {
    Cli::command().mut_subcommands(|command| match command.get_name() {
        "set" => command.override_usage(set::usage(program)),
        _ => command,
    })
}

fn parse() -> Result<Cli, clap::Error> {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().and_then(OsStr::to_str).unwrap_or("twitcher");
    let mut command = command_of(name);
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = matches.and_then(|mut matches| {
        Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    parsed.map_err(|error| match error.kind() {
        ErrorKind::InvalidUtf8 => not_utf_8(&mut command),
        _ => without_hidden(error, &command),
    })
}

/// The parser's own error does not name the argument.
fn not_utf_8(command: &mut clap::Command) -> clap::Error {
    let wrong = std::env::args_os().skip(1).filter(|argument| argument.to_str().is_none());
    let wrong: Vec<_> = wrong.map(|argument| format!("{argument:?}")).collect();
    let what = "only paths of files and the DATA of `set` can be other bytes";
    command.error(ErrorKind::InvalidUtf8, format!("not UTF-8: {}; {what}", wrong.join(", ")))
}

/// Takes out of an error what it suggests of the commands that are not for users.
fn without_hidden(mut error: clap::Error, command: &clap::Command) -> clap::Error {
    let kind = ContextKind::SuggestedSubcommand;
    let Some(ContextValue::Strings(mut names)) = error.remove(kind) else { return error };
    names.retain(|name| !command.find_subcommand(name).is_some_and(clap::Command::is_hide_set));
    if !names.is_empty() {
        error.insert(kind, ContextValue::Strings(names));
    }
    error
}

/// Parses the command line, runs the subcommand, and returns the exit code.
pub fn main() -> ExitCode {
    exit_code(run())
}

fn run() -> Exit {
    let Cli { command, run } = match parse() {
        Ok(parsed) => parsed,
        // `Display` leaves out the colours, also those of what the message quotes.
        Err(error) if error.use_stderr() => {
            print_error(error.render());
            return Ok(WRONG_USAGE.into());
        }
        // Help or the version was asked for.
        Err(text) => {
            print(&text.render().ansi().to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let command = command.unwrap_or(Command::Run(run));
    // Other processes of this user must not see the secrets that will be read, and no core dump may have
    // them. A function action has nothing to hide: it knows no more than its user.
    if !matches!(command, Command::Act(_)) {
        let hidden = sys::make_undumpable();
        hidden.map_err(|error| format!("cannot hide this process from others of its user: {error}"))?;
    }
    command.run()
}
