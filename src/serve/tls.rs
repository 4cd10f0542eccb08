//! The server's side of TLS.

use std::fs;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio_rustls::TlsAcceptor;

use crate::settings::ServeTls;
use crate::store::pem::{certificates, private_key};

/// Reads the certificate and the key.
pub fn acceptor(tls: &ServeTls) -> Result<TlsAcceptor, String> {
    let path = tls.cert.display();
    let text = fs::read_to_string(&tls.cert).map_err(|error| format!("cert: {path}: {error}"))?;
    let chain = certificates(&text).map_err(|error| format!("cert: {path}: {error}"))?;
    let key = tls.key.reveal().map_err(|error| format!("key: {error}"))?;
    let key = private_key(&key).map_err(|error| format!("key: {error}"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| error.to_string())?.with_no_client_auth();
    let config = config.with_single_cert(chain, key).map_err(|error| format!("cert and key: {error}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
