//! Helpers for text. This room uses no other room of the crate.

mod characters;
mod count;
mod decode;
mod escaped_json;
mod glob;
mod hash;
mod host;
mod merge;
mod percent;
mod printable;
mod quoted;
mod shortened;
mod span;
mod suggest;
mod timestamp;

pub use characters::{hidden_character, hidden_characters, unexpected};
pub use count::count;
pub use decode::{TextError, decode, position};
pub use escaped_json::escaped_json;
pub use glob::{is_glob, matches_glob};
pub use hash::StableHash;
pub use host::is_this_machine;
pub use merge::{Merged, has_markers, merge};
pub use percent::{percent_decoded, percent_encoded};
pub use printable::{is_hidden, is_invisible, printable};
pub use quoted::quoted;
pub use shortened::{beginning, shortened, within_bytes};
pub use span::parse_span;
pub use suggest::{did_you_mean, suggest};
pub(crate) use timestamp::TIMESTAMP_FORMAT;
pub use timestamp::Timestamp;
