//! The messages between the daemon and a store. They are plain data, so that a store can run in another
//! process.

use serde::{Deserialize, Serialize};

use super::outage::Away;
use crate::model::{State, Subject};

/// What the daemon asks of a store. A router asks the same of a backend, but of single nodes only (`S`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreCommand<S = Subject> {
    /// Report the subject's state now, as soon as it can be read, and after each change.
    Follow(S),
    /// Report the subject no more.
    Leave(S),
    /// Report the state of a followed subject once more, changed or not.
    Refresh(S),
}

/// What a store reports to the daemon. On the way to another process, the state is a
/// [header](super::encoding::StateHeader).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreEvent<S = State> {
    Observed {
        subject: Subject,
        state: S,
    },
    /// The subject exists but cannot be read (for want of permission, say). A store reports this once per
    /// series of failures and tries again at least every 30 s. The next `Observed` means that the subject can
    /// be read again.
    Unreadable {
        subject: Subject,
        reason: String,
    },
    /// A connection is up.
    Connected {
        /// The server and the session, for people.
        what: String,
        /// What the ledger knows the store's versions by. Versions of stores with different identities must
        /// not be compared.
        identity: String,
    },
    /// The connection is lost, and the store reconnects by itself. A store reports this once per outage.
    Disconnected {
        reason: String,
    },
    /// The connection stays lost until somebody does what `reason` says. A store reports each reason once per
    /// outage.
    Refused {
        reason: String,
    },
    /// The store is connected, but the node that is its root does not exist, so that none of its nodes does.
    /// That is a normal state, and often an error in the URL.
    RootMissing {
        reason: String,
    },
    /// The root exists.
    RootFound,
    /// Others can read or change what is watched.
    Exposed(Exposure),
    /// A slow resync found a change that no watch had announced, although the node could be read at the time.
    /// This should never happen, so it is counted.
    MissedChange {
        subject: Subject,
    },
    /// Changes are still found, but later than promised; `reason` says why and what helps. A store reports
    /// this once.
    Degraded {
        reason: String,
    },
    /// A process of its own serves the store from now on. Only the daemon's own end of the channel reports
    /// this, once when the process is started, and once when that is ready.
    HalfStarted(HalfStarted),
    /// Each process after this one, also that of a later daemon, is to be told this. Only the daemon's own
    /// end of the channel reports this.
    Remember {
        memory: String,
    },
    /// That process is no more. Only the daemon's own end of the channel reports this.
    HalfEnded,
}

/// A process that serves a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfStarted {
    pub pid: u32,
    /// Who it is, and how it is confined, for people. `None` until it is.
    pub confinement: Option<String>,
}

impl<S> StoreEvent<S> {
    /// Replaces the state, if this event has one.
    pub(super) fn try_map<T, E>(
        self,
        map: impl FnOnce(&Subject, S) -> Result<T, E>,
    ) -> Result<StoreEvent<T>, E> {
        Ok(match self {
            Self::Observed { subject, state } => {
                StoreEvent::Observed { state: map(&subject, state)?, subject }
            }
            Self::Unreadable { subject, reason } => StoreEvent::Unreadable { subject, reason },
            Self::Connected { what, identity } => StoreEvent::Connected { what, identity },
            Self::Disconnected { reason } => StoreEvent::Disconnected { reason },
            Self::Refused { reason } => StoreEvent::Refused { reason },
            Self::RootMissing { reason } => StoreEvent::RootMissing { reason },
            Self::RootFound => StoreEvent::RootFound,
            Self::Exposed(exposure) => StoreEvent::Exposed(exposure),
            Self::MissedChange { subject } => StoreEvent::MissedChange { subject },
            Self::Degraded { reason } => StoreEvent::Degraded { reason },
            Self::HalfStarted(half) => StoreEvent::HalfStarted(half),
            Self::Remember { memory } => StoreEvent::Remember { memory },
            Self::HalfEnded => StoreEvent::HalfEnded,
        })
    }
}

impl<S> From<Away> for StoreEvent<S> {
    fn from(away: Away) -> Self {
        match away {
            Away::Disconnected { reason } => Self::Disconnected { reason },
            Away::Refused { reason } => Self::Refused { reason },
        }
    }
}

/// How many open nodes are reported one by one. Where more are open to everybody, all of them probably are.
pub(super) const MAX_WRITABLE: usize = 5;

/// To whom a store is more open than it should be. A store reports each of these once in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exposure {
    /// The connection to `server`, which is another host, is not encrypted.
    Plaintext {
        server: String,
        /// Whether credentials are sent over it.
        with_credentials: bool,
    },
    /// Everybody who reaches the server can change what is watched of this node. Only [a few](MAX_WRITABLE)
    /// nodes are named.
    Writable(Subject),
    /// [`Self::Writable`] is true of more nodes than are named.
    MoreWritable,
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::model::{Facet, NodePath};
    use crate::store::encoding::StateHeader;

    fn check_round_trip<T: Debug + PartialEq + Serialize + DeserializeOwned>(message: &T) {
        let sent = serde_json::to_vec(message).unwrap();
        assert_eq!(&serde_json::from_slice::<T>(&sent).unwrap(), message);
    }

    // Events with a content are tested with their encoding.
    #[test]
    fn every_message_survives_the_way_to_another_process() {
        let text = || "text".to_owned();
        for facet in Facet::ALL {
            let subject = Subject { path: NodePath::parse("/git/head").unwrap(), facet };
            check_round_trip(&StoreCommand::Follow(subject.clone()));
            check_round_trip(&StoreCommand::Leave(subject.clone()));
            check_round_trip(&StoreCommand::Refresh(subject.clone()));
        }
        let subject = || Subject { path: NodePath::parse("/git/head").unwrap(), facet: Facet::Data };
        for event in [
            StoreEvent::Observed { subject: subject(), state: State::Absent },
            StoreEvent::Unreadable { subject: subject(), reason: text() },
            StoreEvent::MissedChange { subject: subject() },
            StoreEvent::Exposed(Exposure::Writable(subject())),
            StoreEvent::Connected { what: text(), identity: text() },
            StoreEvent::Disconnected { reason: text() },
            StoreEvent::Refused { reason: text() },
            StoreEvent::RootMissing { reason: text() },
            StoreEvent::RootFound,
            StoreEvent::Exposed(Exposure::Plaintext { server: text(), with_credentials: true }),
            StoreEvent::Exposed(Exposure::MoreWritable),
            StoreEvent::Degraded { reason: text() },
            StoreEvent::HalfStarted(HalfStarted { pid: 7, confinement: Some(text()) }),
            StoreEvent::Remember { memory: text() },
            StoreEvent::HalfEnded,
        ] {
            let (header, blob): (StoreEvent<StateHeader>, _) = event.clone().encode();
            check_round_trip(&header);
            assert_eq!(blob, None);
            assert_eq!(header.decode(None, None).unwrap(), event);
        }
    }
}
