//! Reading the parts of one message.

use thiserror::Error;

use crate::model::NodePath;

/// What no server says. It names the part of the message, and quotes no more than numbers of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    #[error("it announces a message of {0} bytes")]
    Announced(i32),
    #[error("{0} ends too early")]
    Cut(&'static str),
    #[error("{what} has a length of {length}")]
    Length { what: &'static str, length: i32 },
    #[error("{what} announces {count} entries in {bytes} bytes")]
    Count { what: &'static str, count: i32, bytes: usize },
    #[error("{0} is not UTF-8")]
    NoText(&'static str),
    #[error("{0} is no node path")]
    NoPath(&'static str),
    #[error("{what} has {bytes} bytes too many")]
    TooLong { what: &'static str, bytes: usize },
    #[error("{0} is no kind of event")]
    EventKind(i32),
    #[error("{0} is no operation of a multi")]
    Operation(i32),
    #[error("the session is {0}")]
    Session(&'static str),
}

/// The unread rest of a message. `what` names a part of it for errors.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Cut(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed::Cut(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, Malformed> {
        self.array(what).map(i64::from_be_bytes)
    }

    pub(super) fn bool(&mut self, what: &'static str) -> Result<bool, Malformed> {
        self.array(what).map(|[byte]| byte != 0)
    }

    /// Reads bytes with their length before them. The length -1 stands for none at all, which is the same as
    /// empty to everybody.
    pub(super) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.i32(what)?;
        match usize::try_from(length) {
            Ok(length) => self.take(length, what),
            Err(_) if length == -1 => Ok(&[]),
            Err(_) => Err(Malformed::Length { what, length }),
        }
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| Malformed::NoText(what))
    }

    pub(super) fn path(&mut self, what: &'static str) -> Result<NodePath, Malformed> {
        NodePath::parse(self.text(what)?).map_err(|_| Malformed::NoPath(what))
    }

    /// Reads the number of entries that follow, each of which takes at least `least` bytes.
    pub(super) fn count(&mut self, least: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = self.i32(what)?;
        let bytes = self.rest.len();
        match usize::try_from(count) {
            Ok(count) if count <= bytes / least => Ok(count),
            Err(_) if count == -1 => Ok(0),
            Ok(_) | Err(_) => Err(Malformed::Count { what, count, bytes }),
        }
    }

    /// How many bytes are not read yet.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Checks that the whole message was read.
    pub(super) fn end(&self, what: &'static str) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(Malformed::TooLong { what, bytes }),
        }
    }
}
