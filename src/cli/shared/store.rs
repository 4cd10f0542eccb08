//! The arguments of commands that talk to a store, and the connection.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use super::exit::Exit;
use super::runtime::block_on;
use crate::model::NodePath;
use crate::settings::{StoreChoice, StoreFlags, client_store, positive_seconds};
use crate::store::{Client, StoreUrl};

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
    /// Session timeout to ask ZooKeeper for, and time limit of a client command [default: 10]
    #[arg(long, value_name = "SECONDS", alias = "session_timeout", value_parser = positive_seconds)]
    session_timeout: Option<Duration>,
}

/// A node of a store.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    pub store: StoreArgs,
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
    /// Connects to the store and runs `command`. All of it must end within the session timeout.
    pub fn with_client(
        &self,
        command: impl AsyncFnOnce(&Client, &NodePath) -> Result<(), Box<dyn Error>>,
    ) -> Exit {
        let settings = client_store(&self.store.flags())?;
        let run = async {
            let client = Client::connect(&settings).await?;
            let done = command(&client, &self.node).await;
            client.close().await;
            done
        };
        let timeout = settings.session_timeout();
        match block_on(async { tokio::time::timeout(timeout, run).await })? {
            Ok(done) => done.map(|()| ExitCode::SUCCESS),
            Err(_) => Err(format!("{settings}: no answer within {} s", timeout.as_secs_f64()).into()),
        }
    }
}
