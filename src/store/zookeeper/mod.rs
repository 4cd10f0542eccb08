//! ZooKeeper as a store.
//!
//! * [`url`] and [`settings`] are what people give, and [`secrets`] is it for one connection.
//! * [`wire`] reads and writes the protocol's bytes, and [`protocol`] keeps its rules. A [`session`] is the
//!   protocol with a [`table`] of all nodes that are followed on it. None of them does any IO.
//! * [`connect`] makes connections, by a [`handshake`] (with [`sasl`]) on a [`link`].
//! * [`follow`] follows nodes on one disposable session after another, and [`audit`] finds the nodes that
//!   everybody can change. [`chroot`] looks whether the root exists.
//! * [`keep`] keeps members, by [`requests`] on a session of their own.
//! * [`elect`] stands for a leadership, on a session of its own as well.
//! * [`client`] are the commands, with their requests in an [`exchange`].

mod audit;
mod chroot;
mod client;
mod connect;
mod conversation;
mod elect;
mod exchange;
mod follow;
mod handshake;
mod keep;
mod link;
mod protocol;
mod requests;
mod sasl;
mod secrets;
mod session;
mod settings;
mod stamp;
mod table;
mod url;
mod window;
mod wire;

pub(super) use client::ZooKeeperClient;
#[doc(hidden)]
pub use conversation::Conversation;
pub(super) use elect::elect;
pub(super) use follow::start;
pub(super) use keep::keep;
pub use settings::{Auth, Login, Sasl, ZooKeeperSettings, check_encoding};
pub use url::{ZooKeeperUrl, ZooKeeperUrlError};
