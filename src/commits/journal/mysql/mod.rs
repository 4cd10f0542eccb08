//! The journal in MySQL and MariaDB, in the layout of Rainer's table, so that one that Rainer has written can
//! be served as it is, also beside Rainer.
//!
//! * [`session`] is a connection and what the journal does with it, and [`row`] makes a row a commit.
//! * [`wire`] is the protocol: a login and statements as texts. [`packet`] reads and writes the parts of its
//!   packets, [`login`] proves who we are, and [`literal`] puts arguments into a statement.
//!
//! The driver that is kept up best, mysql_async, brings in some 50 crates: a web address parser,
//! compression and two generations of ciphers. Its source panics over some answers of a server, which ends
//! this program, and it takes no configuration of rustls, so that a revoked certificate would pass. This
//! journal asks ten questions, so the protocol is spoken here, without prepared statements and compression.

mod literal;
mod login;
mod packet;
mod row;
mod session;
mod wire;

pub(super) use session::MySqlSession;
