//! The names of stores.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The name of a store in `twitcher.toml`: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName(Arc<str>);

/// The stores that configs may name.
pub type StoreNames = BTreeSet<StoreName>;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is no name of a store; a name has letters, digits, - and _")]
pub struct StoreNameError(String);

impl StoreName {
    /// The store of a watch that does not name one.
    pub const DEFAULT: &str = "default";

    pub fn parse(name: &str) -> Result<Self, StoreNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match !name.is_empty() && name.bytes().all(allowed) {
            true => Ok(Self(name.into())),
            false => Err(StoreNameError(name.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }
}

impl Default for StoreName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for StoreName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_and_no_url_or_path() {
        for good in ["eu", "EU-west_2", "default", "7"] {
            assert_eq!(StoreName::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "e u", "zk://eu", "dir:x", "/srv", "a/b", "eu.west", "\u{fc}"] {
            assert_eq!(StoreName::parse(bad), Err(StoreNameError(bad.into())));
        }
    }
}
