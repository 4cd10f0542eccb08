//! A network that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::Result;

pub struct Proxy {
    address: SocketAddr,
    upstream: String,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Forwards connections to `upstream`.
    pub async fn to(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(forward(listener, upstream.to_owned()));
        Ok(Self { address, upstream: upstream.to_owned(), task })
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends all connections, and accepts none.
    pub async fn cut(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Accepts connections again after [`Self::cut`].
    pub async fn mend(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.task = tokio::spawn(forward(listener, self.upstream.clone()));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(listener: TcpListener, upstream: String) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let upstream = upstream.clone();
        connections.spawn(async move {
            let mut server = TcpStream::connect(upstream).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
