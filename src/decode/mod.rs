//! Has the content of a node decoded, by a child without rights: `twitcher decode`.
//!
//! Whoever can write a node decides what is decoded. So each content gets a child of its own, which has an id
//! that no other process has, little memory and time, and no system calls but those that reading, computing
//! and writing take. It reads a [`request::DecodeRequest`] and the content from one file in memory, writes a
//! [`request::DecodeReply`] to a pipe, and what it makes of the content to another file in memory. This
//! process never looks at either content. [`ask`] asks the child.

pub mod ask;
pub mod request;
