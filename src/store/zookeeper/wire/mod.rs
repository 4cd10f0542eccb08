//! The bytes of ZooKeeper's protocol, as servers of 3.4 to 3.9 speak it.
//!
//! Nothing here does IO, and nothing trusts what the server says: a length or a count is compared with the
//! bytes that are there before any memory is taken for it, and what does not decode exactly is an error.
//!
//! * [`frames`] cuts the stream of bytes into messages.
//! * [`reader`] reads the parts of one message, [`reply`] whole replies and events, [`several`] the
//!   reply about several nodes, and [`stat`] what a server knows of a node.
//! * [`request`] writes requests, [`operation`] numbers their operations, and [`code`] are the error codes of
//!   the server.

mod code;
mod frames;
mod operation;
mod reader;
mod reply;
mod request;
mod several;
mod stat;

pub(super) use code::ErrorCode;
pub(super) use frames::{Frame, Frames};
pub(super) use reader::Malformed;
pub(super) use reply::{
    AUTH_XID, Event, EventKind, Expected, Greeting, NOTIFICATION_XID, PING_XID, PartResult, Reply,
    ReplyHeader,
};
pub(super) use request::{Part, Request, SessionKey, write_auth, write_hello, write_ping};
pub(super) use stat::Stat;
