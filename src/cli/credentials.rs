//! What `twitcher.toml` says of how ZooKeeper is spoken to, and as whom: `[tls]`, `[sasl]` and `[[auth]]`, for the
//! default store at the top of the file and for each other one in its block.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::settings;
use crate::store::{
    Auth, ClientCertificate, Credential, CredentialError, Key, Sasl, Secret, StoreSettings, StoreUrl, Tls,
    TlsFileError, can_be_certified,
};

/// A text, or the name of a credential that holds it.
pub enum SecretSetting {
    Inline(String),
    Credential(CredentialSetting),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSetting {
    credential: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSection {
    pub scheme: String,
    pub credentials: SecretSetting,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    ca: PathBuf,
    cert: Option<PathBuf>,
    /// A path, or a credential.
    key: Option<SecretSetting>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslSection {
    username: String,
    password: SecretSetting,
}

/// What the file says of one store.
#[derive(Clone, Copy)]
pub struct StoreCredentials<'a> {
    pub auth: &'a [AuthSection],
    pub tls: Option<&'a TlsSection>,
    pub sasl: Option<&'a SaslSection>,
}

/// A key of a store's block, and what is wrong with it.
pub type SettingError = (&'static str, String);

/// By hand, because a derived one would take a list, too, and not say what is wanted.
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

impl fmt::Debug for SecretSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("(secret)"),
            Self::Credential(CredentialSetting { credential }) => write!(f, "credential {credential:?}"),
        }
    }
}

impl SecretSetting {
    /// Whether the file itself has it.
    fn is_inline(&self) -> bool {
        match self {
            Self::Inline(_) => true,
            Self::Credential(_) => false,
        }
    }

    fn secret(&self) -> Result<Secret, CredentialError> {
        match self {
            Self::Inline(secret) => Ok(Secret::Inline(secret.clone())),
            Self::Credential(CredentialSetting { credential }) => {
                Credential::parse(credential).map(Secret::Credential)
            }
        }
    }
}

impl StoreCredentials<'_> {
    /// Whether the file itself holds a secret.
    pub fn has_secrets(self) -> bool {
        self.auth.iter().any(|auth| auth.credentials.is_inline())
            || self.sasl.is_some_and(|sasl| sasl.password.is_inline())
    }

    /// The store at `url`, spoken to in this way. No file is looked at, and no credential.
    pub fn settings(self, url: StoreUrl, session_timeout: Duration) -> Result<StoreSettings, SettingError> {
        let url = match url {
            StoreUrl::Directory(path) => StoreUrl::Directory(settings::absolute(path)),
            StoreUrl::ZooKeeper { .. } => url,
        };
        let auth = self.auth.iter().map(AuthSection::auth).collect::<Result<_, _>>()?;
        let tls = self.tls.map(|tls| tls.tls(&url)).transpose()?;
        let sasl = self.sasl.map(SaslSection::sasl).transpose()?;
        Ok(StoreSettings { url, auth, tls, sasl, session_timeout })
    }
}

impl AuthSection {
    fn auth(&self) -> Result<Auth, SettingError> {
        let credentials =
            self.credentials.secret().map_err(|error| ("auth.credentials", error.to_string()))?;
        if self.scheme == "digest" && matches!(&credentials, Secret::Inline(text) if !text.contains(':')) {
            return Err(("auth.credentials", "for digest it is \"user:password\"".to_owned()));
        }
        Ok(Auth { scheme: self.scheme.clone(), credentials })
    }
}

impl TlsSection {
    fn tls(&self, url: &StoreUrl) -> Result<Tls, SettingError> {
        if let StoreUrl::ZooKeeper { servers, .. } = url
            && let Some(server) = servers.iter().find(|server| !can_be_certified(server))
        {
            let reason = format!(
                "the server's certificate cannot be for {server:?}, which is no DNS name and no IP address; give its \
                 name in the store's URL"
            );
            return Err(("tls", reason));
        }
        let identity = match (&self.cert, &self.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let key = match key {
                    SecretSetting::Inline(path) => Key::File(settings::absolute(path.into())),
                    SecretSetting::Credential(CredentialSetting { credential }) => {
                        let credential =
                            Credential::parse(credential).map_err(|error| ("tls.key", error.to_string()))?;
                        Key::Credential(credential)
                    }
                };
                Some(ClientCertificate { cert: settings::absolute(cert.clone()), key })
            }
            (Some(_), None) => {
                return Err((
                    "tls.key",
                    "missing; it belongs to the client certificate in tls.cert".to_owned(),
                ));
            }
            (None, Some(_)) => {
                return Err(("tls.cert", "missing; it belongs to the key in tls.key".to_owned()));
            }
        };
        Ok(Tls { ca: settings::absolute(self.ca.clone()), identity })
    }
}

impl SaslSection {
    fn sasl(&self) -> Result<Sasl, SettingError> {
        let username = &self.username;
        if username.is_empty() || username.contains(['"', '\\']) || username.chars().any(char::is_control) {
            let reason =
                format!("{username:?} cannot be sent: a username is not empty and has no \" and no \\");
            return Err(("sasl.username", reason));
        }
        check_encoding("sasl.username", username)?;
        let password = self.password.secret().map_err(|error| ("sasl.password", error.to_string()))?;
        if let Secret::Inline(password) = &password {
            check_encoding("sasl.password", password)?;
        }
        Ok(Sasl { username: username.clone(), password })
    }
}

/// Refuses what the server and we would hash differently: it takes a text of ISO 8859-1 alone for that (RFC 2831, 2.1.2.1),
/// and the crate that speaks ZooKeeper takes all for UTF-8.
fn check_encoding(key: &'static str, text: &str) -> Result<(), SettingError> {
    let is_latin_1 = text.chars().all(|c| c <= '\u{ff}');
    if is_latin_1 && !text.is_ascii() {
        return Err((
            key,
            "it has letters like é or ü, with which DIGEST-MD5 fails here; use others".to_owned(),
        ));
    }
    Ok(())
}

/// Whether these settings can be used here and now: whether the credentials are there.
pub fn require_credentials(settings: &StoreSettings) -> Result<(), SettingError> {
    let StoreSettings { auth, tls, sasl, url: _, session_timeout: _ } = settings;
    let wrong = |key| move |error: CredentialError| (key, error.to_string());
    for auth in auth {
        auth.credentials.reveal().map_err(wrong("auth.credentials"))?;
    }
    if let Some(sasl) = sasl {
        check_encoding("sasl.password", &sasl.password.reveal().map_err(wrong("sasl.password"))?)?;
    }
    if let Some(Tls { identity: Some(ClientCertificate { key: Key::Credential(credential), .. }), .. }) = tls
    {
        credential.path().map_err(wrong("tls.key"))?;
    }
    Ok(())
}

/// Whether the files that these settings name are good for a connection.
pub fn check_files(settings: &StoreSettings) -> Result<(), SettingError> {
    let Some(tls) = &settings.tls else { return Ok(()) };
    // A certificate is good without its key where nobody has that now.
    let without_key;
    let tls = match &tls.identity {
        Some(ClientCertificate { key: Key::Credential(credential), .. }) if credential.path().is_err() => {
            without_key = Tls { identity: None, ..tls.clone() };
            &without_key
        }
        Some(_) | None => tls,
    };
    tls.check().map_err(|TlsFileError { key, reason }| (key, reason))
}
