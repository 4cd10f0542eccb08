//! What the handle of a publisher asks of its thread.

use tokio::sync::oneshot;

use crate::commits::keeper::{Comparison, PublishError};

/// What the handle asks for.
pub(super) enum Order {
    Compare { repairs: bool, reply: oneshot::Sender<Result<Comparison, PublishError>> },
    Stop { done: oneshot::Sender<()> },
}
