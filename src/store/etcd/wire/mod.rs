//! The bytes of etcd's protocol, which is gRPC: [`messages`] in Protocol Buffers, each in a [`frame`], and at
//! the end of a reply a [`status`].

pub(super) mod elements;
pub(super) mod frame;
pub(super) mod messages;
pub(super) mod status;
