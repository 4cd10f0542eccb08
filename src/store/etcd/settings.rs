//! Where an etcd is, and what it takes to get in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::url::EtcdUrl;
use crate::store::backend::{Backend, Capabilities, SettingError};
use crate::store::login_source::StoreLogin;
use crate::store::secret::Secret;
use crate::store::tls::Tls;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EtcdSettings {
    pub url: EtcdUrl,
    pub login: EtcdLogin,
    /// How long a server may take to reply.
    pub session_timeout: Duration,
    /// Whether nothing may be written.
    pub readonly: bool,
}

/// How a connection is secured, and who logs in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EtcdLogin {
    pub tls: Option<Tls>,
    pub user: Option<EtcdUser>,
}

/// The user of etcd that logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdUser {
    pub username: String,
    pub password: Secret,
}

impl EtcdLogin {
    /// Returns the files that [`StoreLogin::read`] reads.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let password = self.user.as_ref().and_then(|user| user.password.file());
        password.into_iter().chain(self.tls.iter().flat_map(Tls::files)).collect()
    }

    /// Returns who logs in and how, without any secret.
    pub(crate) fn without_secrets(&self) -> Self {
        let mut login = self.clone();
        login.user.iter_mut().for_each(|user| user.password = Secret::Inline(String::new()));
        login.tls.iter_mut().for_each(|tls| tls.texts = None);
        login
    }

    /// Checks whether the credentials can be read here and now.
    pub fn check_credentials(&self) -> Result<(), SettingError> {
        if let Some(user) = &self.user {
            user.password.reveal().map_err(|error| ("etcd.password", error.to_string()))?;
        }
        self.tls.as_ref().map_or(Ok(()), Tls::check_credentials)
    }

    /// Checks whether the file of the password can be read. ZooKeeper's login checks those of TLS.
    pub fn check_files(&self) -> Result<(), SettingError> {
        match &self.user {
            Some(EtcdUser { password: password @ Secret::File(_), .. }) => {
                password.reveal().map(drop).map_err(|error| ("etcd.password", error.to_string()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl StoreLogin for EtcdLogin {
    fn is_empty(&self) -> bool {
        self.tls.is_none() && self.user.is_none()
    }

    fn read(&self) -> Result<Self, String> {
        let user = self.user.as_ref().map(|EtcdUser { username, password }| {
            let password = Secret::Inline(password.reveal().map_err(|error| error.to_string())?);
            Ok::<_, String>(EtcdUser { username: username.clone(), password })
        });
        let tls = self.tls.as_ref().map(|tls| tls.read().map_err(|error| error.to_string()));
        Ok(Self { user: user.transpose()?, tls: tls.transpose()? })
    }
}

impl Backend for EtcdSettings {
    fn url(&self) -> &dyn fmt::Display {
        &self.url
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable_versions: true,
            reserved_child: None,
            is_remote: true,
            has_acls: false,
            can_move: false,
            can_lack_root: self.url.prefix.as_str() != "/",
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
