//! What the daemon and the process of a keeper say to each other.

use serde::{Deserialize, Serialize};

use crate::model::{MemberAcl, NodePath};
use crate::store::half::task::AtEnd;
use crate::store::member::KeeperEvent;

/// The longest name of an owner. That of a directory has the name of its host, of 64 bytes at most.
pub(super) const MAX_OWNER: usize = 256;

/// What the process is told. It is never told a path to run, nor an identity.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToKeeper {
    /// What the store is; the body has its settings, without secrets. `memory` is what a process before this
    /// one asked to [remember](FromKeeper::Remember). Comes first, and once.
    Start {
        at_end: AtEnd,
        memory: Option<String>,
    },
    /// The answer to [`FromKeeper::NeedsLogin`]: the body has the login with its secrets, or this is why
    /// there is none.
    Login {
        error: Option<String>,
    },
    /// The body has the data.
    Announce {
        path: NodePath,
        acl: MemberAcl,
    },
    Withdraw {
        path: NodePath,
    },
    /// The answer to [`KeeperEvent::Opened`]; the body has the former owners.
    Recorded {
        owner: String,
    },
    /// Asks for [`FromKeeper::Pong`].
    Ping,
    /// Withdraw all members, and end.
    Close,
    /// The body continues in the next message.
    More,
}

/// What the process says. Each is checked before it is believed; see [`Standing`](super::standing::Standing).
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromKeeper {
    /// How it is confined, for people. Comes first, and once.
    Ready {
        confinement: String,
    },
    Pong,
    NeedsLogin,
    /// Tell this to each process after this one.
    Remember {
        memory: String,
    },
    Event(KeeperEvent),
    /// The directory of the store is another one, which another process must write to.
    Moved,
}
