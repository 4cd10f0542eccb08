//! Helpers for text. This room uses no other room of the crate.

mod count;
mod hash;
mod printable;
mod quoted;
mod suggest;
mod timestamp;

pub use count::count;
pub use hash::StableHash;
pub use printable::printable;
pub use quoted::quoted;
pub use suggest::suggest;
pub(crate) use timestamp::TIMESTAMP_FORMAT;
pub use timestamp::Timestamp;
