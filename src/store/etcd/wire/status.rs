//! How a call ends: with a code of gRPC and a text.

use hyper::HeaderMap;
use thiserror::Error;

/// Why a server refuses a call. The text is the server's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text} (gRPC status {code})")]
pub(in super::super) struct Status {
    pub(in super::super) code: u32,
    pub(in super::super) text: String,
}

/// What a status means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Meaning {
    /// The token is not valid, or not any more.
    Token,
    /// The user or the password is wrong, or there must be a user.
    Login,
    /// Nobody logs in to this server.
    NoAuth,
    /// The user may not do this.
    Forbidden,
    /// What was asked for is compacted, or is of a revision that is not there.
    Revision,
    /// The server takes no request of this size.
    TooLarge,
    /// The server has no room for more.
    NoSpace,
    /// The server does not serve now.
    Unavailable,
    Other,
}

impl Status {
    /// Returns the status in headers or trailers, if they have one.
    pub(in super::super) fn of(headers: &HeaderMap) -> Option<Result<(), Self>> {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(2);
        let text = headers.get("grpc-message").map(|text| decode(text.as_bytes())).unwrap_or_default();
        Some(if code == 0 { Ok(()) } else { Err(Self { code, text }) })
    }

    /// Servers say the same with different codes, so that the text counts as well.
    pub(in super::super) fn meaning(&self) -> Meaning {
        let says = |words: &str| self.text.contains(words);
        match self.code {
            _ if says("invalid auth token") || says("revision in header is old") => Meaning::Token,
            _ if says("user name is empty")
                || says("invalid user ID or password")
                || says("user name not found") =>
            {
                Meaning::Login
            }
            _ if says("authentication is not enabled") => Meaning::NoAuth,
            _ if says("request is too large") || says("larger than max") => Meaning::TooLarge,
            _ if says("database space exceeded") => Meaning::NoSpace,
            _ if says("permission denied") => Meaning::Forbidden,
            7 => Meaning::Forbidden,
            11 => Meaning::Revision,
            14 => Meaning::Unavailable,
            16 => Meaning::Token,
            _ => Meaning::Other,
        }
    }
}

/// Decodes the percent-encoding of texts in gRPC. What is no such encoding stays as it is.
fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_its_text() {
        let mut headers = HeaderMap::new();
        assert_eq!(Status::of(&headers), None);
        headers.insert("grpc-status", "0".parse().unwrap());
        assert_eq!(Status::of(&headers), Some(Ok(())));
        headers.insert("grpc-status", "16".parse().unwrap());
        headers.insert("grpc-message", "a%20b%C3%BC 100%".parse().unwrap());
        let status = Status::of(&headers).unwrap().unwrap_err();
        assert_eq!((status.code, &*status.text, status.meaning()), (16, "a b\u{fc} 100%", Meaning::Token));
        let old = Status { code: 2, text: "etcdserver: invalid auth token".into() };
        assert_eq!(old.meaning(), Meaning::Token);
    }
}
