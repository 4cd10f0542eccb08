//! ZooKeeper as a store.
//!
//! * [`url`], [`settings`] and [`tls`] are what people give.
//! * [`follow`] follows nodes on one disposable [`session`] after another, with a task per [`node`].
//! * [`audit`] and [`acl`] find the nodes that everybody can change.
//! * [`chroot`] looks whether the root exists.
//! * [`login`] says who reads the secrets and certificates.
//! * [`connect`] makes connections, [`diagnosis`] finds out why TLS fails.
//! * [`client`] are the commands.

mod acl;
mod audit;
mod chroot;
mod client;
mod connect;
mod diagnosis;
mod follow;
mod login;
mod node;
mod session;
mod settings;
mod tls;
mod url;

pub(super) use client::ZooKeeperClient;
pub(super) use follow::start;
pub(super) use login::LoginSource;
pub use settings::{Auth, Login, Sasl, ZooKeeperSettings, check_encoding};
pub use tls::{ClientCertificate, Key, Tls, TlsTexts, can_be_certified};
pub use url::{ZooKeeperUrl, ZooKeeperUrlError};
