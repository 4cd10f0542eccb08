//! The arguments of commands that talk to the daemon over its control socket, and the conversation.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hyper::Method;

use super::configs::ConfigArgs;
use super::exit::Exit;
use super::runtime::block_on;
use super::stdout::{line, print};
use crate::control::CommandResult;
use crate::control::client;
use crate::model::WatchCommand;
use crate::settings::client_socket;

/// The daemon to talk to.
#[derive(Debug, clap::Args)]
pub struct ControlArgs {
    /// Control socket of the daemon [default: /run/twitcher/control.sock]
    #[arg(long, value_name = "PATH", alias = "control_socket")]
    control_socket: Option<PathBuf>,
    #[command(flatten)]
    configs: ConfigArgs,
}

/// The watch that a command is for.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Name of the watch in the log, or its description
    watch: String,
    #[command(flatten)]
    control: ControlArgs,
}

impl ControlArgs {
    /// Runs `command` with the path of the control socket.
    pub fn with_daemon(&self, command: impl AsyncFnOnce(&Path) -> Exit) -> Exit {
        let socket = client_socket(self.control_socket.clone(), self.configs.path())?;
        block_on(command(&socket))?
    }

    /// Directory of `twitcher.toml`, if it is given.
    pub fn config_path(&self) -> Option<PathBuf> {
        self.configs.path()
    }

    /// Posts to a resource of the daemon, and prints what the daemon has done.
    pub fn post(&self, resource: &str, query: &[(&str, &str)]) -> Exit {
        self.with_daemon(async |socket| {
            let reply = client::ask(socket, Method::POST, resource, query).await?;
            let CommandResult { watch, done } = client::object(socket, &reply)?;
            let watch = watch.map_or(String::new(), |watch| format!("{watch}: "));
            print(&line(&format!("{watch}{done}")))?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl WatchArgs {
    pub fn post(&self, command: WatchCommand) -> Exit {
        let mut query = vec![("watch", self.watch.as_str())];
        if command == (WatchCommand::Trigger { force: true }) {
            query.push(("force", "true"));
        }
        self.control.post(command.as_str(), &query)
    }
}
