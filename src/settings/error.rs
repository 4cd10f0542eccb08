//! The errors of settings.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::trust::Untrusted;

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A client command does not know where it should go.
    #[error("{}: {source}; {remedy}", .path.display())]
    Needed { path: PathBuf, source: io::Error, remedy: &'static str },
    #[error("{}: {}", .path.display(), .source.reason_at(.path))]
    Untrusted { path: PathBuf, source: Untrusted },
    /// `origin` is a key of the file, a position in it, or an environment variable.
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
    /// `origin` is the flag or the environment variable.
    #[error(
        "{origin}: unknown store {name:?}; add [stores.{name}] to {}, or give a URL, \
         zk://HOST:PORT,.../CHROOT or dir:PATH{near}",
        .file.display()
    )]
    UnknownStore { origin: &'static str, name: String, file: PathBuf, near: String },
}
