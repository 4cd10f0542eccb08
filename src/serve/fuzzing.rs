//! The server on connections in memory, with journals of somebody else: for fuzzers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::access::Access;
use super::memory::Memory;
use super::namespace::Namespace;
use super::server::{Server, serve_connection};
use crate::commits::{Database, Journal};
use crate::settings::{Listen, ServeSettings, UserSettings};

/// A server that nobody can connect to.
pub struct FuzzedServer(Arc<Server>);

impl FuzzedServer {
    /// Makes a server of these namespaces, which are published nowhere, for these users. It has the names
    /// `hosts` beside its address.
    pub fn new(
        journals: Vec<(&str, Arc<dyn Journal>)>,
        users: Vec<UserSettings>,
        hosts: &[&str],
    ) -> Result<Self, String> {
        let settings = ServeSettings {
            listen: Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            database: Database::Sqlite("/nonexistent".into()),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            tls: None,
            namespaces: BTreeMap::new(),
            users,
        };
        let namespace = |(name, journal): (&str, Arc<dyn Journal>)| {
            let (name, counts) = (name.to_owned(), Arc::default());
            (name.clone(), Namespace { name, journal, validator: None, publication: None, counts })
        };
        let namespaces = journals.into_iter().map(namespace).collect();
        let access = Access::new(&settings).map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(Server { namespaces, access, memory: Memory::default(), is_secure: false })))
    }

    /// Begins a session. Returns its cookie, or `None` if no user has this token.
    pub fn log_in(&self, token: &str) -> Option<String> {
        let set = self.0.access.log_in(token, false)?;
        set.split(';').next().map(str::to_owned)
    }

    /// Answers the one request of a connection.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        serve_connection(Arc::clone(&self.0), stream, Arc::default(), Arc::default()).await;
    }
}
