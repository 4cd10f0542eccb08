//! What is wrong with a content, and where.

use std::fmt;

use crate::text::position;

/// The first thing that is wrong with a content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Fault {
    pub place: Place,
    pub what: String,
}

/// A place in a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Both count from 1, and columns are characters.
    Text { line: usize, column: usize },
    /// Counts from 0.
    Byte(usize),
    /// A JSON pointer into the value. Empty for the whole value.
    Pointer(String),
}

impl Fault {
    pub(super) fn at_byte(place: usize, what: impl Into<String>) -> Self {
        Self { place: Place::Byte(place), what: what.into() }
    }

    /// A fault in the character that follows the text `before`.
    pub(super) fn after(before: &str, what: impl Into<String>) -> Self {
        let (line, column) = position(before);
        Self { place: Place::Text { line, column }, what: what.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, column } => write!(f, "line {line}, column {column}"),
            Self::Byte(offset) => write!(f, "byte {offset}"),
            Self::Pointer(pointer) if pointer.is_empty() => f.write_str("the whole value"),
            Self::Pointer(pointer) => f.write_str(pointer),
        }
    }
}
