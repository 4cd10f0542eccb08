//! What the daemon and the half of a store say to each other, beside the bytes of contents.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::model::Facet;
use crate::store::encoding::StateHeader;
use crate::text::within_bytes;

/// Names a subject that the half follows. No number is used twice.
pub(super) type Id = u64;

/// The longest path of a node that is followed.
pub(super) const MAX_PATH: usize = 8 << 10;

/// The longest text for people.
pub(super) const MAX_TEXT: usize = 4 << 10;

/// What the half is told. It is never told a path to run, nor an identity.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToHalf {
    /// What the store is; the body has its settings, without secrets. `memory` is what a half before
    /// asked to remember last. Comes first, and once.
    Start {
        memory: Option<String>,
    },
    /// The answer to [`FromHalf::NeedsLogin`]: the body has the login with its secrets, or this is why there
    /// is none.
    Login {
        error: Option<String>,
    },
    Follow {
        id: Id,
        path: String,
        facet: Facet,
    },
    Leave {
        id: Id,
    },
    Refresh {
        id: Id,
    },
    /// Asks for [`FromHalf::Pong`].
    Ping,
    /// The body continues in the next message, as with [`FromHalf::More`].
    More,
}

/// What the half says. Each is checked before it is believed; see [`super::conduct`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromHalf {
    /// How it is confined, for people. Comes first, and once.
    Ready {
        confinement: String,
    },
    Pong,
    /// The body continues in the next message. Said only where this process may not make files in memory.
    More,
    NeedsLogin,
    /// What the next half must be told, whenever and however this one ends. It replaces what was said before.
    /// A half says this before it reports what follows from it.
    Remember {
        memory: String,
    },
    /// The directory of the store is another one, so that another half must look at it.
    Moved,
    /// The node was removed after it was reported. What is reported next is another one.
    Gone {
        id: Id,
    },
    RootMissing {
        reason: String,
    },
    RootFound,
    /// The body has the content.
    Observed {
        id: Id,
        state: StateHeader,
    },
    Unreadable {
        id: Id,
        reason: String,
    },
    MissedChange {
        id: Id,
    },
    Connected {
        what: String,
        identity: String,
    },
    Disconnected {
        reason: String,
    },
    Refused {
        reason: String,
    },
    Degraded {
        reason: String,
    },
    Plaintext {
        server: String,
        with_credentials: bool,
    },
    Writable {
        path: String,
        facet: Facet,
    },
    MoreWritable,
}

/// Cuts `text` to what a message may have.
pub(super) fn bounded(text: String) -> String {
    match within_bytes(&text, MAX_TEXT) {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The half would be killed for a longer one.
    #[test]
    fn a_text_is_cut_to_what_a_message_may_have() {
        let fitting = "x".repeat(MAX_TEXT);
        assert_eq!(bounded(fitting.clone()), fitting);
        for long in ["x".repeat(MAX_TEXT + 1), "é".repeat(MAX_TEXT), format!("x{}", "😀".repeat(MAX_TEXT))]
        {
            let cut = bounded(long.clone());
            let start = cut.strip_suffix('…').unwrap();
            assert!(cut.len() <= MAX_TEXT && cut.len() > MAX_TEXT - 8 && long.starts_with(start));
        }
    }
}
