//! What a publisher tells those who run it.

use std::fmt;

use crate::text::{count, printable};

/// Something that happened to a publisher, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublisherEvent {
    Connected {
        store: String,
    },
    /// Once for each outage. Saves go on meanwhile.
    StoreAway {
        store: String,
        why: String,
    },
    BecameLeader,
    NoLongerLeader,
    /// A node did not have what the journal has published, but something else that somebody wrote: a
    /// `Display` of [`Intruder`](crate::commits::keeper::Intruder).
    Overwrote {
        key: String,
        what: String,
    },
    /// The key stays as it is in the store, and is tried again. Told once for each reason.
    CannotPublish {
        key: String,
        why: String,
    },
    /// The leader has found so many keys that were missing in the store, or older than in the journal.
    Repaired {
        keys: u64,
    },
    /// The leader has found so many nodes of which the journal knows nothing, this one among them. Told when
    /// there are more or fewer than before.
    Strangers {
        nodes: u64,
        one: String,
    },
    /// The journal cannot be read, so that nothing is published for now. Told once.
    JournalAway {
        why: String,
    },
    RoundFailed {
        why: String,
    },
}

impl fmt::Display for PublisherEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| printable(text.as_bytes());
        match self {
            Self::Connected { store } => write!(f, "commits are published in {store}"),
            Self::StoreAway { store, why } => {
                write!(f, "no commit is published for now, {store} is away: {}", line(why))
            }
            Self::BecameLeader => f.write_str("this server goes over all keys from now on"),
            Self::NoLongerLeader => f.write_str("this server does not go over all keys any more"),
            Self::Overwrote { key, what } => {
                write!(
                    f,
                    "{} was written behind the journal's back and is overwritten: it had {what}",
                    line(key)
                )
            }
            Self::CannotPublish { key, why } => {
                write!(f, "{} is not published, and tried again: {}", line(key), line(why))
            }
            Self::Repaired { keys } => {
                let keys = count(*keys, "key");
                write!(f, "published {keys} of which the store had no commit or an older one")
            }
            Self::Strangers { nodes, one } => {
                let (nodes, one) = (count(*nodes, "node"), line(one));
                write!(
                    f,
                    "the store has {nodes} of which the journal knows nothing, such as {one}; `twitcher rm` \
                     removes what nobody needs"
                )
            }
            Self::JournalAway { why } => write!(f, "no commit is published for now: {}", line(why)),
            Self::RoundFailed { why } => write!(f, "going over all keys failed: {}", line(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_others_wrote() {
        let event = PublisherEvent::CannotPublish { key: "a\u{202e}b".into(), why: "line\nline".into() };
        assert_eq!(event.to_string(), "a\\u{202e}b is not published, and tried again: line\\nline");
        let event = PublisherEvent::Strangers { nodes: 2, one: "a\nb".into() };
        assert_eq!(
            event.to_string(),
            "the store has 2 nodes of which the journal knows nothing, such as a\\nb; `twitcher rm` removes \
             what nobody needs"
        );
        let event = PublisherEvent::Repaired { keys: 1 };
        assert_eq!(event.to_string(), "published 1 key of which the store had no commit or an older one");
    }
}
