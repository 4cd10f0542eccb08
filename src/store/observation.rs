//! What a backend finds when it reads a node.

use super::StoreEvent;
use crate::model::{NodeContent, NodeSubject, State, Version};

/// What a backend found when it read one part of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The node, or one of its parents, does not exist.
    Absent,
    Present {
        version: Version,
        content: NodeContent,
    },
    /// The node exists but cannot be read, for this reason. A backend reports this once per series of
    /// failures. It tries again at least every 30 s, and its next report shows that the node can be read
    /// again.
    Unreadable(String),
}

impl Observation {
    /// Makes the event that reports this of `subject`.
    pub(super) fn into_event(self, subject: NodeSubject) -> StoreEvent {
        let subject = subject.into();
        match self {
            Self::Absent => StoreEvent::Observed { subject, state: State::Absent },
            Self::Present { version, content } => {
                StoreEvent::Observed { subject, state: State::Present { version, content: content.into() } }
            }
            Self::Unreadable(reason) => StoreEvent::Unreadable { subject, reason },
        }
    }
}
