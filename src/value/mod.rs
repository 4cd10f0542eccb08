//! What the contents of nodes mean: turns bytes into [`Value`]s, and values into bytes.
//!
//! This room is pure. Only what runs without root uses it: the child that decodes for the daemon, the process
//! of a function action, and the clients.
//!
//! * [`json`], [`cbor`], [`properties`] and [`commit`] read one format each. A [`Fault`] says what is wrong,
//!   and where.
//! * [`content`] decodes a content as a config says.
//! * [`member`] writes the data of members, and [`template`] what a config knows of it.
//! * [`object`] reads the objects that are the data of members, and properties.
//! * [`plain`] is the form in which commands read a value that JSON cannot express.
//! * [`schema`] checks a value against a JSON Schema.
//!
//! Nothing here trusts its input: nesting is limited ([`MAX_DEPTH`]), no length is believed before its bytes
//! are there, and two equal keys of one map are a fault, because readers differ in which of the two they
//! take.

pub mod cbor;
pub mod commit;
pub mod content;
mod fault;
pub mod json;
mod keys;
pub mod member;
pub mod object;
pub mod plain;
pub mod properties;
pub mod schema;
pub mod template;

pub use fault::{Fault, Place};

/// How deep arrays and maps may be nested. JSON readers commonly stop at 128.
pub const MAX_DEPTH: usize = 127;

/// A decoded value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// CBOR has integers from -2^64 to 2^64 - 1. Larger ones are byte strings with the tags 2 and 3.
    Int(i128),
    /// Never a NaN or an infinity.
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// A map whose keys are text, in the order of the input. No key is there twice.
    Map(Vec<(String, Value)>),
    /// A map of CBOR with at least one key that is no text, in the order of the input.
    Pairs(Vec<(Value, Value)>),
    /// A value of CBOR with a tag.
    Tagged(u64, Box<Value>),
    /// A simple value of CBOR without a meaning of its own. 23 is `undefined`.
    Simple(u8),
}
