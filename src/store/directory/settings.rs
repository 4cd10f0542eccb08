//! Where a directory is: `dir:PATH`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::backend::{Backend, Capabilities};

const SCHEME: &str = "dir:";

/// The directory that is the root of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryUrl {
    pub root: PathBuf,
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("store \"dir:\" names no directory; write dir:PATH")]
pub struct DirectoryUrlError;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DirectorySettings {
    pub url: DirectoryUrl,
    /// How long a command may take.
    pub session_timeout: Duration,
    /// How often every node is looked at without a hint that it changed.
    pub rescan_interval: Duration,
    /// Whether nothing may be written.
    pub readonly: bool,
}

impl DirectoryUrl {
    /// Parses a URL. Returns `None` if it has another scheme.
    pub(crate) fn parse(url: &str) -> Option<Result<Self, DirectoryUrlError>> {
        url.strip_prefix(SCHEME).map(|path| match path {
            "" => Err(DirectoryUrlError),
            path => Ok(Self { root: PathBuf::from(path) }),
        })
    }
}

impl fmt::Display for DirectoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.root.display())
    }
}

impl Backend for DirectorySettings {
    fn url(&self) -> &dyn fmt::Display {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable_versions: false,
            reserved_child: None,
            is_remote: false,
            has_acls: false,
            can_move: true,
            can_lack_root: false,
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.url.to_string())
    }

    fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    fn is_readonly(&self) -> bool {
        self.readonly
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        let parsed = DirectoryUrl::parse(url).expect("a dir: URL");
        parsed.map_or_else(|error| error.to_string(), |url| url.to_string())
    }

    #[test]
    fn a_url_is_given_back_and_an_error_names_the_remedy() {
        assert_eq!(shown("dir:/srv/nodes"), "dir:/srv/nodes");
        assert_eq!(shown("dir:nodes"), "dir:nodes");
        assert!(shown("dir:").contains("dir:PATH"));
    }
}
