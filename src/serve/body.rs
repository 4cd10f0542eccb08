//! The bodies of requests and replies, as far as the server keeps them in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::memory::{Busy, Share};
use super::reply::{Body, Reply};
use crate::commits::JournalError;

/// Why the body of a request is not read.
pub enum BodyError {
    TooLarge,
    Busy(Busy),
    /// It ended too early, or is no body.
    Broken(String),
}

/// Reads the body of a request, which has so many bytes at most.
pub async fn read<B>(mut body: B, most: usize, share: &Share) -> Result<Vec<u8>, BodyError>
where
    B: HttpBody + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A client that does not say how much it sends may send the most.
    let announced =
        body.size_hint().upper().map_or(most, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced > most {
        return Err(BodyError::TooLarge);
    }
    share.resize(announced).await.map_err(BodyError::Busy)?;
    let mut read = Vec::with_capacity(announced);
    share.waits_for_client();
    while let Some(frame) = body.frame().await {
        let broken = |error: B::Error| BodyError::Broken(error.into().to_string());
        let Ok(mut data) = frame.map_err(broken)?.into_data() else { continue };
        if read.len() + data.remaining() > most {
            return Err(BodyError::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            read.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    share.works();
    Ok(read)
}

/// How many bytes a reply has. A list is kept in parts, and has none of its own.
pub fn size(reply: &Reply) -> usize {
    reply.body().size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Has a reply keep its share until the client has read all of it.
pub fn with_share(reply: Reply, share: Arc<Share>) -> Reply {
    share.waits_for_client();
    reply.map(|body| Shared { body, share }.boxed_unsync())
}

struct Shared {
    body: Body,
    share: Arc<Share>,
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = JournalError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, JournalError>>> {
        let share = Arc::clone(&self.share);
        // The bytes outlive the body: they wait for the client.
        let kept = |bytes| Bytes::from_owner(Kept { bytes, _share: share });
        Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| frame.map_data(kept))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes that a client has not read yet.
struct Kept {
    bytes: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
