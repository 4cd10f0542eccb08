//! Reads environment variables, and makes paths absolute.

use std::ffi::OsString;
use std::path::PathBuf;

const CONFIG_PATH: &str = "/etc/twitcher";

const CONFIG_PATH_VARIABLE: &str = "TWITCHER_CONFIG_PATH";

/// Returns the value of an environment variable. An empty variable counts as unset.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the absolute config directory: the flag, else `TWITCHER_CONFIG_PATH`, else `/etc/twitcher`.
pub fn config_path(flag: Option<PathBuf>) -> PathBuf {
    let path = flag.or_else(|| variable(CONFIG_PATH_VARIABLE).map(PathBuf::from));
    absolute(path.unwrap_or_else(|| CONFIG_PATH.into()))
}

/// Whether `TWITCHER_CONFIG_PATH` names the config directory.
pub(super) fn names_config_path() -> bool {
    variable(CONFIG_PATH_VARIABLE).is_some()
}

/// Makes `path` absolute, because the daemon leaves its working directory.
pub fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
