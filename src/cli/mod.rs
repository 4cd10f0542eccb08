//! The command line. Each subcommand has a file or a folder of its name; `shared` is for several of them.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::sys;
use shared::definition;
use shared::exit::{Exit, WRONG_USAGE, exit_code, print_error};
use shared::stdout::print;

mod act;
mod check;
mod commits;
mod complete;
mod convert;
mod decode;
mod drain;
mod edit;
mod evaluate;
mod exchange;
mod export;
mod get;
mod history;
mod import;
mod keep;
mod kill;
mod logs;
mod ls;
mod pause;
mod poke;
mod properties;
mod register;
mod reload;
mod resume;
mod rm;
mod run;
mod serve;
mod services;
mod set;
mod shared;
mod status;
mod store;
mod tables;
mod tree;
mod trigger;
mod txn;
mod watch;

/// Watches nodes in ZooKeeper or etcd and runs something the moment one changes
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
Stores: zk://HOST:PORT,HOST:PORT/CHROOT, etcd://HOST:PORT,HOST:PORT/PREFIX, dir:PATH, or the name of a store \
in twitcher.toml.

Options of several commands, such as --store, --config-path and --control-socket, can be given before \
or after the command.

Environment: TWITCHER_STORE, TWITCHER_CONFIG_PATH and TWITCHER_CONTROL_SOCKET stand for --store, \
--config-path and --control-socket, TWITCHER_URL for --url of `commits`; TWITCHER_TOKEN is the token \
of `commits`; for `run`, ZKSERVERS stands for --zkservers. Flags win over the \
environment, and the environment over twitcher.toml in the config directory.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a condition (--if-version, --create, `if` of a transaction) \
did not hold, or `commits` found a conflict.";

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
    Convert(convert::Convert),
    Get(get::Get),
    Set(set::Set),
    Poke(poke::Poke),
    Ls(ls::Ls),
    Tree(tree::Tree),
    Txn(txn::Txn),
    Export(export::Export),
    Import(import::Import),
    Serve(serve::Serve),
    Commits(commits::Commits),
    Services(services::Services),
    Register(register::Register),
    Properties(properties::Properties),
    Tables(tables::Tables),
    Edit(edit::Edit),
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
    Decode(decode::Decode),
    #[command(hide = true)]
    Evaluate(evaluate::Evaluate),
    #[command(hide = true)]
    Store(store::Store),
    #[command(hide = true)]
    Act(act::Act),
    #[command(hide = true)]
    Drain(drain::Drain),
    #[command(hide = true)]
    Complete(complete::Complete),
    #[command(hide = true)]
    Exchange(exchange::Exchange),
    #[command(hide = true)]
    Keep(keep::Keep),
    #[command(hide = true)]
    ExchangeCommit(commits::exchange::ExchangeCommit),
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
    let arguments = flags_last(std::env::args_os().collect(), &command);
    let matches = command.try_get_matches_from_mut(arguments);
    let parsed = matches.and_then(|mut matches| {
        Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    parsed.map_err(|error| match error.kind() {
        ErrorKind::InvalidUtf8 => not_utf_8(&mut command),
        _ => without_hidden(error, &command),
    })
}

/// Moves the flags that come before a subcommand behind its name, where the parser wants them, and which
/// decides whether the subcommand has them: `--store X get /n` becomes `get --store X /n`.
fn flags_last(mut arguments: Vec<OsString>, command: &clap::Command) -> Vec<OsString> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at).and_then(|argument| argument.to_str()) {
        if let Some(found) = command.find_subcommand(argument) {
            // The flags are those of the last subcommand.
            let next = arguments.get(at + 1).and_then(|argument| argument.to_str());
            let words = 1 + usize::from(next.is_some_and(|next| found.find_subcommand(next).is_some()));
            arguments[1..at + words].rotate_right(words);
            break;
        }
        match takes_value(argument, command) {
            Some(takes_value) => at += 1 + usize::from(takes_value),
            None => break,
        }
    }
    arguments
}

/// Whether the next argument is the value of this flag; `None` if it is no flag of the daemon.
fn takes_value(argument: &str, command: &clap::Command) -> Option<bool> {
    let takes_value = |arg: &clap::Arg| arg.get_action().takes_values();
    let (name, has_value) = match argument.split_once('=') {
        Some((name, _)) => (name, true),
        None => (argument, false),
    };
    if let Some(long) = name.strip_prefix("--") {
        let is_it = |arg: &&clap::Arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
        };
        return command.get_arguments().find(is_it).map(|arg| takes_value(arg) && !has_value);
    }
    // The short flags have no values.
    let short = argument.strip_prefix('-').filter(|flags| !flags.is_empty())?;
    let is_known =
        |flag| command.get_arguments().any(|arg| arg.get_short() == Some(flag) && !takes_value(arg));
    short.chars().all(is_known).then_some(false)
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
    if let Command::Complete(_) = command {
        definition::keep(self::command());
    }
    // Other processes of this user must not see the secrets that will be read, and no core dump may have
    // them. A function action has nothing to hide: it knows no more than its user.
    if !matches!(command, Command::Act(_)) {
        let hidden = sys::make_undumpable();
        hidden.map_err(|error| format!("cannot hide this process from others of its user: {error}"))?;
    }
    command.run()
}
