//! `--cached`: asks the daemon of this host for what it saw last.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::cli::shared::exit::print_error;
use crate::cli::shared::runtime::block_on;
use crate::cli::shared::store::NodeArgs;
use crate::cli::shared::table::duration;
use crate::control::client::{self, CachedData};
use crate::model::NodePath;
use crate::settings::{client_socket, seconds};
use crate::store::{ClientError, StoreSettings, become_client};
use crate::text::Timestamp;

#[derive(Debug, clap::Args)]
pub struct CacheArgs {
    /// Ask the daemon of this host for the last data that it saw, also while the store is away. The store is
    /// read if the daemon does not follow the node's data, or there is no daemon. If the data may be
    /// outdated, stderr says for how long
    #[arg(long)]
    cached: bool,
    /// Fail if the daemon last knew the data to be current longer ago than this
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "cached", alias = "max_age")]
    max_age: Option<Duration>,
    /// Control socket of the daemon, for --cached [default: /run/twitcher/control.sock]
    #[arg(long, value_name = "PATH", requires = "cached", alias = "control_socket")]
    control_socket: Option<PathBuf>,
}

/// Where the data is.
pub enum Found {
    InCache {
        version: i64,
        data: Vec<u8>,
        /// Until when this is known to have been current. `None` if it is.
        current_until: Option<String>,
    },
    /// It is to be read from this store. Root's process is root no more, if that is reached over a network.
    InStore(StoreSettings),
}

impl CacheArgs {
    /// Finds a node's data in the cache, if that is asked for.
    pub fn find(&self, node: &NodeArgs) -> Result<Found, Box<dyn Error>> {
        if !self.cached {
            return Ok(Found::InStore(node.store_settings()?));
        }
        // The control socket may be root's alone.
        let (settings, configs) = node.settings_as_root()?;
        let socket = client_socket(self.control_socket.clone(), configs)?;
        let store = settings.to_string();
        let found = block_on(client::cached(&socket, &store, node.node.as_str()))?;
        let settings = become_client(settings)?;
        match found {
            Ok(Some(found)) => self.take(&node.node, &store, found),
            Ok(None) => Ok(Found::InStore(settings)),
            Err(error) => {
                print_error(format_args!("twitcher: no cached data, so {store} is read: {error}"));
                Ok(Found::InStore(settings))
            }
        }
    }

    fn take(&self, node: &NodePath, store: &str, found: CachedData) -> Result<Found, Box<dyn Error>> {
        let CachedData { data, current_until } = found;
        if let Some(until) = current_until {
            let age = SystemTime::now().duration_since(until).unwrap_or_default();
            let known = format!("was last known to be current {}", ago(age, until));
            if let Some(max) = self.max_age.filter(|max| age > *max) {
                let max = max.as_secs_f64();
                return Err(
                    format!("what the daemon saw of node {node} {known}; --max-age is {max} s").into()
                );
            }
            print_error(format_args!("twitcher: node {node} is from the daemon's cache, and {known}"));
        }
        let Some((version, data)) = data else {
            let (node, store) = (node.clone(), store.to_owned());
            return Err(ClientError::Missing { node, store, remedy: ClientError::CREATE }.into());
        };
        let current_until = current_until.map(|time| Timestamp(time).to_string());
        Ok(Found::InCache { version, data: data.to_vec(), current_until })
    }

    /// Says why a store was asked that did not reply.
    pub fn explain(&self, error: Box<dyn Error>) -> Box<dyn Error> {
        if self.cached && !matches!(error.downcast_ref(), Some(ClientError::Missing { .. })) {
            print_error("twitcher: the daemon has no cached data of this node, so the store was asked");
        }
        error
    }
}

/// Returns how long ago a time was, and the time.
fn ago(age: Duration, time: SystemTime) -> String {
    format!("{} ago ({})", duration(age.as_secs_f64()), Timestamp(time).to_the_second())
}
