//! The arguments of commands that talk to a store, and the connection.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use super::exit::{Exit, print_error};
use super::runtime::block_on;
use crate::model::NodePath;
use crate::settings::{StoreChoice, StoreFlags, client_store, positive_seconds};
use crate::store::{Client, ClientError, StoreSettings, StoreUrl, become_client};
use crate::text::hidden_character;

/// The store of the nodes.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Where the nodes are: zk://HOST:PORT,.../CHROOT, dir:PATH, or the name of a store in twitcher.toml
    /// [default: zk://localhost:2181]
    #[arg(long, value_name = "URL|NAME", conflicts_with = "zkservers")]
    store: Option<StoreChoice>,
    /// ZooKeeper servers; the same as --store zk://HOST:PORT,...
    #[arg(long, value_name = "HOST:PORT,...", value_parser = StoreUrl::from_servers)]
    zkservers: Option<StoreUrl>,
    /// Session timeout to ask ZooKeeper for, and how long a client command waits for a reply [default: 10]
    #[arg(long, value_name = "SECONDS", alias = "session_timeout", value_parser = positive_seconds)]
    session_timeout: Option<Duration>,
}

/// A node of a store.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Absolute path, such as /git/head
    #[arg(value_parser = NodePath::parse)]
    pub node: NodePath,
}

impl StoreArgs {
    pub fn flags(&self) -> StoreFlags {
        let store = self.store.clone().or_else(|| self.zkservers.clone().map(StoreChoice::Url));
        StoreFlags { store, session_timeout: self.session_timeout }
    }
}

impl NodeArgs {
    /// Returns the settings of the store. Warns if its URL or the node is not what it looks like. Root's
    /// process is root no more after that, if the store is talked to over a network.
    pub fn store_settings(&self) -> Result<StoreSettings, Box<dyn Error>> {
        let settings = client_store(&self.store.flags())?;
        for (what, name) in [("store", settings.to_string()), ("node", self.node.to_string())] {
            if let Some(hidden) = hidden_character(&name) {
                print_error(format_args!("warning: {what} {name}: {hidden}"));
            }
        }
        Ok(become_client(settings)?)
    }

    /// Connects to the store, runs `command` and returns its result. The store must reply to each request
    /// within the session timeout; the command itself may take longer.
    pub fn with_client<T>(
        &self,
        command: impl AsyncFnOnce(&Client, &NodePath) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        let settings = self.store_settings()?;
        block_on(async {
            let client = Client::connect(&settings).await?;
            let done = command(&client, &self.node).await;
            client.close().await;
            done
        })?
    }

    /// Runs a command that has no result.
    pub fn perform(&self, command: impl AsyncFnOnce(&Client, &NodePath) -> Result<(), ClientError>) -> Exit {
        self.with_client(async |client, node| Ok(command(client, node).await?))?;
        Ok(ExitCode::SUCCESS)
    }
}
