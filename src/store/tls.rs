//! The files of a TLS connection.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::backend::SettingError;
use super::pem::{NO_CERTIFICATE, NO_PEM, certificates, private_key};
use super::secret::{self, Credential};
use crate::trust::{self, Location, exposed};

/// The `[tls]` of a store: files in PEM. They are read anew for each connection, so that renewed files need
/// no restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tls {
    /// The CAs whose servers are trusted, with their certificate revocation lists if there are any.
    pub ca: PathBuf,
    /// The certificate that we show to the server.
    pub identity: Option<ClientCertificate>,
    /// What the files have, if somebody has read them who may.
    pub texts: Option<Box<TlsTexts>>,
}

/// The files of a [`Tls`], read.
#[derive(Clone, Serialize, Deserialize)]
pub struct TlsTexts {
    ca: String,
    /// The certificate and its key.
    identity: Option<(String, String)>,
}

impl fmt::Debug for TlsTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// The certificate, followed by those between it and its CA.
    pub cert: PathBuf,
    pub key: Key,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Key {
    File(PathBuf),
    Credential(Credential),
}

/// Why no connection can be made with the files as they are. It quotes nothing of them.
#[derive(Debug, Error)]
#[error("{key}: {reason}")]
pub(super) struct TlsFileError {
    /// The setting to look at.
    key: &'static str,
    reason: String,
}

/// The setting that names the file of the CAs.
#[derive(Clone, Copy, Debug)]
pub(super) struct CaKey(pub(super) &'static str);

/// That of a store.
pub(super) const CA: CaKey = CaKey("tls.ca");
const CERT: &str = "tls.cert";
const KEY: &str = "tls.key";

impl Tls {
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|ClientCertificate { cert, key }| {
            let key = match key {
                Key::File(path) => Some(path.clone()),
                Key::Credential(credential) => credential.path().ok(),
            };
            [Some(cert.clone()), key]
        });
        [self.ca.clone()].into_iter().chain(identity.flatten()).collect()
    }

    fn client_key(&self) -> Option<&Key> {
        self.identity.as_ref().map(|identity| &identity.key)
    }

    /// Checks whether the key can be read here and now, if it is a credential.
    pub(super) fn check_credentials(&self) -> Result<(), SettingError> {
        match self.client_key() {
            Some(Key::Credential(credential)) => {
                credential.path().map(drop).map_err(|error| (KEY, error.to_string()))
            }
            Some(Key::File(_)) | None => Ok(()),
        }
    }

    /// Checks whether the files are good for a connection.
    pub(super) fn check_files(&self) -> Result<(), SettingError> {
        match self.client_key() {
            // Outside of systemd there is no credential, and the rest can be checked without the key.
            Some(Key::Credential(credential)) if credential.path().is_err() => {
                Self { identity: None, ..self.clone() }.check()
            }
            Some(_) | None => self.check(),
        }
    }

    /// Checks whether a connection could be made with the files as they are now.
    fn check(&self) -> Result<(), SettingError> {
        self.load().map(drop).map_err(|TlsFileError { key, reason }| (key, reason))
    }

    /// Reads all files, unless they were read before. This may block.
    pub(super) fn read(&self) -> Result<Self, TlsFileError> {
        self.read_as(CA)
    }

    fn read_as(&self, key: CaKey) -> Result<Self, TlsFileError> {
        if self.texts.is_some() {
            return Ok(self.clone());
        }
        let ca = read(key.0, &self.ca)?;
        let identity = self.identity.as_ref();
        let identity = identity.map(|identity| Ok((read(CERT, &identity.cert)?, identity.key.read()?)));
        let texts = Some(Box::new(TlsTexts { ca, identity: identity.transpose()? }));
        Ok(Self { texts, ..self.clone() })
    }

    /// Checks all files, and reads those that were not read. This may block.
    pub(super) fn load(&self) -> Result<Arc<ClientConfig>, TlsFileError> {
        self.load_as(CA)
    }

    /// Does the same for CAs that another setting names.
    pub(super) fn load_as(&self, key: CaKey) -> Result<Arc<ClientConfig>, TlsFileError> {
        let read = self.read_as(key)?;
        let Some(texts) = read.texts else { unreachable!("they were read") };
        let TlsTexts { ca, identity: texts } = *texts;
        let wrong = |reason: &str| wrong(key.0, &self.ca, reason);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&ca).map_err(wrong)?);
        if roots.is_empty() {
            return Err(wrong(NO_CERTIFICATE));
        }
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(ca.as_bytes()).collect();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
            .with_crls(lists.map_err(|_| wrong(NO_PEM))?)
            .build()
            .map_err(|error| wrong(&error.to_string()))?;
        let config = client().with_webpki_verifier(verifier);
        match self.identity.as_ref().zip(texts) {
            Some((identity, texts)) => identity.add_to(texts, config),
            None => Ok(config.with_no_client_auth().into()),
        }
    }
}

impl ClientCertificate {
    fn add_to(
        &self,
        (cert, key): (String, String),
        config: ConfigBuilder<ClientConfig, WantsClientCert>,
    ) -> Result<Arc<ClientConfig>, TlsFileError> {
        let wrong = |reason: &str| wrong(CERT, &self.cert, reason);
        let chain = certificates(&cert).map_err(wrong)?;
        let wrong_key = |reason: &str| TlsFileError { key: KEY, reason: reason.to_owned() };
        let parsed = private_key(&key).map_err(wrong_key)?;
        let config = config.with_client_auth_cert(chain, parsed).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                wrong_key("it is not the key of the certificate in tls.cert; give two that belong together")
            }
            // The enum is open.
            error => wrong(&format!("it and its key cannot be used: {error}")),
        })?;
        Ok(config.into())
    }
}

impl Key {
    fn read(&self) -> Result<String, TlsFileError> {
        match self {
            Self::File(path) => {
                let (file, mode) = open(KEY, path)?;
                // Other users may have their reasons, but nobody else may read root's key.
                match exposed(path, mode).filter(|_| geteuid().is_root()) {
                    Some(exposed) => Err(TlsFileError { key: KEY, reason: exposed.to_string() }),
                    None => text(KEY, path, file),
                }
            }
            Self::Credential(credential) => {
                let path = credential.path();
                read(KEY, &path.map_err(|error| TlsFileError { key: KEY, reason: error.to_string() })?)
            }
        }
    }
}

fn read(key: &'static str, path: &Path) -> Result<String, TlsFileError> {
    text(key, path, open(key, path)?.0)
}

/// Opens a file and returns its mode. A file of root's that others could change is refused: they would decide
/// whom root believes.
fn open(key: &'static str, path: &Path) -> Result<(File, u32), TlsFileError> {
    let opened = secret::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| wrong(key, path, &error.to_string()))?;
    if geteuid().is_root() {
        trust::check(path, metadata.uid(), metadata.mode(), Location::Inside)
            .map_err(|untrusted| TlsFileError { key, reason: untrusted.to_string() })?;
    }
    Ok((file, metadata.mode()))
}

fn text(key: &'static str, path: &Path, file: File) -> Result<String, TlsFileError> {
    let mut text = Vec::new();
    let read = file.take(MAX_PEM_BYTES).read_to_end(&mut text);
    read.map_err(|error| wrong(key, path, &error.to_string()))?;
    String::from_utf8(text).map_err(|_| wrong(key, path, NO_PEM))
}

fn wrong(key: &'static str, path: &Path, reason: &str) -> TlsFileError {
    TlsFileError { key, reason: format!("{}: {reason}", path.display()) }
}

/// The largest file that is read: more than any bundle of CAs has.
const MAX_PEM_BYTES: u64 = 16 << 20;

/// Returns the host and the port of a server as a URL has them. The server's certificate must be for the
/// host.
pub(super) fn host_and_port(server: &str) -> (&str, &str) {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// Returns true if and only if a certificate can be made out for the host of this server.
pub fn can_be_certified(server: &str) -> bool {
    ServerName::try_from(host_and_port(server).0).is_ok()
}

pub(super) fn client() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let _ = provider();
    ClientConfig::builder()
}

/// Returns the provider that the whole process uses.
fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // If another thread was faster, it installed the same one.
        let _ = aws_lc_rs::default_provider().install_default();
    }
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()))
}
