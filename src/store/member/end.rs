//! The far end of a keeper.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::message::{KeeperEvent, KeeperOrder};

/// What a kind of store serves. No more orders mean that all members are to be withdrawn.
pub(in crate::store) struct KeeperEnd {
    pub(in crate::store) orders: UnboundedReceiver<KeeperOrder>,
    pub(in crate::store) events: UnboundedSender<KeeperEvent>,
}
