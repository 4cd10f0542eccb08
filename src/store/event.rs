//! What a store tells its daemon.

use crate::model::{State, Subject};

/// What a store tells its daemon.
#[derive(Debug)]
pub enum StoreEvent {
    Observed {
        subject: Subject,
        state: State,
    },
    /// The node exists but cannot be read (no permission, say). Said once per series of failures; the store
    /// tries again with a backoff of at most 30 s, and the next `Observed` says that it healed.
    Unreadable {
        subject: Subject,
        reason: String,
    },
    /// A connection is up. `what` names the server and session for people.
    Connected {
        what: String,
    },
    /// The connection is gone; the store reconnects by itself. Said once per outage.
    Disconnected {
        reason: String,
    },
    /// The connection is still gone, and stays so until somebody does what `reason` says. Said once for each reason
    /// that comes up in an outage.
    Refused {
        reason: String,
    },
    /// Others may read or change what is watched.
    Exposed(Exposure),
    /// A slow resync found a change that no watch had announced. Should never happen, so it is counted.
    MissedChange {
        subject: Subject,
    },
    /// Changes are still found, but later than promised: `reason` says why and what helps. Said once.
    Degraded {
        reason: String,
    },
}

/// To whom a store is more open than it should be. Each is said once in the life of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// What passes between us and `server`, which is on another host, passes in the clear.
    Plaintext {
        server: String,
        /// Whether passwords pass, too.
        with_credentials: bool,
    },
    /// Whoever reaches the server may change what is watched of this node. Only a few nodes are told of.
    Writable(Subject),
    /// There are more nodes of which [`Self::Writable`] is true.
    MoreWritable,
}
