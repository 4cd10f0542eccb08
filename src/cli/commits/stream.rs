//! A connection to a server of commits.

use std::error::Error;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::settings::CommitsServer;
use crate::store::WebTls;

/// What HTTP is spoken over.
pub trait Stream: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Stream for T {}

/// Connects. The error does not name the server.
pub async fn connect(
    server: &CommitsServer,
    tls: Option<&WebTls>,
) -> Result<Pin<Box<dyn Stream>>, Box<dyn Error>> {
    let web = match server {
        CommitsServer::Unix(socket) => {
            let connected = UnixStream::connect(socket).await;
            return Ok(Box::pin(connected.map_err(|error| format!("{error}; does the server run?"))?));
        }
        CommitsServer::Web(web) => web,
    };
    let connected = TcpStream::connect((web.host.as_str(), web.port)).await;
    let stream = connected.map_err(|error| format!("cannot connect: {error}; does the server run there?"))?;
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(Box::pin(stream)),
        Some(tls) => Ok(Box::pin(tls.connect(&web.host, stream).await?)),
    }
}
