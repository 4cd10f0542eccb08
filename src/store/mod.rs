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
//! * [`backend`] is what each kind provides. Each kind is one folder: [`zookeeper`], [`etcd`].
//! * [`tree`] assembles whole trees, and the members of services, for backends that know single nodes only;
//!   [`said`] is what the latter say of themselves.
//! * [`keeper`] holds members of services, and [`member`] decides how.
//! * [`servers`] are those in a URL, [`tls`] are the certificates of a connection, [`diagnosis`] explains why
//!   TLS fails, and [`login_source`] says who reads what it takes to log in.
//! * [`root_check`] looks whether the node that is the root of a URL exists.
//! * [`memory`] says what fits into the memory of such a process.
//! * [`acl`], [`condition`] and [`transaction`] are arguments and results of the commands.
//! * [`bulk`] has the arguments and results of exports and imports.
//! * [`change`] has the arguments and results of what looks at and changes many nodes.
//! * [`election`] elects a leader among those who ask for it, each with the seat of its [`leadership`].
//! * [`retry`] tries a command again while its store is away, and [`contention`] counts the tries that others
//!   thwart.
//! * [`web_tls`] is TLS with a server of commits, which is no store.
//! * [`pace`] says when a server is tried again, and [`outage`] why a store is away, once.
//! * [`backoff`], [`client_error`], [`removal`] and [`secret`] are used by all of them.

mod acl;
mod backend;
mod backoff;
mod bulk;
mod catalogue;
mod change;
mod channel;
mod client;
mod client_error;
mod condition;
mod contention;
mod diagnosis;
mod directory;
mod election;
mod encoding;
mod etcd;
mod half;
mod keeper;
mod leadership;
mod login_source;
mod member;
mod memory;
mod message;
mod outage;
mod pace;
pub mod pem;
mod question;
mod removal;
mod retry;
mod root_check;
mod said;
mod secret;
mod servers;
mod service;
mod settings;
mod tls;
mod transaction;
mod tree;
mod url;
mod web_tls;
mod zookeeper;

pub use acl::Acl;
pub use backend::{Capabilities, SettingError};
pub use bulk::{Emptied, Entry, Fate, Parents, Visit, Visited, Walked};
pub use catalogue::Catalogue;
pub use change::{Change, Changed, See, Seen};
pub use channel::StoreChannel;
#[cfg(test)]
pub(crate) use channel::StoreEnd;
pub use client::Client;
pub use client_error::ClientError;
pub use condition::{Condition, ReadNode, TreeNode, WriteOptions};
pub use contention::Contention;
pub use directory::{DirectorySettings, DirectoryUrl};
pub use election::{Election, Leadership};
pub use encoding::MAX_TREE_NODES;
pub use etcd::{EtcdConversation, EtcdLogin, EtcdSettings, EtcdUrl, EtcdUser};
pub use half::{
    AtEnd, HalfOptions, KeeperLink, KeeperProcess, STORE_USER, become_client, become_commits_client,
    open as open_half, open_keeper, serve as serve_half, serve_keeper, store_user_is_missing,
    with_played_daemon, with_played_half, with_played_keeper, with_played_orders,
};
pub use member::{KeeperEvent, KeeperOrder, MAX_MEMBER_DATA, Member};
pub use message::{Exposure, HalfStarted, StoreCommand, StoreEvent};
pub use pace::Pace;
pub use removal::Removal;
pub use retry::Retry;
pub use secret::{CREDENTIALS_DIRECTORY, Credential, CredentialError, Secret, SecretFile};
pub use service::Service;
pub use settings::StoreSettings;
pub use tls::{ClientCertificate, Key, Tls, TlsTexts, can_be_certified};
pub use transaction::{Operation, OperationResult, Outcome, Test, Transaction, Wanted};
pub use url::{StoreUrl, StoreUrlError};
pub use web_tls::WebTls;
pub use zookeeper::{Auth, Conversation, Login, Sasl, ZooKeeperSettings, ZooKeeperUrl, check_encoding};
