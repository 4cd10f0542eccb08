//! The keys of `[serve]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::secret_setting::{Elsewhere, SecretSetting};
use crate::commits::has_password;

/// `[serve]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [serve]")]
pub(super) struct ServeSection {
    /// ADDRESS:PORT or unix:PATH
    pub(super) listen: Option<String>,
    pub(super) database: Option<String>,
    pub(super) database_password: Option<SecretSetting>,
    /// The names by which browsers reach the server.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    pub(super) tls: Option<ServeTlsSection>,
    #[serde(default)]
    pub(super) commits: BTreeMap<String, NamespaceSection>,
    #[serde(default)]
    pub(super) users: Vec<UserSection>,
}

/// `[serve.tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [serve.tls] with cert and key")]
pub(super) struct ServeTlsSection {
    pub(super) cert: PathBuf,
    /// An inline value is the path of a file, not the key itself.
    pub(super) key: SecretSetting,
}

/// `[serve.commits.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [serve.commits.NAME]")]
pub(super) struct NamespaceSection {
    pub(super) store: Option<String>,
    pub(super) path: Option<String>,
    pub(super) table: Option<String>,
    pub(super) publish_period: Option<f64>,
    #[serde(default)]
    pub(super) validate: Vec<String>,
}

/// `[[serve.users]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [[serve.users]] with name, token and may")]
pub(super) struct UserSection {
    pub(super) name: String,
    pub(super) token: TokenSetting,
    pub(super) may: Vec<String>,
}

/// A token, where it is, or its SHA-256. `Debug` shows none of them.
pub(super) enum TokenSetting {
    /// In hexadecimal digits, as written.
    Sha256(String),
    Secret(SecretSetting),
}

impl<'de> Deserialize<'de> for TokenSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            sha256: Option<String>,
            file: Option<PathBuf>,
            credential: Option<String>,
        }

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = TokenSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a text, or { sha256 = DIGITS }, or { file = PATH }, or { credential = NAME } for a file \
                     of $CREDENTIALS_DIRECTORY",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TokenSetting, E> {
                let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                Ok(match text.strip_prefix("sha256:") {
                    Some(digits) => TokenSetting::Sha256(digits.to_owned()),
                    None if is_hash => TokenSetting::Sha256(text.to_owned()),
                    None => TokenSetting::Secret(SecretSetting::Inline(text.to_owned())),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<TokenSetting, A::Error> {
                let secret = |place| Ok(TokenSetting::Secret(SecretSetting::Elsewhere(place)));
                match Table::deserialize(MapAccessDeserializer::new(table))? {
                    Table { sha256: Some(digits), file: None, credential: None } => {
                        Ok(TokenSetting::Sha256(digits))
                    }
                    Table { sha256: None, file: Some(file), credential: None } => {
                        secret(Elsewhere::File(file))
                    }
                    Table { sha256: None, file: None, credential: Some(name) } => {
                        secret(Elsewhere::Credential(name))
                    }
                    Table { .. } => {
                        Err(A::Error::custom("exactly one of sha256, file and credential is to be named"))
                    }
                }
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

impl fmt::Debug for TokenSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token)")
    }
}

impl ServeSection {
    /// Whether the file itself holds a token or a password.
    pub(super) fn has_secrets(&self) -> bool {
        self.database.as_deref().is_some_and(has_password)
            || self.database_password.as_ref().is_some_and(SecretSetting::is_inline)
            || self.users.iter().any(|user| match &user.token {
                TokenSetting::Secret(secret) => secret.is_inline(),
                TokenSetting::Sha256(_) => false,
            })
    }
}
