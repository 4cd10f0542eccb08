//! The value of a key that holds a secret, or the name of the systemd credential that holds it.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::store::{Credential, CredentialError, Secret};

/// A secret, or its name, as written in the file. `Debug` does not show the secret.
pub(super) enum SecretSetting {
    Inline(String),
    Credential(CredentialSetting),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialSetting {
    credential: String,
}

/// Written by hand, because the errors of a derived one name neither the wrong key nor its place.
impl<'de> Deserialize<'de> for SecretSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = SecretSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or { credential = NAME } for a file of $CREDENTIALS_DIRECTORY")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretSetting, E> {
                Ok(SecretSetting::Inline(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<SecretSetting, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(table)).map(SecretSetting::Credential)
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

impl SecretSetting {
    /// Returns true if the file itself holds the secret.
    pub(super) fn is_inline(&self) -> bool {
        match self {
            Self::Inline(_) => true,
            Self::Credential(_) => false,
        }
    }

    pub(super) fn secret(&self) -> Result<Secret, CredentialError> {
        match self {
            Self::Inline(secret) => Ok(Secret::Inline(secret.clone())),
            Self::Credential(CredentialSetting { credential }) => {
                Credential::parse(credential).map(Secret::Credential)
            }
        }
    }
}

impl fmt::Debug for SecretSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("(secret)"),
            Self::Credential(CredentialSetting { credential }) => write!(f, "credential {credential:?}"),
        }
    }
}
