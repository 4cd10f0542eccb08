//! The list of all keys, as it is sent: piece by piece, so that it can be longer than the memory, and a
//! client that reads slowly has the server keep little.

use std::mem;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::memory::{Busy, Share};
use super::reply::{Body, Reply, as_json, streamed_json};
use super::route::ListOptions;
use crate::commits::{FullCommit, Heads, Journal, JournalError, Key, Page};
use crate::model::Commit;

/// How many heads are read from the journal at once, and about how many bytes of their payloads.
const HEADS: usize = 200;
const PAYLOADS: usize = 256 << 10;

/// What the heads that are read at once take at most: the last payload can be a long one.
const MAX_HEADS: usize =
    PAYLOADS + Commit::MAX_PAYLOAD + HEADS * (2 * Commit::MAX_AUTHOR + Commit::MAX_COMMENT + ROW);

/// What a head takes beside its texts.
const ROW: usize = 256;

/// A piece ends when it has so many bytes.
const PIECE: usize = 16 << 10;

/// How much of a payload is added to a piece at once. As JSON it has up to six times as many bytes. It can be
/// divided by 3, as base64 wants it.
const CHUNK: usize = 6 << 10;

/// Why a list does not begin.
pub enum ListError {
    Busy(Busy),
    Journal(JournalError),
}

impl From<Busy> for ListError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}

impl From<JournalError> for ListError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Sends the heads of a journal. An error on the way cuts the reply.
pub async fn send(
    journal: Arc<dyn Journal>,
    options: ListOptions,
    share: &Arc<Share>,
) -> Result<Reply, ListError> {
    let mut listing = Listing {
        journal,
        options,
        share: Arc::clone(share),
        heads: Vec::new().into_iter(),
        last: None,
        has_more: true,
        entry: None,
        separator: "",
    };
    listing.read_on().await?;
    let pieces = stream::unfold(Some((listing, "{")), |state| async {
        let (mut listing, mut text) = state.map(|(listing, begin)| (listing, begin.to_owned()))?;
        match listing.piece(&mut text).await {
            Ok(is_over) => {
                listing.share.waits_for_client();
                Some((Ok(Frame::data(Bytes::from(text))), (!is_over).then_some((listing, ""))))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    let body: Body = StreamBody::new(pieces).boxed_unsync();
    Ok(streamed_json(body))
}

/// Where a list stands that is being sent.
struct Listing {
    journal: Arc<dyn Journal>,
    options: ListOptions,
    share: Arc<Share>,
    /// What was read and is not sent.
    heads: vec::IntoIter<FullCommit>,
    last: Option<Key>,
    /// Whether there may be more after these.
    has_more: bool,
    entry: Option<Entry>,
    /// What stands before the next entry.
    separator: &'static str,
}

impl Listing {
    /// Adds the next piece to a text. Returns whether it is the last one.
    async fn piece(&mut self, text: &mut String) -> Result<bool, JournalError> {
        while text.len() < PIECE {
            if let Some(entry) = &mut self.entry {
                if !entry.go_on(text) {
                    self.entry = None;
                }
            } else if let Some(head) = self.heads.next() {
                text.push_str(mem::replace(&mut self.separator, ","));
                self.entry = Some(Entry::begin(head, self.options, text));
            } else if self.has_more {
                self.share.works();
                self.read_on().await.map_err(|error| match error {
                    ListError::Journal(error) => error,
                    ListError::Busy(busy) => JournalError::Unavailable(busy.to_string()),
                })?;
            } else {
                text.push_str("}\r\n");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the next heads.
    async fn read_on(&mut self) -> Result<(), ListError> {
        self.heads = Vec::new().into_iter();
        let ListOptions { all, payload_utf8, payload_base64 } = self.options;
        let page = Page {
            after: self.last.take(),
            limit: HEADS,
            bytes: PAYLOADS,
            with_removed: all,
            with_payloads: payload_utf8 || payload_base64,
        };
        let read = || async { Ok::<_, ListError>(self.journal.heads(&page).await?) };
        let heads = self.share.make(MAX_HEADS, read, size).await?;
        self.last = heads.commits.last().and_then(|head| Key::parse(&head.header.key).ok());
        // A journal that has more has a last one.
        self.has_more = heads.has_more && self.last.is_some();
        self.heads = heads.commits.into_iter();
        Ok(())
    }
}

/// What heads take in memory, and the piece that is made of them.
fn size(heads: &Heads) -> usize {
    let texts = |Commit { key, author, comment, mtime, .. }: &Commit| {
        [key, author, comment, mtime].iter().map(|text| text.len()).sum::<usize>()
    };
    let commits = heads.commits.iter();
    PIECE + commits.map(|head| ROW + texts(&head.header) + head.payload.len()).sum::<usize>()
}

/// A key of the list that is being written.
struct Entry {
    payload: Vec<u8>,
    /// The forms of the payload that are missing; the last one is next.
    forms: Vec<Form>,
    /// How many bytes of the payload this form has.
    at: usize,
}

#[derive(Clone, Copy)]
enum Form {
    Utf8,
    Base64,
}

impl Entry {
    fn begin(head: FullCommit, options: ListOptions, text: &mut String) -> Self {
        let FullCommit { header, payload } = head;
        text.push_str(&as_json(&header.key));
        text.push(':');
        let header = as_json(&header);
        text.push_str(header.strip_suffix('}').unwrap_or(&header));
        let base64 = options.payload_base64.then_some(Form::Base64);
        let utf8 = options.payload_utf8.then_some(Form::Utf8);
        Self { payload, forms: base64.into_iter().chain(utf8).collect(), at: 0 }
    }

    /// Adds the next part to a text. Returns false after the last one.
    fn go_on(&mut self, text: &mut String) -> bool {
        let Some(form) = self.forms.last() else {
            text.push('}');
            return false;
        };
        if self.at == 0 {
            text.push_str(match form {
                Form::Utf8 => r#","payload_utf8":""#,
                Form::Base64 => r#","payload_base64":""#,
            });
        }
        let rest = &self.payload[self.at..];
        self.at += match form {
            Form::Utf8 => add_text(rest, text),
            Form::Base64 => {
                let chunk = &rest[..rest.len().min(CHUNK)];
                BASE64.encode_append(chunk, text);
                chunk.len()
            }
        };
        if self.at == self.payload.len() {
            text.push('"');
            self.at = 0;
            self.forms.pop();
        }
        true
    }
}

/// Adds the beginning of a payload as a part of a text in JSON. What is no UTF-8 becomes U+FFFD. Returns how
/// many bytes of the payload that are.
fn add_text(payload: &[u8], text: &mut String) -> usize {
    let chunk = &payload[..payload.len().min(CHUNK)];
    let (valid, is_wrong, length) = match std::str::from_utf8(chunk) {
        Ok(valid) => (valid, false, chunk.len()),
        Err(error) => {
            let end = error.valid_up_to();
            let valid = std::str::from_utf8(&chunk[..end]).unwrap_or_default();
            match error.error_len() {
                Some(wrong) => (valid, true, end + wrong),
                // The rest of a character is in the next chunk.
                None if chunk.len() < payload.len() => (valid, false, end),
                None => (valid, true, chunk.len()),
            }
        }
    };
    let quoted = as_json(&valid);
    text.push_str(&quoted[1..quoted.len() - 1]);
    if is_wrong {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: &[u8], options: ListOptions) -> serde_json::Value {
        let header = Commit {
            key: "a\"b".to_owned(),
            version: 7,
            author: "eva".to_owned(),
            comment: "}".to_owned(),
            mtime: "2014-02-11T14:01:28.839-08:00".to_owned(),
            empty: false,
        };
        let mut text = String::from("{");
        let mut entry = Entry::begin(FullCommit { header, payload: payload.to_owned() }, options, &mut text);
        loop {
            let before = text.len();
            let goes_on = entry.go_on(&mut text);
            assert!(text.len() - before <= 6 * CHUNK + 32, "a part is short");
            if !goes_on {
                break;
            }
        }
        text.push('}');
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn an_entry_has_the_whole_payload_wherever_its_parts_end() {
        let whole = ListOptions { all: false, payload_utf8: true, payload_base64: true };
        let long = |text: &str, before: usize| [&b"x".repeat(before)[..], text.as_bytes()].concat();
        let mut payloads = vec![Vec::new(), b"\"\\\n\0\x7f".repeat(2 * CHUNK), b"\xff".repeat(CHUNK + 1)];
        for before in CHUNK - 5..CHUNK + 2 {
            payloads.push(long("é€😀", before));
            // Characters that are cut at the end of a chunk, and at the end of all.
            payloads.push([&long("😀", before)[..before + 3], b"\xe2\x82", b"a\xf0\x9f"].concat());
        }
        for payload in payloads {
            let listed = entry(&payload, whole);
            let listed = &listed["a\"b"];
            assert!(listed["payload_utf8"] == *String::from_utf8_lossy(&payload));
            assert!(listed["payload_base64"] == BASE64.encode(&payload));
            assert_eq!((&listed["version"], &listed["comment"]), (&7.into(), &"}".into()));
        }
        let bare = entry(b"x", ListOptions::default());
        assert_eq!(bare["a\"b"].as_object().map(serde_json::Map::len), Some(6));
    }
}
