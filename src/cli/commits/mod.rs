//! `twitcher commits`: versioned configuration, from the command line. Each subcommand has a file of its
//! name.
//!
//! * [`server`] has the arguments that say where the server is, and [`client`] speaks HTTP with it, over a
//!   [`stream`]; [`refusal`] words what goes wrong.
//! * [`api`] is what can be asked: Rainer's interface, and the two addresses that are ours.
//! * [`saving`] makes the next version of a key, and explains a conflict; [`author`] says by whom, and why.
//! * [`exchange`] is the part of `edit` that connects, and [`keys`] what completions of shells ask for.
//! * [`rows`] shows headers of commits as tables and JSON.

mod api;
mod author;
mod client;
mod diff;
mod edit;
pub mod exchange;
pub mod keys;
mod list;
mod log;
mod publish;
mod refusal;
mod remove;
mod revert;
mod rows;
mod save;
mod saving;
mod server;
mod show;
mod stream;

use clap::Subcommand;

use super::shared::exit::Exit;

/// Read and save versioned configuration on a server (`twitcher serve`)
///
/// A commit is one version of a key's payload, with an author and a comment; no version is ever lost. See
/// twitcher-commits(1).
#[derive(Debug, clap::Args)]
pub struct Commits {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Show(show::Show),
    Log(log::Log),
    Diff(diff::Diff),
    Save(save::Save),
    Edit(edit::Edit),
    Revert(revert::Revert),
    Remove(remove::Remove),
    Publish(publish::Publish),
}

impl Commits {
    pub fn run(self) -> Exit {
        match self.command {
            Command::List(command) => command.run(),
            Command::Show(command) => command.run(),
            Command::Log(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Save(command) => command.run(),
            Command::Edit(command) => command.run(),
            Command::Revert(command) => command.run(),
            Command::Remove(command) => command.run(),
            Command::Publish(command) => command.run(),
        }
    }
}
