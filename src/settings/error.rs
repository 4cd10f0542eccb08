//! The errors of settings.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::trust::Untrusted;

#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{}: {source}{}", .path.display(), remedy_of_link(.path))]
    Read { path: PathBuf, source: io::Error },
    /// A client command does not know where it should go.
    #[error("{}: {source}; so it is unknown which {what}; {remedy}, or {way_out}", .path.display())]
    Needed {
        path: PathBuf,
        source: io::Error,
        what: &'static str,
        remedy: &'static str,
        way_out: &'static str,
    },
    #[error("{}: {}", .path.display(), .source.reason_at(.path))]
    Untrusted { path: PathBuf, source: Untrusted },
    /// `origin` is a key of the file, a position in it, or an environment variable.
    #[error("{origin}: {reason}")]
    Value { origin: String, reason: String },
    /// `origin` is the flag or the environment variable.
    #[error(
        "{origin}: unknown store {name:?}; add [stores.{name}] to {}, or give a URL, \
         zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX or dir:PATH{near}",
        .file.display()
    )]
    UnknownStore { origin: &'static str, name: String, file: PathBuf, near: String },
}

/// A link whose target is missing looks as if the file itself was missing.
fn remedy_of_link(path: &Path) -> &'static str {
    let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if is_link && fs::metadata(path).is_err() { "; repair or remove the link" } else { "" }
}
