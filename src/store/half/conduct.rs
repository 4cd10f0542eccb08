//! What the half of a store may say, and when. The daemon ends a half that breaks these rules: nothing that
//! it says may then be believed.

use std::fmt;

use super::frame::FrameError;
use super::message::{FromHalf, Id, MAX_PATH, MAX_TEXT};
use crate::model::Blob;
use crate::store::encoding::StateHeader;

/// How the half broke the rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Violation {
    Packet,
    Frame(FrameError),
    /// A descriptor came that is no sealed file, or a file that is too long.
    File(String),
    /// Bytes came behind the header, and a file as well.
    TwoBodies,
    /// Bytes or a file came with a message that has none.
    UnexpectedBody,
    TooMuch,
    /// It said this twice, or too early.
    Order(&'static str),
    Text,
    UnknownSubject,
    WrongIdentity,
    /// A state that is none, for this reason.
    State(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet => f.write_str("a packet that is too large, or has too many descriptors"),
            Self::Frame(error) => write!(f, "no message ({error:?})"),
            Self::File(error) => write!(f, "a content that is no sealed file of its own ({error})"),
            Self::TwoBodies => f.write_str("a content in two places"),
            Self::UnexpectedBody => f.write_str("a content where none belongs"),
            Self::TooMuch => f.write_str("a content that is too large"),
            Self::Order(what) => write!(f, "{what} out of turn"),
            Self::Text => f.write_str("a text that is too long"),
            Self::UnknownSubject => f.write_str("a node that it was not asked for"),
            Self::WrongIdentity => f.write_str("that it is another store"),
            Self::State(reason) => write!(f, "an impossible state: {reason}"),
        }
    }
}

/// What the half has said of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Unknown,
    Up,
    Down,
}

/// What a half has said so far, as far as it decides what it may say next.
pub(super) struct Conduct {
    is_ready: bool,
    awaits_login: bool,
    connection: Connection,
    was_connected: bool,
    pings: u32,
    /// The identity that the store must have; `None` if that is not known.
    identity: Option<String>,
}

impl Conduct {
    pub(super) fn new(identity: Option<String>) -> Self {
        Self {
            is_ready: false,
            awaits_login: false,
            connection: Connection::Unknown,
            was_connected: false,
            pings: 0,
            identity,
        }
    }

    pub(super) fn answered_login(&mut self) {
        self.awaits_login = false;
    }

    /// Notes a ping. Returns how many were not answered before.
    pub(super) fn pinged(&mut self) -> u32 {
        let unanswered = self.pings;
        self.pings += 1;
        unanswered
    }

    /// Judges a message with its body. The content of a state is judged when it is decoded. `is_known`
    /// returns whether the half was asked for a subject, however long ago.
    pub(super) fn judge(
        &mut self,
        message: &FromHalf,
        body: &Blob,
        is_known: impl Fn(Id) -> bool,
    ) -> Result<(), Violation> {
        let is_first = matches!(message, FromHalf::Ready { .. });
        self.require(self.is_ready || is_first, "a first word")?;
        let texts_are_short = texts(message).all(|text| text.len() <= MAX_TEXT);
        if !texts_are_short {
            return Err(Violation::Text);
        }
        let has_body = matches!(message, FromHalf::Observed { state: StateHeader::Present { .. }, .. });
        if !has_body && !body.is_empty() {
            return Err(Violation::UnexpectedBody);
        }
        let known = |id: &Id| if is_known(*id) { Ok(()) } else { Err(Violation::UnknownSubject) };
        match message {
            FromHalf::More => Ok(()),
            FromHalf::Ready { .. } => {
                self.require(!self.is_ready, "that it is ready")?;
                self.is_ready = true;
                Ok(())
            }
            FromHalf::Pong => {
                self.require(self.pings > 0, "an answer")?;
                self.pings = 0;
                Ok(())
            }
            FromHalf::NeedsLogin => {
                self.require(!self.awaits_login, "a question for the login")?;
                self.awaits_login = true;
                Ok(())
            }
            FromHalf::Moved { .. } => Ok(()),
            FromHalf::RootMissing { .. } | FromHalf::RootFound => {
                self.require(self.connection == Connection::Up, "a root")
            }
            FromHalf::Observed { id, .. }
            | FromHalf::Unreadable { id, .. }
            | FromHalf::Gone { id }
            | FromHalf::MissedChange { id } => {
                self.require(self.was_connected, "a node")?;
                known(id)
            }
            FromHalf::Connected { identity, .. } => {
                self.require(self.connection != Connection::Up, "a connection")?;
                (self.connection, self.was_connected) = (Connection::Up, true);
                match &self.identity {
                    Some(expected) if expected != identity => Err(Violation::WrongIdentity),
                    Some(_) | None => Ok(()),
                }
            }
            FromHalf::Disconnected { .. } => {
                self.require(self.connection != Connection::Down, "an outage")?;
                self.connection = Connection::Down;
                Ok(())
            }
            FromHalf::Refused { .. } => self.require(self.connection == Connection::Down, "a refusal"),
            FromHalf::Degraded { .. } | FromHalf::Plaintext { .. } | FromHalf::MoreWritable => Ok(()),
            FromHalf::Writable { path, .. } => {
                if path.len() > MAX_PATH {
                    Err(Violation::Text)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn require(&self, allowed: bool, what: &'static str) -> Result<(), Violation> {
        if allowed { Ok(()) } else { Err(Violation::Order(what)) }
    }
}

/// The texts for people in a message.
fn texts(message: &FromHalf) -> impl Iterator<Item = &str> {
    let texts: [Option<&str>; 2] = match message {
        FromHalf::Ready { confinement } => [Some(confinement), None],
        FromHalf::Connected { what, identity } => [Some(what), Some(identity)],
        FromHalf::Unreadable { reason, .. }
        | FromHalf::Disconnected { reason }
        | FromHalf::Refused { reason }
        | FromHalf::RootMissing { reason }
        | FromHalf::Degraded { reason } => [Some(reason), None],
        FromHalf::Plaintext { server, .. } => [Some(server), None],
        FromHalf::Moved { memory } => [Some(memory), None],
        FromHalf::Pong
        | FromHalf::More
        | FromHalf::NeedsLogin
        | FromHalf::RootFound
        | FromHalf::Observed { .. }
        | FromHalf::MissedChange { .. }
        | FromHalf::Gone { .. }
        | FromHalf::Writable { .. }
        | FromHalf::MoreWritable => [None, None],
    };
    texts.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Facet, Version};
    use crate::store::encoding::ContentHeader;

    /// A half that is ready and connected. It was asked for node 1.
    fn connected() -> Conduct {
        let mut conduct = Conduct::new(Some("zk:/".to_owned()));
        say(&mut conduct, &ready()).unwrap();
        say(&mut conduct, &up("zk:/")).unwrap();
        conduct
    }

    fn ready() -> FromHalf {
        FromHalf::Ready { confinement: String::new() }
    }

    fn up(identity: &str) -> FromHalf {
        FromHalf::Connected { what: "server".to_owned(), identity: identity.to_owned() }
    }

    fn down() -> FromHalf {
        FromHalf::Disconnected { reason: String::new() }
    }

    fn absent(id: Id) -> FromHalf {
        FromHalf::Observed { id, state: StateHeader::Absent }
    }

    fn say(conduct: &mut Conduct, message: &FromHalf) -> Result<(), Violation> {
        say_with(conduct, message, b"")
    }

    fn say_with(conduct: &mut Conduct, message: &FromHalf, body: &[u8]) -> Result<(), Violation> {
        conduct.judge(message, &body.into(), |id| id == 1)
    }

    #[test]
    fn a_half_introduces_itself_before_it_says_anything() {
        let mut conduct = Conduct::new(None);
        assert_eq!(say(&mut conduct, &up("any")), Err(Violation::Order("a first word")));
        assert_eq!(say(&mut conduct, &ready()), Ok(()));
        assert_eq!(say(&mut conduct, &ready()), Err(Violation::Order("that it is ready")));
        assert_eq!(say(&mut conduct, &absent(1)), Err(Violation::Order("a node")));
        let refused = FromHalf::Refused { reason: String::new() };
        assert_eq!(say(&mut conduct, &refused), Err(Violation::Order("a refusal")));
        assert_eq!(say(&mut conduct, &down()), Ok(()));
        assert_eq!(say(&mut conduct, &refused), Ok(()));
        assert_eq!(say(&mut conduct, &down()), Err(Violation::Order("an outage")));
        assert_eq!(say(&mut conduct, &up("any")), Ok(()));
        assert_eq!(say(&mut conduct, &up("any")), Err(Violation::Order("a connection")));
        assert_eq!(say(&mut conduct, &absent(1)), Ok(()));
    }

    #[test]
    fn only_what_was_asked_for_is_believed() {
        let mut conduct = connected();
        let version = Version { incarnation: 1, revision: 2, number: 3 };
        let present = StateHeader::Present { version, content: ContentHeader::Data };
        let present = |id| FromHalf::Observed { id, state: present.clone() };
        assert_eq!(say_with(&mut conduct, &present(1), b"abc"), Ok(()));
        assert_eq!(say(&mut conduct, &present(1)), Ok(()));
        assert_eq!(say_with(&mut conduct, &absent(1), b"abc"), Err(Violation::UnexpectedBody));
        let unreadable = |id| FromHalf::Unreadable { id, reason: String::new() };
        for unknown in [present(2), absent(0), FromHalf::MissedChange { id: 2 }, unreadable(2)] {
            assert_eq!(say(&mut conduct, &unknown), Err(Violation::UnknownSubject));
        }
    }

    #[test]
    fn nothing_else_may_be_long_or_come_twice() {
        let mut conduct = connected();
        let long = FromHalf::Degraded { reason: "x".repeat(MAX_TEXT + 1) };
        assert_eq!(say(&mut conduct, &long), Err(Violation::Text));
        let path = FromHalf::Writable { path: "x".repeat(MAX_PATH + 1), facet: Facet::Data };
        assert_eq!(say(&mut conduct, &path), Err(Violation::Text));
        assert_eq!(say_with(&mut conduct, &FromHalf::MoreWritable, b"x"), Err(Violation::UnexpectedBody));
        assert_eq!(say(&mut conduct, &FromHalf::Pong), Err(Violation::Order("an answer")));
        assert_eq!((conduct.pinged(), conduct.pinged()), (0, 1));
        assert_eq!(say(&mut conduct, &FromHalf::Pong), Ok(()));
        assert_eq!(conduct.pinged(), 0);
        let needs_login = FromHalf::NeedsLogin;
        assert_eq!(say(&mut conduct, &needs_login), Ok(()));
        assert_eq!(say(&mut conduct, &needs_login), Err(Violation::Order("a question for the login")));
        conduct.answered_login();
        assert_eq!(say(&mut conduct, &needs_login), Ok(()));
        assert_eq!(say(&mut conduct, &down()), Ok(()));
        assert_eq!(say(&mut conduct, &up("zk:/other")), Err(Violation::WrongIdentity));
    }
}
