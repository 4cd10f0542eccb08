//! The arguments of commands that talk to a store, and the connection.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::configs::ConfigArgs;
use super::exit::{Exit, print_error};
use super::runtime::block_on;
use crate::model::NodePath;
use crate::settings::{StoreChoice, StoreFlags, client_store, positive_seconds};
use crate::store::{Client, ClientError, StoreSettings, StoreUrl, become_client};
use crate::text::hidden_character;

/// The store of the nodes.
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// Where the nodes are: zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX, dir:PATH, or the name of
    /// a store in twitcher.toml [default: zk://localhost:2181]
    #[arg(long, value_name = "URL|NAME", conflicts_with = "zkservers")]
    store: Option<StoreChoice>,
    /// ZooKeeper servers; the same as --store zk://HOST:PORT,...
    #[arg(long, value_name = "HOST:PORT,...", value_parser = StoreUrl::from_servers)]
    zkservers: Option<StoreUrl>,
    /// Session timeout to ask ZooKeeper for, and how long any store may take to reply [default: 10]
    #[arg(long, value_name = "SECONDS", alias = "session_timeout", value_parser = positive_seconds)]
    session_timeout: Option<Duration>,
}

/// A store, and where the settings are that tell of it.
#[derive(Debug, clap::Args)]
pub struct StoreConnection {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    configs: ConfigArgs,
}

/// A node of a store.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    connection: StoreConnection,
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

impl StoreConnection {
    /// Returns the flags as words of a command line.
    pub fn flags(&self) -> Vec<OsString> {
        let StoreArgs { store, zkservers, session_timeout } = &self.store;
        let store = store.clone().or_else(|| zkservers.clone().map(StoreChoice::Url));
        let flags = [
            ("--store", store.map(|store| store.to_string().into())),
            ("--session-timeout", session_timeout.map(|time| time.as_secs_f64().to_string().into())),
            ("--config-path", self.configs.path().map(OsString::from)),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?]));
        given.flatten().collect()
    }

    /// Returns the settings of the store. Warns if its URL, or the node if there is one, is not what it looks
    /// like. Root's process is root no more after that, if the store is talked to over a network.
    pub fn settings(&self, node: Option<&NodePath>) -> Result<StoreSettings, Box<dyn Error>> {
        Ok(become_client(self.settings_with_warnings(node)?)?)
    }

    /// Returns the settings of the store for another process, which talks to it. This one stays who it is.
    pub fn settings_of_another(&self) -> Result<StoreSettings, Box<dyn Error>> {
        self.settings_with_warnings(None)
    }

    fn settings_with_warnings(&self, node: Option<&NodePath>) -> Result<StoreSettings, Box<dyn Error>> {
        let settings = client_store(&self.store.flags(), self.configs.path())?;
        let names = [("store", Some(settings.to_string())), ("node", node.map(NodePath::to_string))];
        for (what, name) in names.into_iter().filter_map(|(what, name)| Some((what, name?))) {
            if let Some(hidden) = hidden_character(&name) {
                print_error(format_args!("warning: {what} {name}: {hidden}"));
            }
        }
        Ok(settings)
    }

    /// Connects to the store, runs `command` and returns its result. The store must reply to each request
    /// within the session timeout; the command itself may take longer.
    pub fn with_client<T>(
        &self,
        command: impl AsyncFnOnce(&Client) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        with_client(&self.settings(None)?, command)
    }
}

/// Connects to the store of these settings, and runs `command` as [`StoreConnection`] does.
pub fn with_client<T>(
    settings: &StoreSettings,
    command: impl AsyncFnOnce(&Client) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    block_on(async {
        let client = Client::connect(settings).await?;
        let done = command(&client).await;
        client.close().await;
        done
    })?
}

impl NodeArgs {
    /// Returns the flags as words of a command line.
    pub fn flags(&self) -> Vec<OsString> {
        self.connection.flags()
    }

    /// Returns the settings of the store, as [`StoreConnection`] does.
    pub fn store_settings(&self) -> Result<StoreSettings, Box<dyn Error>> {
        self.connection.settings(Some(&self.node))
    }

    /// Returns an error if the store is read-only by its settings.
    pub fn require_writable(&self) -> Result<(), Box<dyn Error>> {
        let StoreConnection { store, configs } = &self.connection;
        let settings = client_store(&store.flags(), configs.path())?;
        match settings.is_readonly() {
            true => Err(ClientError::ReadOnly { store: settings.to_string() }.into()),
            false => Ok(()),
        }
    }

    /// Returns the same settings, while root's process stays root, and the directory of `twitcher.toml`.
    pub fn settings_as_root(&self) -> Result<(StoreSettings, Option<PathBuf>), Box<dyn Error>> {
        let settings = self.connection.settings_with_warnings(Some(&self.node))?;
        Ok((settings, self.connection.configs.path()))
    }

    /// Connects to the store, and runs `command` as [`StoreConnection`] does.
    pub fn with_client<T>(
        &self,
        command: impl AsyncFnOnce(&Client, &NodePath) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        self.with_client_of(&self.store_settings()?, command)
    }

    /// Does the same with settings that [`Self::store_settings`] returned.
    pub fn with_client_of<T>(
        &self,
        settings: &StoreSettings,
        command: impl AsyncFnOnce(&Client, &NodePath) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        with_client(settings, async |client| command(client, &self.node).await)
    }

    /// Runs a command that has no result.
    pub fn perform(&self, command: impl AsyncFnOnce(&Client, &NodePath) -> Result<(), ClientError>) -> Exit {
        self.with_client(async |client, node| Ok(command(client, node).await?))?;
        Ok(ExitCode::SUCCESS)
    }
}
