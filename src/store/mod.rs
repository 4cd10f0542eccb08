//! Stores are level-triggered: per [`Subject`], a store gives the stream of its latest [`State`].
//!
//! The one guarantee: **at rest, the last state given is the true one**. A store may give the same state
//! twice (after a reconnect it re-reads everything); whoever listens compares versions. It may skip
//! states that were replaced before it could read them.

mod backoff;
mod capabilities;
mod channel;
mod client;
mod directory;
mod message;
mod observation;
mod secret;
mod settings;
mod tree;
mod url;
mod zookeeper;

pub use capabilities::Capabilities;
pub use channel::StoreChannel;
pub use client::{Client, ClientError};
pub use message::{Exposure, StoreCommand, StoreEvent};
pub use secret::{CREDENTIALS_DIRECTORY, Credential, CredentialError, Secret};
pub use settings::{Auth, Sasl, StoreSettings, StoreUrl};
pub use tree::MAX_TREE_NODES;
pub use url::StoreUrlError;
pub use zookeeper::tls::{ClientCertificate, Key, Tls, TlsFileError, can_be_certified};
