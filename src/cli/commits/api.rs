//! What can be asked of a server of commits, with typed answers. An answer that contradicts its question is
//! an error: a command must not take the page of a proxy for a payload.

use std::collections::BTreeMap;
use std::error::Error;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::{Answer, Client, NoAnswer, Question};
use super::refusal::{is_missing_key, nonsense, refusal};
use crate::commits::Key;
use crate::model::Commit;
use crate::text::percent_encoded;

/// The largest header of a commit as JSON: a comment of 4 KiB, of which each character may be escaped.
const MAX_META: usize = 64 << 10;

/// 100,000 keys with headers of some 200 bytes are 20 MiB.
const MAX_LIST: usize = 128 << 20;

/// How many headers of a log are asked for at once.
pub const LOG_PAGE: usize = 200;

/// What is not the same in the journal and in the store.
const MAX_PUBLISHED: usize = 64 << 20;

/// Where a commit was not saved, or not certainly.
#[derive(Debug)]
pub enum Unsaved {
    /// Its version is not the next one, which is this.
    Conflict {
        expected: i64,
    },
    Failed(Box<dyn Error>),
}

impl From<Box<dyn Error>> for Unsaved {
    fn from(error: Box<dyn Error>) -> Self {
        Self::Failed(error)
    }
}

impl From<String> for Unsaved {
    fn from(error: String) -> Self {
        Self::Failed(error.into())
    }
}

/// A commit that is to be saved.
#[derive(Debug)]
pub struct Draft<'a> {
    pub key: &'a Key,
    pub version: i64,
    pub author: &'a str,
    pub comment: &'a str,
    /// `None` removes the key.
    pub payload: Option<Bytes>,
}

/// How a namespace is published.
#[derive(Debug, Deserialize, Serialize)]
pub struct Published {
    /// Whether this server publishes, and no other one.
    pub leader: bool,
    /// The store and the node, if there is one.
    pub keeper: Option<String>,
    /// The first of the keys that differ, or did.
    pub differences: Vec<Difference>,
    /// How many keys differ, or did.
    pub differing: u64,
    /// How many of them are put right.
    pub repaired: u64,
    /// How many keys were compared.
    pub checked: u64,
    /// What keeps the server from publishing now, for people.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// A key whose head in the journal is not what the store has.
#[derive(Debug, Deserialize, Serialize)]
pub struct Difference {
    pub key: String,
    /// The newest version in the journal; none if the journal does not know the key.
    pub journal: Option<i64>,
    /// The version of the commit that the store had, if it had one.
    pub store: Option<i64>,
    /// What the store had that no journal has published, for people.
    pub found: Option<String>,
    pub repaired: bool,
    /// Why it could not be put right.
    #[serde(default)]
    pub failure: Option<String>,
}

#[derive(Deserialize)]
struct Conflict {
    conflict: Versions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    expected_version: i64,
}

impl Client {
    /// Returns the header of a version, or of the head. `None` if the server does not have it.
    pub async fn meta(&self, key: &Key, version: Option<i64>) -> Result<Option<Commit>, Box<dyn Error>> {
        let address = format!("{}/meta", self.address(key, version));
        let answer = self.ask(Question::get(address, MAX_META)).await.map_err(NoAnswer::text)?;
        if is_missing_key(&answer) {
            return Ok(None);
        }
        let meta: Commit = self.json(&answer)?;
        self.require(key, version, &meta).map(|()| Some(meta))
    }

    /// Returns a version, or the head, with its payload.
    pub async fn commit(
        &self,
        key: &Key,
        version: Option<i64>,
    ) -> Result<Option<(Commit, Bytes)>, Box<dyn Error>> {
        let question = Question::get(self.address(key, version), Commit::MAX_PAYLOAD);
        let answer = self.ask(question).await.map_err(NoAnswer::text)?;
        if is_missing_key(&answer) {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(refusal(self, &answer).into());
        }
        let header = header_of(&answer.headers, key)
            .ok_or_else(|| nonsense(self, "the answer has no header X-Rainer-Version"))?;
        self.require(key, version, &header)?;
        Ok(Some((header, answer.body)))
    }

    /// Returns the heads, by their keys.
    pub async fn list(&self, all: bool) -> Result<Vec<Commit>, Box<dyn Error>> {
        let query = if all { "?all=yes" } else { "" };
        let address = format!("{}/{query}", self.base());
        let answer = self.ask(Question::get(address, MAX_LIST)).await.map_err(NoAnswer::text)?;
        let heads: BTreeMap<String, Commit> = self.json(&answer)?;
        let wrong = heads.iter().find(|(key, head)| **key != head.key);
        match wrong {
            Some((key, head)) => {
                Err(nonsense(self, &format!("the list has {:?} for {key:?}", head.key)).into())
            }
            None => Ok(heads.into_values().collect()),
        }
    }

    /// Returns at most [`LOG_PAGE`] and `limit` headers of the versions before this one, newest first.
    pub async fn log_page(
        &self,
        key: &Key,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Option<Vec<Commit>>, Box<dyn Error>> {
        let limit = limit.min(LOG_PAGE);
        let before = before.map_or(String::new(), |before| format!("&before={before}"));
        let address = format!("{}/-/log?limit={limit}{before}", self.address(key, None));
        let question = Question::get(address, LOG_PAGE * MAX_META);
        let answer = self.ask(question).await.map_err(NoAnswer::text)?;
        if is_missing_key(&answer) {
            return Ok(None);
        }
        self.json(&answer).map(Some)
    }

    /// Saves a commit. Returns its header as the server keeps it.
    pub async fn save(&self, draft: &Draft<'_>) -> Result<Commit, Unsaved> {
        let Draft { key, version, author, comment, payload } = draft;
        let mut headers = vec![field("x-rainer-author", author)?, field("x-rainer-comment", comment)?];
        if payload.is_none() {
            headers.push(field("x-rainer-empty", "Yes")?);
        }
        let question = Question {
            method: Method::POST,
            address: self.address(key, Some(*version)),
            headers,
            body: payload.clone().unwrap_or_default(),
            limit: MAX_META,
        };
        let doubt = |what: String| {
            format!("{what}\nWhether {key} was saved is not known: `twitcher commits log` tells")
        };
        let answer = match self.ask(question).await {
            Ok(answer) => answer,
            Err(NoAnswer::Unsent(text)) => return Err(format!("{text}; nothing was saved").into()),
            Err(NoAnswer::Lost(text)) => return Err(doubt(text).into()),
        };
        match answer.status {
            StatusCode::OK => {
                let saved: Commit = self.json(&answer).map_err(|error| doubt(error.to_string()))?;
                self.require(key, Some(*version), &saved).map_err(|error| doubt(error.to_string()))?;
                Ok(saved)
            }
            StatusCode::CONFLICT => {
                let told: Conflict = parse(self, &answer)?;
                Err(Unsaved::Conflict { expected: told.conflict.expected_version })
            }
            // The server itself may not know.
            status if status.is_server_error() || status.is_success() => {
                Err(doubt(refusal(self, &answer)).into())
            }
            _ => Err(refusal(self, &answer).into()),
        }
    }

    /// Compares the journal with the store, and makes the store what the journal is if `repair`.
    pub async fn published(&self, repair: bool) -> Result<Published, Box<dyn Error>> {
        let address = format!("{}/-/published/{}", self.url.prefix, self.url.namespace);
        let mut question = Question::get(address, MAX_PUBLISHED);
        if repair {
            question.method = Method::POST;
        }
        let answer = self.ask(question).await.map_err(NoAnswer::text)?;
        self.json(&answer)
    }

    fn base(&self) -> String {
        format!("{}/{}", self.url.prefix, self.url.namespace)
    }

    fn address(&self, key: &Key, version: Option<i64>) -> String {
        let version = version.map_or(String::new(), |version| format!("/{version}"));
        format!("{}/{}{version}", self.base(), percent_encoded(key.as_str()))
    }

    fn json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Box<dyn Error>> {
        match answer.status {
            StatusCode::OK => parse(self, answer),
            _ => Err(refusal(self, answer).into()),
        }
    }

    /// Returns an error unless the header is what was asked for.
    fn require(&self, key: &Key, version: Option<i64>, header: &Commit) -> Result<(), Box<dyn Error>> {
        let is_it = header.key == key.as_str()
            && header.version >= 1
            && version.is_none_or(|version| version == header.version);
        if is_it {
            return Ok(());
        }
        let wanted = version.map_or(String::new(), |version| format!(" version {version}"));
        let (other, number) = (&header.key, header.version);
        Err(nonsense(self, &format!("asked for {key:?}{wanted}, it answers {other:?} version {number}"))
            .into())
    }
}

fn parse<T: DeserializeOwned>(client: &Client, answer: &Answer) -> Result<T, Box<dyn Error>> {
    let wrong = |error| nonsense(client, &format!("the answer is not the JSON that it should be ({error})"));
    Ok(serde_json::from_slice(&answer.body).map_err(wrong)?)
}

/// Makes a field of a request's head. Texts go as UTF-8.
fn field(name: &'static str, text: &str) -> Result<(HeaderName, HeaderValue), Box<dyn Error>> {
    let value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("{text:?} has a control character, which no author and no comment has"))?;
    Ok((HeaderName::from_static(name), value))
}

/// Reads the header of a commit from the head of an answer. `None` if there is no version.
fn header_of(headers: &HeaderMap, key: &Key) -> Option<Commit> {
    let text = |name: &str| headers.get(name).map(|value| text(value.as_bytes()));
    Some(Commit {
        // A server that has it in another encoding than UTF-8 was asked for nothing else.
        key: text("x-rainer-key").filter(|told| told.is_ascii()).unwrap_or_else(|| key.to_string()),
        version: text("x-rainer-version")?.trim().parse().ok()?,
        author: text("x-rainer-author").unwrap_or_default(),
        comment: text("x-rainer-comment").unwrap_or_default(),
        mtime: text("x-rainer-modified-time").unwrap_or_default(),
        empty: text("x-rainer-empty").is_some_and(|empty| {
            ["yes", "true", "1"].iter().any(|word| empty.trim().eq_ignore_ascii_case(word))
        }),
    })
}

/// Returns the text of a field. What is no UTF-8 is Latin-1.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_answer_tells_of_a_commit_in_any_encoding() {
        let mut headers = HeaderMap::new();
        let key = Key::parse("foo").unwrap();
        assert_eq!(header_of(&headers, &key), None);
        for (name, value) in [
            ("x-rainer-version", &b" 7 "[..]),
            ("x-rainer-key", b"bar"),
            ("x-rainer-author", "zoë".as_bytes()),
            ("x-rainer-comment", b"caf\xe9"),
            ("x-rainer-empty", b"True"),
        ] {
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        }
        let header = header_of(&headers, &key).unwrap();
        assert_eq!((&*header.key, header.version, header.empty), ("bar", 7, true));
        assert_eq!((&*header.author, &*header.comment, &*header.mtime), ("zoë", "café", ""));
    }
}
