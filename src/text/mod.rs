//! Helpers for text. This room uses no other room of the crate.

mod characters;
mod count;
mod decode;
mod hash;
mod printable;
mod quoted;
mod suggest;
mod timestamp;

pub use characters::{hidden_character, hidden_characters, unexpected};
pub use count::count;
pub use decode::{decode, position};
pub use hash::StableHash;
pub use printable::{is_invisible, printable};
pub use quoted::quoted;
pub use suggest::suggest;
pub(crate) use timestamp::TIMESTAMP_FORMAT;
pub use timestamp::Timestamp;
