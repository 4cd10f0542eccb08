//! Secrets, such as passwords, and where they are kept.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::trust::{self, Location, Untrusted, exposed};

/// The variable with the directory where systemd puts what a unit's `LoadCredential=` names
/// (systemd.exec(5)).
pub const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A secret, or where it is. `Debug` does not show it, and there is no `Display`, so that no log line, status
/// or error can show it by mistake. It is serialized only for the process that logs in with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secret {
    Inline(String),
    File(SecretFile),
    Credential(Credential),
}

impl Secret {
    /// Returns the secret itself, which only the store may get that it is meant for.
    pub fn reveal(&self) -> Result<String, CredentialError> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(file) => file.read(),
            Self::Credential(credential) => credential.read(),
        }
    }
}

impl Secret {
    /// Returns the file that it is in, if it is in one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Inline(_) => None,
            Self::File(SecretFile(path)) => Some(path.clone()),
            Self::Credential(credential) => credential.path().ok(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("(secret)"),
            Self::File(file) => file.fmt(f),
            Self::Credential(credential) => credential.fmt(f),
        }
    }
}

/// The path of a file that holds nothing but one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile(pub PathBuf);

/// The name of a file in `$CREDENTIALS_DIRECTORY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential(String);

#[derive(Debug, Error)]
pub enum CredentialError {
    #[error("{0:?} is no name of a credential: it names one file, without a /")]
    Name(String),
    #[error(
        "credential {0:?} is not there: $CREDENTIALS_DIRECTORY is not set; in the unit, systemd sets it for \
         LoadCredential={0}:/PATH"
    )]
    NoDirectory(String),
    #[error(
        "credential {name:?} cannot be read ({}: {reason}); name it in the unit's LoadCredential=",
        .path.display()
    )]
    Unreadable { name: String, path: PathBuf, reason: String },
    #[error("{} cannot be read: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

/// The largest credential that systemd takes (systemd.exec(5)). No file of a secret may be larger either.
const MAX_CREDENTIAL_BYTES: u64 = 1 << 20;

/// Opens a regular file for reading. A pipe is refused, because it may never have a writer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

fn read(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MAX_CREDENTIAL_BYTES).read_to_string(&mut text)?;
    // An editor added it. It is no part of the secret.
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

impl SecretFile {
    /// For root, nobody else may have access to the file.
    fn read(&self) -> Result<String, CredentialError> {
        let Self(path) = self;
        let failed =
            |error: io::Error| CredentialError::File { path: path.clone(), reason: error.to_string() };
        let file = open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if geteuid().is_root() {
            trust::check(path, metadata.uid(), metadata.mode(), Location::Inside)?;
            exposed(path, metadata.mode()).map_or(Ok(()), Err)?;
        }
        read(file).map_err(failed)
    }
}

impl Credential {
    pub fn parse(name: &str) -> Result<Self, CredentialError> {
        match name {
            "" | "." | ".." => Err(CredentialError::Name(name.to_owned())),
            name if name.contains(['/', '\0']) => Err(CredentialError::Name(name.to_owned())),
            name => Ok(Self(name.to_owned())),
        }
    }

    /// Returns the file's path. Fails if systemd, or what stands in for it, has not set the variable.
    pub fn path(&self) -> Result<PathBuf, CredentialError> {
        self.path_in(std::env::var_os(CREDENTIALS_DIRECTORY))
    }

    fn path_in(&self, directory: Option<OsString>) -> Result<PathBuf, CredentialError> {
        match directory.filter(|directory| !directory.is_empty()) {
            Some(directory) => Ok(PathBuf::from(directory).join(&self.0)),
            None => Err(CredentialError::NoDirectory(self.0.clone())),
        }
    }

    fn read(&self) -> Result<String, CredentialError> {
        let path = self.path()?;
        open(&path).and_then(read).map_err(|error| {
            let reason = error.to_string();
            CredentialError::Unreadable { name: self.0.clone(), path, reason }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_file_of_its_directory() {
        for bad in ["", ".", "..", "a/b", "/etc/shadow", "../x"] {
            assert!(Credential::parse(bad).is_err(), "{bad}");
        }
        let credential = Credential::parse("zookeeper-password").unwrap();
        let path = credential.path_in(Some("/run/credentials/x".into())).unwrap();
        assert_eq!(path, PathBuf::from("/run/credentials/x/zookeeper-password"));
        for none in [None, Some(OsString::new())] {
            let error = credential.path_in(none).unwrap_err().to_string();
            assert!(error.contains("LoadCredential=zookeeper-password:/PATH"), "{error}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secret = Secret::Inline("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert_eq!(secret.reveal().unwrap(), "hunter2");
    }
}
