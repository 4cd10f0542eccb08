//! Where a store is, and what it takes to get in.

use std::path::PathBuf;
use std::time::Duration;

use super::{Secret, Tls};
use crate::model::NodePath;

/// Where the nodes are. `Display` gives the URL back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `zk://host:port,host:port/chroot`; the port defaults to 2181. The chroot is `/` where none is given.
    ZooKeeper { servers: Vec<String>, chroot: NodePath },
    /// `dir:PATH`
    Directory(PathBuf),
}

/// Credentials given to ZooKeeper (`addauth`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub scheme: String,
    pub credentials: Secret,
}

/// Who logs in to ZooKeeper by SASL's DIGEST-MD5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    pub username: String,
    pub password: Secret,
}

#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    /// Of ZooKeeper, as the next two.
    pub auth: Vec<Auth>,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    /// Asked of the server, which may grant another.
    pub session_timeout: Duration,
}
