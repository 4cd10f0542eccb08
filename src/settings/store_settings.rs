//! Makes the settings of a store from its sections in the file, with one function per section.

use std::time::Duration;

use super::environment::absolute;
use super::error::KeyError;
use super::file::{AuthSection, SaslSection, StoreSections, TlsSection};
use crate::store::{
    Auth, ClientCertificate, CredentialError, Key, Sasl, Secret, StoreSettings, StoreUrl, Tls, TlsFileError,
    can_be_certified,
};

/// Returns the settings of the store at `url`. Reads no file and no credential. A directory ignores the
/// sections, but checks them.
pub(super) fn store_settings(
    url: StoreUrl,
    sections: StoreSections<'_>,
    session_timeout: Duration,
) -> Result<StoreSettings, KeyError> {
    let url = match url {
        StoreUrl::Directory(path) => StoreUrl::Directory(absolute(path)),
        StoreUrl::ZooKeeper { .. } => url,
    };
    let auth = sections.auth.iter().map(auth).collect::<Result<_, _>>()?;
    let tls = sections.tls.map(|section| tls(section, &url)).transpose()?;
    let sasl = sections.sasl.map(sasl).transpose()?;
    Ok(StoreSettings { url, auth, tls, sasl, session_timeout })
}

fn auth(section: &AuthSection) -> Result<Auth, KeyError> {
    let credentials = section.credentials.secret().map_err(wrong_credential("auth.credentials"))?;
    if section.scheme == "digest" && matches!(&credentials, Secret::Inline(text) if !text.contains(':')) {
        return Err(("auth.credentials", "for digest it is \"user:password\"".to_owned()));
    }
    Ok(Auth { scheme: section.scheme.clone(), credentials })
}

fn tls(section: &TlsSection, url: &StoreUrl) -> Result<Tls, KeyError> {
    if let StoreUrl::ZooKeeper { servers, .. } = url
        && let Some(server) = servers.iter().find(|server| !can_be_certified(server))
    {
        let reason = format!(
            "no certificate can be for {server:?}, which is neither a DNS name nor an IP address; put the \
             server's name in the store's URL"
        );
        return Err(("tls", reason));
    }
    let identity = match (&section.cert, &section.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            let key = match key.secret().map_err(wrong_credential("tls.key"))? {
                Secret::Inline(path) => Key::File(absolute(path.into())),
                Secret::Credential(credential) => Key::Credential(credential),
            };
            Some(ClientCertificate { cert: absolute(cert.clone()), key })
        }
        (Some(_), None) => {
            return Err(("tls.key", "missing; tls.cert requires the key of its certificate".to_owned()));
        }
        (None, Some(_)) => {
            return Err(("tls.cert", "missing; tls.key requires the certificate of its key".to_owned()));
        }
    };
    Ok(Tls { ca: absolute(section.ca.clone()), identity })
}

fn sasl(section: &SaslSection) -> Result<Sasl, KeyError> {
    let username = &section.username;
    if username.is_empty() || username.contains(['"', '\\']) || username.chars().any(char::is_control) {
        let reason = format!(
            "{username:?} cannot be sent; a username is not empty, and contains no \", no \\ and no control \
             character"
        );
        return Err(("sasl.username", reason));
    }
    check_encoding("sasl.username", username)?;
    let password = section.password.secret().map_err(wrong_credential("sasl.password"))?;
    if let Secret::Inline(password) = &password {
        check_encoding("sasl.password", password)?;
    }
    Ok(Sasl { username: username.clone(), password })
}

/// Refuses a text that the server and this client would hash differently: the server takes a text of ISO
/// 8859-1 as that (RFC 2831, 2.1.2.1), the ZooKeeper crate takes every text as UTF-8.
fn check_encoding(key: &'static str, text: &str) -> Result<(), KeyError> {
    let is_latin_1 = text.chars().all(|c| c <= '\u{ff}');
    if is_latin_1 && !text.is_ascii() {
        return Err((
            key,
            "it has letters like é or ü, with which DIGEST-MD5 fails here; use others".to_owned(),
        ));
    }
    Ok(())
}

/// Checks that the credentials in the settings can be read.
pub(super) fn require_credentials(settings: &StoreSettings) -> Result<(), KeyError> {
    let StoreSettings { auth, tls, sasl, url: _, session_timeout: _ } = settings;
    for auth in auth {
        auth.credentials.reveal().map_err(wrong_credential("auth.credentials"))?;
    }
    if let Some(sasl) = sasl {
        let password = sasl.password.reveal().map_err(wrong_credential("sasl.password"))?;
        check_encoding("sasl.password", &password)?;
    }
    if let Some(Tls { identity: Some(ClientCertificate { key: Key::Credential(credential), .. }), .. }) = tls
    {
        credential.path().map_err(wrong_credential("tls.key"))?;
    }
    Ok(())
}

/// Checks that the files in the settings are good for a connection.
pub(super) fn check_files(settings: &StoreSettings) -> Result<(), KeyError> {
    let Some(tls) = &settings.tls else { return Ok(()) };
    // Where the credential of the key is not given, the other files can be checked all the same.
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

fn wrong_credential(key: &'static str) -> impl Fn(CredentialError) -> KeyError {
    move |error| (key, error.to_string())
}
