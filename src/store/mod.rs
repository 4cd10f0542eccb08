//! Stores: where nodes are kept, and how the daemon and the commands reach them.
//!
//! A store is level-triggered: for each [`Subject`](crate::model::Subject) that the daemon follows, it
//! reports the latest [`State`](crate::model::State). Its one guarantee: **at rest, the last state reported
//! is the true one**. It may report a state twice (after a reconnect it reads everything again), so that the
//! daemon compares versions. It may skip states that were replaced before it could read them.
//!
//! * [`url`] and [`settings`] are the enums over all kinds of stores, [`client`] is what the commands do with
//!   one. Nothing else asks which kind a store is.
//! * [`channel`] connects the daemon and a store by [`message`]s.
//! * [`encoding`] is how an event passes to another process.
//! * [`half`] runs a store in a process of its own, which has none of the daemon's rights; [`question`] is
//!   what such a store asks of the daemon.
//! * [`backend`] is what each kind provides. Each kind is one folder: [`zookeeper`] and [`directory`].
//! * [`tree`] assembles whole trees for backends that know single nodes only.
//! * [`backoff`], [`client_error`], [`removal`] and [`secret`] are used by all of them.

mod backend;
mod backoff;
mod channel;
mod client;
mod client_error;
mod directory;
mod encoding;
mod half;
mod message;
mod question;
mod removal;
mod secret;
mod settings;
mod tree;
mod url;
mod zookeeper;

pub use backend::{Capabilities, SettingError};
pub use channel::StoreChannel;
#[cfg(test)]
pub(crate) use channel::StoreEnd;
pub use client::Client;
pub use client_error::ClientError;
pub use directory::{DirectorySettings, DirectoryUrl};
pub use encoding::MAX_TREE_NODES;
pub use half::{
    HalfOptions, STORE_USER, become_client, open as open_half, serve as serve_half, store_user_is_missing,
};
pub use message::{Exposure, HalfStarted, StoreCommand, StoreEvent};
pub use removal::Removal;
pub use secret::{CREDENTIALS_DIRECTORY, Credential, CredentialError, Secret, SecretFile};
pub use settings::StoreSettings;
pub use url::{StoreUrl, StoreUrlError};
pub use zookeeper::{
    Auth, ClientCertificate, Conversation, Key, Login, Sasl, Tls, TlsTexts, ZooKeeperSettings, ZooKeeperUrl,
    can_be_certified, check_encoding,
};
