//! The store that command-line flags and environment variables select.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::environment::variable;
use super::error::SettingsError;
use crate::model::StoreName;
use crate::store::{StoreUrl, StoreUrlError};

/// The value of `--store`. A URL begins with a scheme, a name does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    Url(StoreUrl),
    /// The name of a store in `twitcher.toml`.
    Name(StoreName),
}

impl FromStr for StoreChoice {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        match (text.parse(), StoreName::parse(text)) {
            (Ok(url), _) => Ok(Self::Url(url)),
            (Err(_), Ok(name)) => Ok(Self::Name(name)),
            (Err(error), Err(_)) => Err(error),
        }
    }
}

impl fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The flags of every command that talks to a store; `None` if a flag is not given.
#[derive(Clone, Debug, Default)]
pub struct StoreFlags {
    pub store: Option<StoreChoice>,
    pub session_timeout: Option<Duration>,
}

/// The flag or environment variable that selects a store, and the store.
pub(super) type ChosenStore = (&'static str, StoreChoice);

impl StoreFlags {
    /// Returns the store from the flag. Without the flag, returns the store from `TWITCHER_STORE`.
    pub(super) fn choice(&self) -> Result<Option<ChosenStore>, SettingsError> {
        match &self.store {
            Some(flag) => Ok(Some(("--store", flag.clone()))),
            None => from_variable("TWITCHER_STORE", str::parse),
        }
    }

    /// Returns the store from the flag, else from `TWITCHER_STORE`, else from `ZKSERVERS`, which the Python
    /// original had in `/etc/default/twitcher`. Client commands ignore `ZKSERVERS`. A shell may set it for
    /// another program, and a client command must not go to that program's servers.
    pub(super) fn daemon_choice(&self) -> Result<Option<ChosenStore>, SettingsError> {
        match self.choice()? {
            None => from_variable("ZKSERVERS", |text| StoreUrl::from_servers(text).map(StoreChoice::Url)),
            choice => Ok(choice),
        }
    }
}

fn from_variable(
    name: &'static str,
    parse: impl Fn(&str) -> Result<StoreChoice, StoreUrlError>,
) -> Result<Option<ChosenStore>, SettingsError> {
    let Some(value) = variable(name) else { return Ok(None) };
    let wrong = |reason| SettingsError::Value { origin: name.to_owned(), reason };
    // With U+FFFD in place of the bytes, it would be another store.
    let text = value.to_str().ok_or_else(|| wrong(format!("{value:?} is not UTF-8")))?;
    parse(text).map(|choice| Some((name, choice))).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_and_no_name_gets_the_hint_of_a_url() {
        for wrong in ["/srv/nodes", "localhost:2181", "a.b", "~/nodes", ""] {
            let error = wrong.parse::<StoreChoice>().unwrap_err().to_string();
            assert!(
                error.contains(
                    "has no scheme; write zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX or dir:PATH"
                ),
                "{error}"
            );
        }
    }
}
