//! The subcommands. One that does little is here; the others each have a file or a folder of their name.

use std::error::Error;

use clap::Subcommand;

use super::act::Act;
use super::check::Check;
use super::evaluate::Evaluate;
use super::history::History;
use super::logs::Logs;
use super::run::Run;
use super::set::Set;
use super::shared::control::{ControlArgs, WatchArgs};
use super::shared::exit::Exit;
use super::shared::stdout::print_bytes;
use super::shared::store::NodeArgs;
use super::status::Status;
use super::watch::Watch;
use crate::model::{NodePath, WatchCommand};
use crate::store::Client;

/// The doc comments of the variants, and of the types in them, are the help.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(Run),
    Check(Check),
    /// Write a node's bytes to stdout
    Get(NodeArgs),
    Set(Set),
    /// Rewrite a node's data unchanged, so that watches fire
    Poke(NodeArgs),
    /// List the names of a node's children, sorted, one per line
    Ls(NodeArgs),
    /// Delete a node
    Rm {
        #[command(flatten)]
        node: NodeArgs,
        /// Delete everything below the node, too
        #[arg(long)]
        recursive: bool,
    },
    Watch(Watch),
    Status(Status),
    /// Run a watch's action now with the node's present content, even if a failure has stopped the watch
    Trigger {
        /// Run it even with content that a guard holds (`max_data`, `guard`), if the node still has that
        /// content
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Start no new runs of a watch until it is resumed, even after a restart; a running action continues
    Pause(WatchArgs),
    /// End the pause of a watch; if an update came meanwhile, its action runs at once
    Resume(WatchArgs),
    /// Kill the running actions of a watch as a timeout does: SIGTERM to each process group, SIGKILL 5 s
    /// later
    Kill(WatchArgs),
    /// Make the daemon read its configs again, wait for it, and exit 1 if one cannot be loaded
    Reload(ControlArgs),
    History(History),
    Logs(Logs),
    #[command(hide = true)]
    Evaluate(Evaluate),
    #[command(hide = true)]
    Act(Act),
}

impl Command {
    pub fn run(self) -> Exit {
        match self {
            Self::Run(run) => run.run(),
            Self::Check(check) => check.run(),
            Self::Get(node) => {
                node.with_client(async |client, node| Ok(print_bytes(&client.get(node).await?)?))
            }
            Self::Set(set) => set.run(),
            Self::Poke(node) => node.with_client(async |client, node| Ok(client.poke(node).await?)),
            Self::Ls(node) => node.with_client(list),
            Self::Rm { node, recursive } => {
                node.with_client(async |client, node| Ok(client.rm(node, recursive).await?))
            }
            Self::Watch(watch) => watch.run(),
            Self::Status(status) => status.run(),
            Self::Trigger { force, watch } => watch.post(WatchCommand::Trigger { force }),
            Self::Pause(watch) => watch.post(WatchCommand::Pause),
            Self::Resume(watch) => watch.post(WatchCommand::Resume),
            Self::Kill(watch) => watch.post(WatchCommand::Kill),
            Self::Reload(control) => control.post("reload", &[]),
            Self::History(history) => history.run(),
            Self::Logs(logs) => logs.run(),
            Self::Evaluate(evaluate) => evaluate.run(),
            Self::Act(act) => act.run(),
        }
    }
}

async fn list(client: &Client, node: &NodePath) -> Result<(), Box<dyn Error>> {
    let names: String = client.ls(node).await?.into_iter().flat_map(|name| [name, "\n".into()]).collect();
    Ok(print_bytes(names.as_bytes())?)
}
