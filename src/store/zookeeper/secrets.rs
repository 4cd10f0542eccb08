//! Reading what it takes to log in: credentials, passwords and the files of TLS.

use std::sync::Arc;

use rustls::ClientConfig;
use thiserror::Error;

use super::settings::{Auth, Login, Sasl};
use crate::store::secret::CredentialError;
use crate::store::tls::TlsFileError;

/// What it takes to make one connection.
pub(super) struct Secrets {
    /// Schemes and credentials, in the order in which the server is given them.
    pub(super) auth: Vec<(String, String)>,
    /// The username and the password.
    pub(super) sasl: Option<(String, String)>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

#[derive(Debug, Error)]
pub(super) enum SecretsError {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Tls(#[from] TlsFileError),
}

impl Secrets {
    /// Reads everything anew, because it may be renewed between two connections. This may block.
    pub(super) fn load(login: &Login) -> Result<Self, SecretsError> {
        let auth =
            login.auth.iter().map(|Auth { scheme, credentials }| Ok((scheme.clone(), credentials.reveal()?)));
        let sasl = login.sasl.as_ref().map(|Sasl { username, password }| {
            Ok::<_, CredentialError>((username.clone(), password.reveal()?))
        });
        Ok(Self {
            auth: auth.collect::<Result<_, CredentialError>>()?,
            sasl: sasl.transpose()?,
            tls: login.tls.as_ref().map(|tls| tls.load()).transpose()?,
        })
    }
}
