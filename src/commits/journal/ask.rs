//! Asking the thread that has a journal's connection.

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::error::{JournalError, unavailable};
use super::interface::Answer;

/// How many questions wait for a thread at most. A save waits with its payload, also after its client has
/// left.
pub(super) const QUEUE: usize = 512;

/// Where the answer to a question goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// Asks a question. `send` sends it, and tells whether that was possible: not if [`QUEUE`] others wait.
pub(super) fn ask<'a, T: Send + 'static>(send: impl FnOnce(Reply<T>) -> bool) -> Answer<'a, T> {
    let (reply, answer) = oneshot::channel();
    let was_sent = send(reply);
    async move {
        match was_sent {
            true => answer.await.map_err(unavailable)?,
            false => Err(unavailable(format_args!("{QUEUE} requests wait for it already"))),
        }
    }
    .boxed()
}
