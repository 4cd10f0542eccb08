//! The keys of commits.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The longest key, in bytes: what Rainer's table takes.
const MAX_BYTES: usize = 255;

/// The key of a value: the name of its node, one part of an address, and a column of at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// Why a text is no key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("a key has at least one character")]
    Empty,
    #[error("the key has {0} bytes; {MAX_BYTES} is the most")]
    Long(usize),
    #[error("the key {0:?} has a slash; it is the name of one node, and no path")]
    Slash(String),
    #[error("the key {0:?} names no node")]
    Dots(String),
    #[error("the key {0:?} has a control character")]
    Control(String),
}

impl Key {
    pub fn parse(key: &str) -> Result<Self, KeyError> {
        match key {
            "" => Err(KeyError::Empty),
            _ if key.len() > MAX_BYTES => Err(KeyError::Long(key.len())),
            "." | ".." => Err(KeyError::Dots(key.to_owned())),
            _ if key.contains('/') => Err(KeyError::Slash(key.to_owned())),
            _ if key.chars().any(char::is_control) => Err(KeyError::Control(key.to_owned())),
            _ => Ok(Self(key.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key compares and hashes like its text.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_name_of_one_node() {
        for key in ["foo", "a.b", "...", "-", "meta", "1", "ключ", "with space", &"x".repeat(255)] {
            assert_eq!(Key::parse(key).map(|key| key.to_string()).as_deref(), Ok(key));
        }
        let wrong = |key: &str| Key::parse(key).expect_err(key).to_string();
        assert_eq!(wrong(""), "a key has at least one character");
        assert_eq!(wrong(&"x".repeat(300)), "the key has 300 bytes; 255 is the most");
        assert_eq!(wrong(&"ж".repeat(128)), "the key has 256 bytes; 255 is the most");
        assert_eq!(wrong("a/b"), "the key \"a/b\" has a slash; it is the name of one node, and no path");
        for key in [".", ".."] {
            assert_eq!(wrong(key), format!("the key {key:?} names no node"));
        }
        for key in ["a\nb", "\0", "\u{7f}", "a\u{85}"] {
            assert_eq!(wrong(key), format!("the key {key:?} has a control character"));
        }
    }
}
