//! The server's side of TLS.

use std::fs;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::settings::ServeTls;

/// Reads the certificate and the key.
pub fn acceptor(tls: &ServeTls) -> Result<TlsAcceptor, String> {
    let path = tls.cert.display();
    let bytes = fs::read(&tls.cert).map_err(|error| format!("cert: {path}: {error}"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| format!("cert: {path}: {error}"))?;
    if chain.is_empty() {
        return Err(format!("cert: {path} has no certificate in PEM"));
    }
    let key = tls.key.reveal().map_err(|error| format!("key: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|error| format!("key: it is no private key in PEM: {error}"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| error.to_string())?.with_no_client_auth();
    let config = config.with_single_cert(chain, key).map_err(|error| format!("cert and key: {error}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
