//! Certificates and private keys in PEM. An error quotes nothing of them.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(super) const NO_PEM: &str = "it is no PEM";
pub(super) const NO_CERTIFICATE: &str = "it has no certificate in PEM (-----BEGIN CERTIFICATE-----)";
const NO_KEY: &str = "it has no private key in PEM that needs no passphrase";

/// Reads the certificates of a file; at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| NO_PEM)?;
    if found.is_empty() { Err(NO_CERTIFICATE) } else { Ok(found) }
}

/// Reads the first private key of a file.
pub fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| NO_KEY)
}
