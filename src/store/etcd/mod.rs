//! etcd as a store.
//!
//! * [`url`] and [`settings`] are what people give, and [`keys`] says which keys a node has,
//!   with the binary ones of each [`row`] of a table.
//! * [`wire`] reads and writes the protocol's bytes. A [`table`] has all subjects that are [`followed`], with
//!   their [`reads`] and [`watches`], and what is [`known`] of each, and [`comparisons`] with what the server
//!   has: the [`names`] of children, the [`members`] of a service, the nodes of a [`branch`], and the
//!   [`version`]s of them. [`order`]
//!   judges replies. None of these does any IO.
//! * [`connect`] makes connections, each a [`link`], and [`ended`] says why one ends.
//! * [`follow`] follows subjects on one connection after another; its [`heartbeat`] asks a silent member
//!   whether it is there, and [`root`] looks whether there is a node at all.
//! * [`keep`] keeps members alive by a [`lease`], with [`member_writes`] and [`member_watches`];
//!   [`keep_over`] says why that ends. [`elect`] stands for a leadership, with a lease of its own.
//! * [`client`] are the commands. A [`conversation`] is a connection without a network, for fuzzers.

mod branch;
mod client;
mod comparisons;
mod connect;
mod conversation;
mod elect;
mod ended;
mod follow;
mod followed;
mod heartbeat;
mod keep;
mod keep_over;
mod keys;
mod known;
mod lease;
mod link;
mod member_watches;
mod member_writes;
mod members;
mod names;
mod order;
mod reads;
mod root;
mod row;
mod settings;
mod table;
mod url;
mod version;
mod watches;
mod wire;

pub(super) use client::EtcdClient;
pub use conversation::EtcdConversation;
pub(super) use elect::elect;
pub(super) use follow::start;
pub(super) use keep::keep;
pub use row::RowError;
pub(super) use row::{is_without_data, mistake};
pub use settings::{EtcdLogin, EtcdSettings, EtcdUser};
pub use url::{EtcdUrl, EtcdUrlError};
