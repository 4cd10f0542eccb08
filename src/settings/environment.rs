//! Reads environment variables, and makes paths absolute.

use std::ffi::OsString;
use std::path::PathBuf;

const CONFIG_PATH: &str = "/etc/twitcher";

/// Returns the value of an environment variable. An empty variable counts as unset.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the absolute config directory: the flag, else `TWITCHER_CONFIG_PATH`, else `/etc/twitcher`.
pub fn config_path(flag: Option<PathBuf>) -> PathBuf {
    let path = flag.or_else(|| variable("TWITCHER_CONFIG_PATH").map(PathBuf::from));
    absolute(path.unwrap_or_else(|| CONFIG_PATH.into()))
}

/// Makes `path` absolute, because the daemon leaves its working directory.
pub fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
