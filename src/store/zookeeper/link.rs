//! Moving the bytes of a session between its protocol and the network.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use super::protocol::{Ended, Incoming, Protocol};
use super::wire::Request;

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// How much is read at once. A larger message is read in parts.
const READ: usize = 16 << 10;

/// How long a server may take to close a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Link {
    stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
    /// Whether something was written that the stream may keep back.
    is_dirty: bool,
}

impl Link {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, buffer: vec![0; READ].into(), is_dirty: false }
    }

    /// Sends what is to be sent, and waits for what comes next. Can be dropped at any time.
    pub(super) async fn next(&mut self, protocol: &mut Protocol) -> Result<Incoming, Ended> {
        poll_fn(|context| self.poll_next(context, protocol)).await
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        protocol: &mut Protocol,
    ) -> Poll<Result<Incoming, Ended>> {
        if let Poll::Ready(Err(error)) = self.poll_send(context, protocol) {
            return Poll::Ready(Err(lost(&error)));
        }
        loop {
            let now = Instant::now();
            if let Some(incoming) = protocol.next(now)? {
                return Poll::Ready(Ok(incoming));
            }
            if protocol.is_held_back(now) {
                // The caller looks again when the protocol is due.
                return Poll::Pending;
            }
            match ready!(self.poll_read(context)) {
                Ok(bytes) => protocol.receive(bytes, now),
                Err(error) => return Poll::Ready(Err(lost(&error))),
            }
        }
    }

    /// Sends what is to be sent, and reads nothing. Can be dropped at any time.
    pub(super) async fn send(&mut self, protocol: &mut Protocol) -> io::Result<()> {
        poll_fn(|context| self.poll_send(context, protocol)).await
    }

    /// Writes all of `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads some bytes, at least one.
    pub(super) async fn read(&mut self) -> io::Result<&[u8]> {
        let length = poll_fn(|context| self.poll_read(context).map_ok(<[u8]>::len)).await?;
        Ok(&self.buffer[..length])
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        match buffer.filled().len() {
            0 => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            length => Poll::Ready(Ok(&self.buffer[..length])),
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, protocol: &mut Protocol) -> Poll<io::Result<()>> {
        while !protocol.output().is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, protocol.output()))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            protocol.sent(written);
            self.is_dirty = true;
        }
        if self.is_dirty {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the session, and waits at most a second until the server has done so, so that the server does
    /// not keep it until it expires.
    pub(super) async fn close(mut self, mut protocol: Protocol) {
        protocol.request(Request::Close, Instant::now());
        let closed = async { while self.next(&mut protocol).await.is_ok() {} };
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }
}

fn lost(error: &io::Error) -> Ended {
    Ended::Connection(match error.kind() {
        ErrorKind::UnexpectedEof => "the server closed it".to_owned(),
        _ => error.to_string(),
    })
}
