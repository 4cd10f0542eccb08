//! What the half of a store may say, and when. The daemon ends a half that breaks these rules: nothing that
//! it says may then be believed.

use std::fmt;

use super::frame::FrameError;
use super::message::{FromHalf, Id, MAX_PATH, MAX_TEXT};
use crate::model::Blob;
use crate::store::backend::Capabilities;
use crate::store::encoding::StateHeader;
use crate::store::message::MAX_WRITABLE;

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
    /// No store of its kind says this.
    Kind(&'static str),
    /// It told too often who can reach its store.
    Exposures,
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
            Self::Kind(what) => write!(f, "{what}, which no store of this kind has"),
            Self::Exposures => f.write_str("again and again who can read or change its nodes"),
            Self::Text => f.write_str("a text that is too long"),
            Self::UnknownSubject => f.write_str("a node that it was not asked for"),
            Self::WrongIdentity => f.write_str("that it is another store"),
            Self::State(reason) => write!(f, "an impossible state: {reason}"),
        }
    }
}

/// How often a half may tell who can reach its store, which is a line of the log each time. An honest one
/// says once that its connection is not encrypted, names some nodes, and says once that there are more.
const MAX_EXPOSURES: usize = 2 * (1 + MAX_WRITABLE + 1);

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
    /// How often it told who can reach its store.
    exposures: usize,
    capabilities: Capabilities,
    /// The identity that the store must have; `None` if that is not known.
    identity: Option<String>,
}

impl Conduct {
    pub(super) fn new(identity: Option<String>, capabilities: Capabilities) -> Self {
        Self {
            is_ready: false,
            awaits_login: false,
            connection: Connection::Unknown,
            was_connected: false,
            pings: 0,
            exposures: 0,
            capabilities,
            identity,
        }
    }

    pub(super) fn answered_login(&mut self) {
        self.awaits_login = false;
    }

    pub(super) fn awaits_pong(&self) -> bool {
        self.pings > 0
    }

    /// Notes a ping.
    pub(super) fn pinged(&mut self) {
        self.pings += 1;
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
        if let Some(what) = foreign(message, self.capabilities) {
            return Err(Violation::Kind(what));
        }
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
                self.pings -= 1;
                Ok(())
            }
            FromHalf::NeedsLogin => {
                self.require(!self.awaits_login, "a question for the login")?;
                self.awaits_login = true;
                Ok(())
            }
            FromHalf::Moved | FromHalf::Remember { .. } | FromHalf::Degraded { .. } => Ok(()),
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
            FromHalf::Plaintext { .. } | FromHalf::MoreWritable => self.exposed(),
            FromHalf::Writable { path, .. } if path.len() > MAX_PATH => Err(Violation::Text),
            FromHalf::Writable { .. } => self.exposed(),
        }
    }

    fn exposed(&mut self) -> Result<(), Violation> {
        self.exposures += 1;
        if self.exposures > MAX_EXPOSURES { Err(Violation::Exposures) } else { Ok(()) }
    }

    fn require(&self, allowed: bool, what: &'static str) -> Result<(), Violation> {
        if allowed { Ok(()) } else { Err(Violation::Order(what)) }
    }
}

/// Returns what a message is about, if no store that can do this says it. This is the one place that decides
/// what each kind of store may say.
fn foreign(message: &FromHalf, store: Capabilities) -> Option<&'static str> {
    let (is_own, what) = match message {
        FromHalf::NeedsLogin => (store.is_remote, "a question for the login"),
        FromHalf::Plaintext { .. } => (store.is_remote, "a connection over a network"),
        FromHalf::Writable { .. } | FromHalf::MoreWritable => {
            (store.has_acls, "nodes that others can change")
        }
        FromHalf::Moved | FromHalf::Remember { .. } | FromHalf::Gone { .. } => {
            (store.can_move, "another directory")
        }
        FromHalf::RootMissing { .. } | FromHalf::RootFound => {
            (store.can_lack_root, "a root that can be missing")
        }
        // All of them.
        FromHalf::Ready { .. }
        | FromHalf::Pong
        | FromHalf::More
        | FromHalf::Observed { .. }
        | FromHalf::Unreadable { .. }
        | FromHalf::MissedChange { .. }
        | FromHalf::Connected { .. }
        | FromHalf::Disconnected { .. }
        | FromHalf::Refused { .. }
        | FromHalf::Degraded { .. } => return None,
    };
    (!is_own).then_some(what)
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
        FromHalf::Remember { memory } => [Some(memory), None],
        FromHalf::Moved
        | FromHalf::Pong
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

    const SERVER: Capabilities = Capabilities {
        durable_versions: true,
        reserved_child: None,
        is_remote: true,
        has_acls: true,
        can_move: false,
        can_lack_root: true,
    };

    const DIRECTORY: Capabilities = Capabilities {
        durable_versions: false,
        reserved_child: None,
        is_remote: false,
        has_acls: false,
        can_move: true,
        can_lack_root: false,
    };

    /// A half of a server that is ready and connected. It was asked for node 1.
    fn connected() -> Conduct {
        let mut conduct = Conduct::new(Some("zk:/".to_owned()), SERVER);
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
        let mut conduct = Conduct::new(None, SERVER);
        assert_eq!(say(&mut conduct, &up("any")), Err(Violation::Order("a first word")));
        assert_eq!(say(&mut conduct, &ready()), Ok(()));
        assert_eq!(say(&mut conduct, &ready()), Err(Violation::Order("that it is ready")));
        assert_eq!(say(&mut conduct, &absent(1)), Err(Violation::Order("a node")));
        let root_missing = FromHalf::RootMissing { reason: String::new() };
        assert_eq!(say(&mut conduct, &root_missing), Err(Violation::Order("a root")));
        let refused = FromHalf::Refused { reason: String::new() };
        assert_eq!(say(&mut conduct, &refused), Err(Violation::Order("a refusal")));
        assert_eq!(say(&mut conduct, &down()), Ok(()));
        assert_eq!(say(&mut conduct, &refused), Ok(()));
        assert_eq!(say(&mut conduct, &down()), Err(Violation::Order("an outage")));
        assert_eq!(say(&mut conduct, &FromHalf::RootFound), Err(Violation::Order("a root")));
        assert_eq!(say(&mut conduct, &up("any")), Ok(()));
        assert_eq!(say(&mut conduct, &up("any")), Err(Violation::Order("a connection")));
        assert_eq!(say(&mut conduct, &absent(1)), Ok(()));
        assert_eq!(say(&mut conduct, &root_missing), Ok(()));
    }

    #[test]
    fn only_what_was_asked_for_is_believed() {
        let mut conduct = connected();
        let version = Version { incarnation: 1, revision: 2, number: 3 };
        let present =
            StateHeader::Present { version, origin: Default::default(), content: ContentHeader::Data };
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
        (0..2).for_each(|_| conduct.pinged());
        assert_eq!(say(&mut conduct, &FromHalf::Pong), Ok(()));
        assert_eq!(say(&mut conduct, &FromHalf::Pong), Ok(()));
        assert_eq!(say(&mut conduct, &FromHalf::Pong), Err(Violation::Order("an answer")));
        let needs_login = FromHalf::NeedsLogin;
        assert_eq!(say(&mut conduct, &needs_login), Ok(()));
        assert_eq!(say(&mut conduct, &needs_login), Err(Violation::Order("a question for the login")));
        conduct.answered_login();
        assert_eq!(say(&mut conduct, &needs_login), Ok(()));
        assert_eq!(say(&mut conduct, &down()), Ok(()));
        assert_eq!(say(&mut conduct, &up("zk:/other")), Err(Violation::WrongIdentity));
    }

    #[test]
    fn a_half_says_only_what_its_kind_of_store_has() {
        let of_a_server = || {
            [
                FromHalf::NeedsLogin,
                FromHalf::Plaintext { server: String::new(), with_credentials: true },
                FromHalf::Writable { path: "/n".to_owned(), facet: Facet::Data },
                FromHalf::MoreWritable,
                FromHalf::RootMissing { reason: String::new() },
                FromHalf::RootFound,
            ]
        };
        let of_a_directory =
            || [FromHalf::Remember { memory: String::new() }, FromHalf::Gone { id: 1 }, FromHalf::Moved];
        let said = |store: Capabilities, message: &FromHalf| {
            let mut conduct = Conduct::new(None, store);
            say(&mut conduct, &ready()).unwrap();
            say(&mut conduct, &up("any")).unwrap();
            say(&mut conduct, message)
        };
        for message in of_a_server() {
            assert_eq!(said(SERVER, &message), Ok(()));
            assert!(matches!(said(DIRECTORY, &message), Err(Violation::Kind(_))), "{message:?}");
        }
        for message in of_a_directory() {
            assert_eq!(said(DIRECTORY, &message), Ok(()));
            assert!(matches!(said(SERVER, &message), Err(Violation::Kind(_))), "{message:?}");
        }
    }

    #[test]
    fn a_half_cannot_tell_for_ever_who_reaches_its_store() {
        let writable = |number| FromHalf::Writable { path: format!("/{number}"), facet: Facet::Data };
        let plaintext =
            |number: usize| FromHalf::Plaintext { server: number.to_string(), with_credentials: false };
        let messages: [&dyn Fn(usize) -> FromHalf; 3] = [&writable, &plaintext, &|_| FromHalf::MoreWritable];
        for message in messages {
            let mut conduct = connected();
            for number in 0..MAX_EXPOSURES {
                assert_eq!(say(&mut conduct, &message(number)), Ok(()));
            }
            assert_eq!(say(&mut conduct, &message(MAX_EXPOSURES)), Err(Violation::Exposures));
        }
    }
}
