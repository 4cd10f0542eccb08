//! The value of a key that holds a secret, or the name of the systemd credential that holds it.

use std::fmt;

use serde::Deserialize;

use crate::store::{Credential, CredentialError, Secret};

/// A secret, or its name, as written in the file. `Debug` does not show the secret.
#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a text, or { credential = NAME } for a file of $CREDENTIALS_DIRECTORY"
)]
pub(super) enum SecretSetting {
    Inline(String),
    Credential { credential: String },
}

impl SecretSetting {
    /// Returns true if the file itself holds the secret.
    pub(super) fn is_inline(&self) -> bool {
        match self {
            Self::Inline(_) => true,
            Self::Credential { .. } => false,
        }
    }

    pub(super) fn secret(&self) -> Result<Secret, CredentialError> {
        match self {
            Self::Inline(secret) => Ok(Secret::Inline(secret.clone())),
            Self::Credential { credential } => Credential::parse(credential).map(Secret::Credential),
        }
    }
}

impl fmt::Debug for SecretSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("(secret)"),
            Self::Credential { credential } => write!(f, "credential {credential:?}"),
        }
    }
}
