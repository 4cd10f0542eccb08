//! Where a ZooKeeper is, and what it takes to get in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::url::ZooKeeperUrl;
use crate::store::backend::{Backend, Capabilities, SettingError};
use crate::store::login_source::StoreLogin;
use crate::store::secret::{CredentialError, Secret};
use crate::store::tls::Tls;

/// The child of the root in which ZooKeeper keeps its own data.
const RESERVED_CHILD: &str = "zookeeper";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ZooKeeperSettings {
    pub url: ZooKeeperUrl,
    pub login: Login,
    /// The timeout to ask for. The server may grant another.
    pub session_timeout: Duration,
    /// Whether nothing may be written.
    pub readonly: bool,
}

/// How a session is secured, and who logs in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Login {
    /// What each session is given, in this order.
    pub auth: Vec<Auth>,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
}

/// Credentials that ZooKeeper is given by `addauth`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    pub scheme: String,
    pub credentials: Secret,
}

/// The user that logs in to ZooKeeper by SASL with DIGEST-MD5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sasl {
    pub username: String,
    pub password: Secret,
}

impl Login {
    pub(super) fn has_credentials(&self) -> bool {
        !self.auth.is_empty() || self.sasl.is_some()
    }

    /// Returns the files that [`StoreLogin::read`] reads.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let secrets = self.auth.iter().map(|auth| &auth.credentials);
        let secrets = secrets.chain(self.sasl.iter().map(|sasl| &sasl.password)).filter_map(Secret::file);
        secrets.chain(self.tls.iter().flat_map(Tls::files)).collect()
    }

    /// Returns who logs in and how, without any secret.
    pub(crate) fn without_secrets(&self) -> Self {
        let none = || Secret::Inline(String::new());
        let mut login = self.clone();
        login.auth.iter_mut().for_each(|auth| auth.credentials = none());
        login.sasl.iter_mut().for_each(|sasl| sasl.password = none());
        login.tls.iter_mut().for_each(|tls| tls.texts = None);
        login
    }

    /// Checks whether the credentials can be read here and now.
    pub fn check_credentials(&self) -> Result<(), SettingError> {
        let wrong = |key| move |error: CredentialError| (key, error.to_string());
        for auth in &self.auth {
            auth.credentials.reveal().map_err(wrong("auth.credentials"))?;
        }
        if let Some(sasl) = &self.sasl {
            let password = sasl.password.reveal().map_err(wrong("sasl.password"))?;
            check_encoding("sasl.password", &password)?;
        }
        self.tls.as_ref().map_or(Ok(()), Tls::check_credentials)
    }

    /// Checks whether the files are good for a connection.
    pub fn check_files(&self) -> Result<(), SettingError> {
        let auth = self.auth.iter().map(|auth| ("auth.credentials", &auth.credentials));
        let sasl = self.sasl.iter().map(|sasl| ("sasl.password", &sasl.password));
        for (key, secret) in auth.chain(sasl) {
            if let Secret::File(_) = secret {
                secret.reveal().map_err(|error| (key, error.to_string()))?;
            }
        }
        self.tls.as_ref().map_or(Ok(()), Tls::check_files)
    }
}

impl StoreLogin for Login {
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.tls.is_none() && self.sasl.is_none()
    }

    fn read(&self) -> Result<Self, String> {
        let text = |error: CredentialError| error.to_string();
        let auth = self.auth.iter().map(|Auth { scheme, credentials }| {
            let credentials = Secret::Inline(credentials.reveal().map_err(text)?);
            Ok(Auth { scheme: scheme.clone(), credentials })
        });
        let auth = auth.collect::<Result<_, String>>()?;
        let sasl = self.sasl.as_ref().map(|Sasl { username, password }| {
            let password = Secret::Inline(password.reveal().map_err(text)?);
            Ok::<_, String>(Sasl { username: username.clone(), password })
        });
        let sasl = sasl.transpose()?;
        let tls = self.tls.as_ref().map(|tls| tls.read().map_err(|error| error.to_string()));
        Ok(Self { auth, sasl, tls: tls.transpose()? })
    }
}

impl Backend for ZooKeeperSettings {
    fn url(&self) -> &dyn fmt::Display {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        let has_root = self.url.chroot.as_str() == "/";
        Capabilities {
            durable_versions: true,
            reserved_child: has_root.then_some(RESERVED_CHILD),
            is_remote: true,
            has_acls: true,
            can_move: false,
            can_lack_root: !has_root,
        }
    }

    fn identity(&self) -> Option<String> {
        Some(self.url.identity())
    }

    fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    fn is_readonly(&self) -> bool {
        self.readonly
    }
}

/// Refuses a text that servers hash in different ways: RFC 2831 (2.1.2.1) has texts of ISO 8859-1 hashed in
/// that encoding, and not every server does so.
pub fn check_encoding(key: &'static str, text: &str) -> Result<(), SettingError> {
    let is_latin_1 = text.chars().all(|c| c <= '\u{ff}');
    if is_latin_1 && !text.is_ascii() {
        return Err((
            key,
            "it has letters like é or ü, with which DIGEST-MD5 fails here; use others".to_owned(),
        ));
    }
    Ok(())
}
