//! Makes the settings of a store from its sections in the file, with one function per section.

use std::time::Duration;

use super::environment::absolute;
use super::file::{AuthSection, EtcdSection, SaslSection, StoreSections, TlsSection};
use crate::store::{
    Auth, ClientCertificate, CredentialError, DirectorySettings, DirectoryUrl, EtcdLogin, EtcdSettings,
    EtcdUser, Key, Login, Sasl, Secret, SecretFile, SettingError, StoreSettings, StoreUrl, Tls,
    ZooKeeperSettings, can_be_certified, check_encoding,
};

/// Returns the settings of the store at `url`. Reads no file and no credential.
pub(super) fn store_settings(
    url: StoreUrl,
    sections: StoreSections<'_>,
    session_timeout: Duration,
    rescan_interval: Duration,
    readonly: bool,
) -> Result<StoreSettings, SettingError> {
    // A directory needs no login, but a mistake in one is told.
    let (zookeeper, etcd) = (login(sections)?, etcd_login(sections)?);
    Ok(match url {
        StoreUrl::ZooKeeper(url) => {
            if zookeeper.tls.is_some() {
                require_certifiable(&url.servers)?;
            }
            StoreSettings::ZooKeeper(ZooKeeperSettings { url, login: zookeeper, session_timeout, readonly })
        }
        StoreUrl::Etcd(url) => {
            if etcd.tls.is_some() {
                require_certifiable(&url.servers)?;
            }
            StoreSettings::Etcd(EtcdSettings { url, login: etcd, session_timeout, readonly })
        }
        StoreUrl::Directory(DirectoryUrl { root }) => {
            let url = DirectoryUrl { root: absolute(root) };
            StoreSettings::Directory(DirectorySettings { url, session_timeout, rescan_interval, readonly })
        }
    })
}

/// Returns the login that the sections of a store describe for ZooKeeper.
pub(super) fn login(sections: StoreSections<'_>) -> Result<Login, SettingError> {
    let auth = sections.auth.iter().map(auth).collect::<Result<_, _>>()?;
    let tls = sections.tls.map(tls).transpose()?;
    let sasl = sections.sasl.map(sasl).transpose()?;
    Ok(Login { auth, tls, sasl })
}

/// Returns the login that the sections of a store describe for etcd.
pub(super) fn etcd_login(sections: StoreSections<'_>) -> Result<EtcdLogin, SettingError> {
    let tls = sections.tls.map(tls).transpose()?;
    let user = sections.etcd.map(etcd_user).transpose()?;
    Ok(EtcdLogin { tls, user })
}

fn require_certifiable(servers: &[String]) -> Result<(), SettingError> {
    let Some(server) = servers.iter().find(|server| !can_be_certified(server)) else { return Ok(()) };
    let reason = format!(
        "no certificate can be for {server:?}, which is neither a DNS name nor an IP address; put the \
         server's name in the store's URL"
    );
    Err(("tls", reason))
}

fn auth(section: &AuthSection) -> Result<Auth, SettingError> {
    let credentials = section.credentials.secret().map_err(wrong_credential("auth.credentials"))?;
    if section.scheme == "digest" && matches!(&credentials, Secret::Inline(text) if !text.contains(':')) {
        return Err(("auth.credentials", "for digest it is \"user:password\"".to_owned()));
    }
    Ok(Auth { scheme: section.scheme.clone(), credentials })
}

fn tls(section: &TlsSection) -> Result<Tls, SettingError> {
    let identity = match (&section.cert, &section.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            let key = match key.secret().map_err(wrong_credential("tls.key"))? {
                Secret::Inline(path) => Key::File(absolute(path.into())),
                Secret::File(SecretFile(path)) => Key::File(path),
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
    Ok(Tls { ca: absolute(section.ca.clone()), identity, texts: None })
}

fn sasl(section: &SaslSection) -> Result<Sasl, SettingError> {
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

fn etcd_user(section: &EtcdSection) -> Result<EtcdUser, SettingError> {
    if section.username.is_empty() {
        return Err(("etcd.username", "it is empty; give the name of a user of etcd".to_owned()));
    }
    let password = section.password.secret().map_err(wrong_credential("etcd.password"))?;
    Ok(EtcdUser { username: section.username.clone(), password })
}

fn wrong_credential(key: &'static str) -> impl Fn(CredentialError) -> SettingError {
    move |error| (key, error.to_string())
}
