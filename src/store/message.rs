//! The messages between the daemon and a store. They are plain data, so that a store can run in another
//! process.

use serde::{Deserialize, Serialize};

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

/// What a store reports to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreEvent {
    Observed {
        subject: Subject,
        state: State,
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
}

/// To whom a store is more open than it should be. A store reports each of these once in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exposure {
    /// The connection to `server`, which is another host, is not encrypted.
    Plaintext {
        server: String,
        /// Whether credentials are sent over it.
        with_credentials: bool,
    },
    /// Everybody who reaches the server can change what is watched of this node. Only a few nodes are named.
    Writable(Subject),
    /// [`Self::Writable`] is true of more nodes than are named.
    MoreWritable,
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::Arc;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::model::{Content, NodePath, Tree, Version};

    fn check_round_trip<T: Debug + PartialEq + Serialize + DeserializeOwned>(message: &T) {
        let sent = serde_json::to_vec(message).unwrap();
        assert_eq!(&serde_json::from_slice::<T>(&sent).unwrap(), message);
    }

    #[test]
    fn every_message_survives_the_way_to_another_process() {
        let subject = |facet| Subject { path: NodePath::parse("/git/head").unwrap(), facet };
        let text = || "text".to_owned();
        let version = Version { incarnation: i64::MIN, revision: i64::MAX, number: -1 };
        for content in [
            Content::Data(Arc::from(*b"\0\xff\n")),
            Content::Children(["a".to_owned(), "\u{fc}".to_owned()].into()),
            Content::Tree(Tree::sample(&[("/git/head", 1), ("/git/head/a", 2)])),
        ] {
            let subject = subject(content.facet());
            check_round_trip(&StoreCommand::Follow(subject.clone()));
            check_round_trip(&StoreCommand::Leave(subject.clone()));
            check_round_trip(&StoreCommand::Refresh(subject.clone()));
            check_round_trip(&StoreEvent::Unreadable { subject: subject.clone(), reason: text() });
            check_round_trip(&StoreEvent::MissedChange { subject: subject.clone() });
            check_round_trip(&StoreEvent::Exposed(Exposure::Writable(subject.clone())));
            check_round_trip(&StoreEvent::Observed { subject: subject.clone(), state: State::Absent });
            let state = State::Present { version, content };
            check_round_trip(&StoreEvent::Observed { subject, state });
        }
        for event in [
            StoreEvent::Connected { what: text(), identity: text() },
            StoreEvent::Disconnected { reason: text() },
            StoreEvent::Refused { reason: text() },
            StoreEvent::RootMissing { reason: text() },
            StoreEvent::RootFound,
            StoreEvent::Exposed(Exposure::Plaintext { server: text(), with_credentials: true }),
            StoreEvent::Exposed(Exposure::MoreWritable),
            StoreEvent::Degraded { reason: text() },
        ] {
            check_round_trip(&event);
        }
    }
}
