//! The value of a key that holds a secret, or the file or the systemd credential that holds it.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::environment::absolute;
use crate::store::{Credential, CredentialError, Secret, SecretFile};

/// A secret, or its name, as written in the file. `Debug` does not show the secret.
pub(super) enum SecretSetting {
    Inline(String),
    Elsewhere(Elsewhere),
}

/// Where the secret is.
#[derive(Debug)]
pub(super) enum Elsewhere {
    File(PathBuf),
    Credential(String),
}

/// A table that names exactly one place. An enum's errors would name neither key nor place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ElsewhereTable {
    file: Option<PathBuf>,
    credential: Option<String>,
}

/// Written by hand, because the errors of a derived one name neither the wrong key nor its place.
impl<'de> Deserialize<'de> for SecretSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = SecretSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a text, or { file = PATH }, or { credential = NAME } for a file of \
                     $CREDENTIALS_DIRECTORY",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretSetting, E> {
                Ok(SecretSetting::Inline(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<SecretSetting, A::Error> {
                let table = ElsewhereTable::deserialize(MapAccessDeserializer::new(table))?;
                let place = match table {
                    ElsewhereTable { file: Some(file), credential: None } => Elsewhere::File(file),
                    ElsewhereTable { file: None, credential: Some(name) } => Elsewhere::Credential(name),
                    ElsewhereTable { file: None, credential: None } => {
                        return Err(A::Error::custom("neither a file nor a credential is named"));
                    }
                    ElsewhereTable { file: Some(_), credential: Some(_) } => {
                        return Err(A::Error::custom("file and credential exclude each other"));
                    }
                };
                Ok(SecretSetting::Elsewhere(place))
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
            Self::Elsewhere(_) => false,
        }
    }

    pub(super) fn secret(&self) -> Result<Secret, CredentialError> {
        match self {
            Self::Inline(secret) => Ok(Secret::Inline(secret.clone())),
            Self::Elsewhere(Elsewhere::File(path)) => Ok(Secret::File(SecretFile(absolute(path.clone())))),
            Self::Elsewhere(Elsewhere::Credential(name)) => Credential::parse(name).map(Secret::Credential),
        }
    }
}

impl fmt::Debug for SecretSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("(secret)"),
            Self::Elsewhere(place) => place.fmt(f),
        }
    }
}
