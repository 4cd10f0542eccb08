//! Reading replies and events.
//!
//! Servers of 3.4 to 3.9 send exactly the records below, so that any byte beyond one means that somebody has
//! lost count, and is refused. There are two exceptions: the reply to a failed request may have a body, which
//! is ignored (3.4 and 3.5 send one with a refused login), and a server of 3.3 does not say in its greeting
//! whether it is read-only.

use std::time::Duration;

use thiserror::Error;

use super::code::ErrorCode;
use super::operation::{CHECK, CREATE, DELETE, FAILURE, SET_DATA};
use super::reader::{Malformed, Reader};
use super::several::{NodeData, read_several};
use super::stat::Stat;
use crate::model::{Blob, NodePath};
use crate::store::memory::{self, NoRoom};
use crate::sys::seal_copy;

/// The numbers of messages that are no reply to a numbered request.
pub(crate) const NOTIFICATION_XID: i32 = -1;
pub(crate) const PING_XID: i32 = -2;
pub(crate) const AUTH_XID: i32 = -4;

/// The most children that are kept. The names of a million nodes take about 64 MB while they are read.
const MAX_CHILDREN: usize = 1 << 20;

/// What a child takes in memory beside its name while the list is read, sorted and handed on.
const CHILD_BYTES: usize = 80;

/// What the reply to a request has, if the request succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Data,
    DataOfEach,
    Stat,
    Children,
    Acl,
    Path,
    Multi,
    Token,
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Data(Blob, Stat),
    /// One for each of several nodes.
    DataOfEach(Vec<NodeData>),
    Stat(Stat),
    /// The names as the server lists them. Some may be no names of nodes.
    Children(Vec<String>, Stat),
    Acl(Anyone),
    /// For [`Expected::Path`] and [`Expected::Nothing`]. The path repeats what was asked.
    Done,
    /// One for each part of a multi.
    Multi(Vec<PartResult>),
    Token(Vec<u8>),
    /// What was asked for is larger than we take.
    TooLarge(TooLarge),
    /// What was asked for is large, and what was read before waits for the daemon. It is to be read again.
    Crowded,
}

/// What became of a part of a multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartResult {
    Done,
    /// The version of the data that was set.
    Version(i32),
    /// The multi failed because of this part.
    Failed(ErrorCode),
    /// The multi failed because of another part.
    Undone,
}

/// Why a content is not taken, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TooLarge {
    #[error("it has {0} bytes, more than can be read; keep large content elsewhere")]
    Bytes(usize),
    #[error("it has {0} children, more than can be read; keep large content elsewhere")]
    Children(usize),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl TooLarge {
    /// The announced length of a message that nothing large belongs in, for people.
    pub(crate) fn announced(self) -> Malformed {
        let length = match self {
            Self::Bytes(length) | Self::Children(length) => i32::try_from(length),
            Self::NoRoom(no_room) => i32::try_from(no_room.bytes),
        };
        Malformed::Announced(length.unwrap_or(i32::MAX))
    }
}

/// What everybody may do with a node, by its ACL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anyone(i32);

impl Anyone {
    pub(crate) fn can_write(self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) fn can_create_or_delete(self) -> bool {
        self.0 & (4 | 8) != 0
    }
}

/// The beginning of every message but the first.
pub(crate) struct ReplyHeader {
    pub(crate) xid: i32,
    pub(crate) result: Result<(), ErrorCode>,
}

impl ReplyHeader {
    /// Returns the header and the rest of the message.
    pub(crate) fn read(message: &[u8]) -> Result<(Self, Body<'_>), Malformed> {
        let mut reader = Reader::new(message);
        let xid = reader.i32("a reply's header")?;
        // The last transaction is of use to nobody who reads everything again.
        reader.i64("a reply's header")?;
        let result = match reader.i32("a reply's header")? {
            0 => Ok(()),
            code => Err(ErrorCode::of(code)),
        };
        Ok((Self { xid, result }, Body(reader)))
    }
}

/// What follows a header.
pub(crate) struct Body<'a>(Reader<'a>);

impl Body<'_> {
    pub(crate) fn reply(self, expected: Expected) -> Result<Reply, Malformed> {
        let Self(mut reader) = self;
        let (reply, what) = match expected {
            Expected::Data => {
                let data = reader.bytes("a node's data")?;
                if data.len() > Blob::MAX_INLINE && memory::is_crowded() {
                    return Ok(Reply::Crowded);
                }
                (Reply::Data(seal_copy(data), Stat::read(&mut reader)?), "the reply to getData")
            }
            Expected::DataOfEach => (Reply::DataOfEach(read_several(&mut reader)?), "the reply to multiRead"),
            Expected::Stat => (Reply::Stat(Stat::read(&mut reader)?), "a reply with a stat"),
            Expected::Children => {
                let count = reader.count(4, "a list of children")?;
                if count > MAX_CHILDREN {
                    return Ok(Reply::TooLarge(TooLarge::Children(count)));
                }
                if let Err(no_room) = memory::room_for((count * CHILD_BYTES + reader.len()) as u64) {
                    return Ok(Reply::TooLarge(no_room.into()));
                }
                let mut names = Vec::with_capacity(count);
                for _ in 0..count {
                    names.push(reader.text("the name of a child")?.to_owned());
                }
                (Reply::Children(names, Stat::read(&mut reader)?), "the reply to getChildren2")
            }
            Expected::Acl => {
                let mut anyone = Anyone::default();
                for _ in 0..reader.count(12, "an ACL")? {
                    let permissions = reader.i32("an ACL")?;
                    let who = (reader.text("the scheme of an ACL")?, reader.text("the id of an ACL")?);
                    if who == ("world", "anyone") {
                        anyone.0 |= permissions;
                    }
                }
                Stat::read(&mut reader)?;
                (Reply::Acl(anyone), "the reply to getACL")
            }
            Expected::Path => {
                reader.text("the path in a reply")?;
                (Reply::Done, "a reply with a path")
            }
            Expected::Multi => {
                let mut results = Vec::new();
                while let Some(result) = PartResult::read(&mut reader)? {
                    results.push(result);
                }
                (Reply::Multi(results), "the reply to multi")
            }
            Expected::Token => (Reply::Token(reader.bytes("a token of SASL")?.to_vec()), "a reply of SASL"),
            Expected::Nothing => (Reply::Done, "a reply without content"),
        };
        reader.end(what)?;
        Ok(reply)
    }

    /// Reads an event. Returns `None` for one that is about no node.
    pub(crate) fn event(self) -> Result<Option<Event>, Malformed> {
        let Self(mut reader) = self;
        let what = "an event";
        let kind = match reader.i32(what)? {
            // It is about the session, and clients make it themselves.
            -1 => return Ok(None),
            1 => EventKind::Created,
            2 => EventKind::Deleted,
            3 => EventKind::DataChanged,
            4 => EventKind::ChildrenChanged,
            kind => return Err(Malformed::EventKind(kind)),
        };
        // The state of the session, which is connected.
        reader.i32(what)?;
        let path = reader.path("the path of an event")?;
        reader.end(what)?;
        Ok(Some(Event { kind, path }))
    }
}

impl PartResult {
    /// Returns `None` at the end.
    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let what = "the reply to multi";
        let (operation, is_end) = (reader.i32(what)?, reader.bool(what)?);
        reader.i32(what)?;
        if is_end {
            return Ok(None);
        }
        Ok(Some(match operation {
            CREATE => {
                reader.text("the path in a reply")?;
                Self::Done
            }
            SET_DATA => Self::Version(Stat::read(reader)?.version),
            DELETE | CHECK => Self::Done,
            FAILURE => match reader.i32(what)? {
                // The parts before the one that failed, and those after it.
                0 | -2 => Self::Undone,
                code => Self::Failed(ErrorCode::of(code)),
            },
            operation => return Err(Malformed::Operation(operation)),
        }))
    }
}

/// The announcement of a change, which uses up a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    pub(crate) path: NodePath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Created,
    Deleted,
    DataChanged,
    ChildrenChanged,
}

/// The server's first message: the session that it grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) session: i64,
    pub(crate) timeout: Duration,
    /// What goes on with the session on another connection.
    pub(crate) password: Vec<u8>,
}

impl Greeting {
    pub(crate) fn read(message: &[u8]) -> Result<Self, Malformed> {
        let (mut reader, what) = (Reader::new(message), "the server's greeting");
        // The version of the protocol is 0 for ever.
        reader.i32(what)?;
        let timeout = reader.i32(what)?;
        let session = reader.i64(what)?;
        let password = reader.bytes("the password of a session")?.to_vec();
        let is_read_only = !reader.is_at_end() && reader.bool(what)?;
        reader.end(what)?;
        match u64::try_from(timeout) {
            Ok(_) if session == 0 => Err(Malformed::Session("number 0, which is none")),
            Ok(_) if is_read_only => Err(Malformed::Session("read-only, which was not asked for")),
            Ok(timeout @ 1..) => Ok(Self { session, timeout: Duration::from_millis(timeout), password }),
            Ok(0) | Err(_) => Err(Malformed::Session("over before it began")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this number and code.
    fn header(xid: i32, code: i32) -> Vec<u8> {
        [&xid.to_be_bytes()[..], b"\0\0\0\0\0\0\0\x09", &code.to_be_bytes()].concat()
    }

    fn reply(expected: Expected, body: &[u8]) -> Result<Reply, Malformed> {
        let message = [&header(5, 0), body].concat();
        let (header, body) = ReplyHeader::read(&message)?;
        assert_eq!((header.xid, header.result), (5, Ok(())));
        body.reply(expected)
    }

    /// czxid 1, mzxid 2, ctime 3, mtime 4, version 5, cversion 6, aversion 7, owner 8, length 3, no children,
    /// pzxid 9.
    const STAT: &[u8] = b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\
        \0\0\0\x05\0\0\0\x06\0\0\0\x07\0\0\0\0\0\0\0\x08\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\x09";

    fn stat() -> Stat {
        Stat {
            czxid: 1,
            mzxid: 2,
            ctime: 3,
            mtime: 4,
            version: 5,
            cversion: 6,
            aversion: 7,
            ephemeral_owner: 8,
            data_length: 3,
            num_children: 0,
            pzxid: 9,
        }
    }

    #[test]
    fn replies_are_read() {
        let whole = |body: &[u8]| [body, STAT].concat();
        for (expected, body, read) in [
            (Expected::Data, whole(b"\0\0\0\x03abc"), Reply::Data(b"abc"[..].into(), stat())),
            (Expected::Data, whole(b"\0\0\0\0"), Reply::Data(Blob::default(), stat())),
            (Expected::Data, whole(b"\xff\xff\xff\xff"), Reply::Data(Blob::default(), stat())),
            (Expected::Stat, whole(b""), Reply::Stat(stat())),
            (
                Expected::Children,
                whole(b"\0\0\0\x02\0\0\0\x01b\0\0\0\x02\xc3\xbc"),
                Reply::Children(vec!["b".into(), "\u{fc}".into()], stat()),
            ),
            (Expected::Children, whole(b"\0\0\0\0"), Reply::Children(Vec::new(), stat())),
            (Expected::Children, whole(b"\xff\xff\xff\xff"), Reply::Children(Vec::new(), stat())),
            (
                Expected::Acl,
                whole(
                    b"\0\0\0\x02\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x1f\0\0\0\x04sasl\0\0\0\x01x",
                ),
                Reply::Acl(Anyone(1)),
            ),
            (Expected::Path, b"\0\0\0\x01/".to_vec(), Reply::Done),
            (
                Expected::Multi,
                [
                    &b"\0\0\0\x01\0\0\0\0\0\0\0\0\x02/a\0\0\0\x05\0\0\0\0\0"[..],
                    STAT,
                    b"\xff\xff\xff\xff\0\xff\xff\xff\x99\xff\xff\xff\x99\xff\xff\xff\xff\x01\xff\xff\xff\xff",
                ]
                .concat(),
                Reply::Multi(vec![
                    PartResult::Done,
                    PartResult::Version(5),
                    PartResult::Failed(ErrorCode::BadVersion),
                ]),
            ),
            (Expected::Token, b"\0\0\0\x01t".to_vec(), Reply::Token(b"t".into())),
            (Expected::Nothing, Vec::new(), Reply::Done),
        ] {
            assert_eq!(reply(expected, &body), Ok(read), "{expected:?}");
            // Every part of it is an error, and so is one byte more.
            for cut in 0..body.len() {
                assert!(reply(expected, &body[..cut]).is_err(), "{expected:?}, {cut} bytes");
            }
            let longer = [&body[..], b"x"].concat();
            assert!(
                matches!(reply(expected, &longer), Err(Malformed::TooLong { bytes: 1, .. })),
                "{expected:?}"
            );
        }
    }

    #[test]
    fn counts_and_lengths_that_cannot_be_are_refused_before_memory_is_taken() {
        for (expected, body) in [
            (Expected::Children, &b"\x7f\xff\xff\xff\0\0\0\x01a"[..]),
            (Expected::Children, b"\xff\xff\xff\xfe"),
            (Expected::Children, b"\0\0\0\x03\0\0\0\x01a\0\0\0\x01b"),
            (Expected::Acl, b"\x7f\xff\xff\xff\0\0\0\x01"),
            (Expected::Acl, b"\x80\0\0\0"),
        ] {
            assert!(matches!(reply(expected, body), Err(Malformed::Count { .. })), "{body:?}");
        }
        assert_eq!(
            reply(Expected::Data, b"\xff\xff\xff\xfe"),
            Err(Malformed::Length { what: "a node's data", length: -2 })
        );
        assert_eq!(reply(Expected::Data, b"\x7f\xff\xff\xffabc"), Err(Malformed::Cut("a node's data")));
        assert_eq!(
            reply(Expected::Children, b"\0\0\0\x01\0\0\0\x01\xff"),
            Err(Malformed::NoText("the name of a child"))
        );
        let many = [&(MAX_CHILDREN as u32 + 1).to_be_bytes()[..], &vec![0; 5 * MAX_CHILDREN], STAT].concat();
        assert!(matches!(reply(Expected::Children, &many), Ok(Reply::TooLarge(_))));
    }

    #[test]
    fn events_are_read() {
        let event = |body: &[u8]| {
            let message = [&header(NOTIFICATION_XID, 0), body].concat();
            ReplyHeader::read(&message).unwrap().1.event()
        };
        let path = NodePath::parse("/a/b").unwrap();
        for (number, kind) in [
            (1, EventKind::Created),
            (2, EventKind::Deleted),
            (3, EventKind::DataChanged),
            (4, EventKind::ChildrenChanged),
        ] {
            let body = [b"\0\0\0", &[number][..], b"\0\0\0\x03\0\0\0\x04/a/b"].concat();
            assert_eq!(event(&body), Ok(Some(Event { kind, path: path.clone() })));
            assert!(event(&[&body[..], b"x"].concat()).is_err());
        }
        assert_eq!(event(b"\xff\xff\xff\xff\0\0\0\x03\0\0\0\0"), Ok(None));
        assert_eq!(event(b"\0\0\0\x09\0\0\0\x03\0\0\0\x02/a"), Err(Malformed::EventKind(9)));
        for path in
            [&b"\0\0\0\x03a/b"[..], b"\0\0\0\x05/../b", b"\0\0\0\x03/a\n", b"\0\0\0\0", b"\0\0\0\x02/\xff"]
        {
            assert!(event(&[b"\0\0\0\x03\0\0\0\x03", path].concat()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_greeting_grants_a_session_or_is_refused() {
        let greeting = |timeout: i32, session: i64, end: &[u8]| {
            let body =
                [&timeout.to_be_bytes()[..], &session.to_be_bytes(), b"\0\0\0\x10", &[7; 16], end].concat();
            Greeting::read(&[b"\0\0\0\0", &body[..]].concat())
        };
        let granted = Ok(Greeting { session: -3, timeout: Duration::from_secs(4), password: vec![7; 16] });
        assert_eq!(greeting(4000, -3, b"\0"), granted);
        assert_eq!(greeting(4000, -3, b""), granted);
        assert_eq!(greeting(0, 0, b"\0"), Err(Malformed::Session("number 0, which is none")));
        for (timeout, session, end) in [
            (0, 1, &b"\0"[..]),
            (-1, 1, b"\0"),
            (i32::MIN, 1, b"\0"),
            (1, 0, b"\0"),
            (1, 1, b"\x01"),
            (1, 1, b"\0x"),
        ] {
            assert!(greeting(timeout, session, end).is_err(), "{timeout} {session} {end:?}");
        }
        assert!(Greeting::read(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }
}
