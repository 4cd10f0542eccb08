//! What is to be done about a node, by what it has and what the journal's newest commit of its key is.
//! Nothing here does IO.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::commits::commit::{FullCommit, encode};
use crate::model::Commit;
use crate::text::{printable, shortened};
use crate::value::commit::decode;

/// What makes a node the one that its commit calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Write,
    Remove,
}

/// A node compared with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub act: Act,
    /// What somebody has written who did not ask the journal.
    pub intruder: Option<Intruder>,
    /// The version of the commit in the node, if it has one.
    pub found: Option<i64>,
}

/// What no journal has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intruder {
    /// A version that the journal does not have.
    Newer { version: i64, author: String },
    /// Another commit than the journal's of the same version.
    Other { version: i64, author: String },
    /// No commit, for this reason.
    NoCommit(String),
}

/// The longest part of what somebody else wrote that is shown.
const MAX_SHOWN: usize = 64;

impl fmt::Display for Intruder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |author: &str| printable(shortened(author, MAX_SHOWN).as_bytes());
        match self {
            Self::Newer { version, author } => {
                write!(f, "version {version} by {}, which the journal does not have", by(author))
            }
            Self::Other { version, author } => {
                write!(f, "another version {version} than the journal's, by {}", by(author))
            }
            Self::NoCommit(why) => {
                write!(f, "no commit ({})", printable(shortened(why, 4 * MAX_SHOWN).as_bytes()))
            }
        }
    }
}

/// Compares the data of the node `name`, if it exists, with the newest commit of its key.
pub fn judge(commit: &FullCommit, name: &str, data: Option<&[u8]>) -> Verdict {
    let act = if commit.header.empty { Act::Remove } else { Act::Write };
    let verdict = |act, intruder, found| Verdict { act, intruder, found };
    let Some(data) = data else {
        let act = if commit.header.empty { Act::Nothing } else { Act::Write };
        return verdict(act, None, None);
    };
    // So is nearly every node: it is what we have written.
    if !commit.header.empty && commit.header.key == name && encode(commit) == data {
        return verdict(Act::Nothing, None, Some(commit.header.version));
    }
    let (found, payload) = match decode(data, name) {
        Ok(found) => found,
        Err(fault) => return verdict(act, Some(Intruder::NoCommit(fault.to_string())), None),
    };
    let (version, newest) = (found.version, commit.header.version);
    if version == newest
        && !commit.header.empty
        && is_same(&found, &commit.header)
        && payload == commit.payload
    {
        return verdict(Act::Nothing, None, Some(version));
    }
    let author = found.author;
    let intruder = match version {
        _ if version < newest => None,
        _ if version == newest => Some(Intruder::Other { version, author }),
        _ => Some(Intruder::Newer { version, author }),
    };
    verdict(act, intruder, Some(version))
}

/// Whether both are headers of one commit. Another server may write the same time in another way.
fn is_same(one: &Commit, other: &Commit) -> bool {
    let time = |commit: &Commit| OffsetDateTime::parse(&commit.mtime, &Rfc3339).ok();
    let is_same_time = one.mtime == other.mtime || (time(one).is_some() && time(one) == time(other));
    let Commit { key, version, author, comment, mtime: _, empty } = one;
    is_same_time
        && (key, version, author, comment, empty)
            == (&other.key, &other.version, &other.author, &other.comment, &other.empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(version: i64, payload: &str) -> FullCommit {
        let header = Commit {
            key: "foo".to_owned(),
            version,
            author: "gian".to_owned(),
            comment: "rofl".to_owned(),
            mtime: "2014-02-11T14:01:28.839-08:00".to_owned(),
            empty: false,
        };
        FullCommit { header, payload: payload.into() }
    }

    fn removal(version: i64) -> FullCommit {
        let mut commit = commit(version, "");
        commit.header.empty = true;
        commit
    }

    fn judged(head: &FullCommit, data: Option<&[u8]>) -> (Act, Option<String>, Option<i64>) {
        let Verdict { act, intruder, found } = judge(head, "foo", data);
        (act, intruder.map(|intruder| intruder.to_string()), found)
    }

    #[test]
    fn the_newest_commit_is_published_and_what_is_there_already_stays() {
        let head = commit(2, "b");
        assert_eq!(judged(&head, None), (Act::Write, None, None));
        assert_eq!(judged(&head, Some(&encode(&commit(1, "a")))), (Act::Write, None, Some(1)));
        assert_eq!(judged(&head, Some(&encode(&head))), (Act::Nothing, None, Some(2)));
    }

    #[test]
    fn a_commit_is_the_same_however_its_header_is_written() {
        let head = commit(2, "b");
        let text = r#"{"version":2, "key":"foo", "mtime":"2014-02-11T22:01:28.839Z", "x":[1],
            "comment":"rofl", "author":"gian"}"#;
        let data = format!("{}\n{text}\nb\n", text.len());
        assert_eq!(judged(&head, Some(data.as_bytes())), (Act::Nothing, None, Some(2)));
    }

    #[test]
    fn what_the_journal_does_not_have_is_overwritten_and_told() {
        let head = commit(2, "b");
        let other = "another version 2 than the journal's, by gian";
        assert_eq!(
            judged(&head, Some(&encode(&commit(2, "B")))),
            (Act::Write, Some(other.to_owned()), Some(2))
        );
        for change in [
            |header: &mut Commit| header.comment = "lol".to_owned(),
            |header: &mut Commit| header.mtime = "2014-02-11T14:01:28.840-08:00".to_owned(),
            |header: &mut Commit| header.empty = true,
        ] {
            let mut commit = commit(2, "b");
            change(&mut commit.header);
            let verdict = judged(&head, Some(&encode(&commit)));
            assert_eq!(verdict, (Act::Write, Some(other.to_owned()), Some(2)));
        }
        let mut newer = commit(3, "c");
        newer.header.author = "e\nva".to_owned();
        let (act, intruder, found) = judged(&head, Some(&encode(&newer)));
        assert_eq!((act, found), (Act::Write, Some(3)));
        assert_eq!(intruder.as_deref(), Some("version 3 by e\\nva, which the journal does not have"));
        for data in [&b""[..], b"x", b"{\"a\":1}", b"\0\xff"] {
            let (act, intruder, found) = judged(&head, Some(data));
            assert_eq!((act, found), (Act::Write, None));
            assert!(intruder.is_some_and(|intruder| intruder.starts_with("no commit (byte 0: ")), "{data:?}");
        }
        let mut alien = commit(7, "c");
        alien.header.key = "bar".to_owned();
        let (act, intruder, _) = judged(&head, Some(&encode(&alien)));
        assert_eq!(act, Act::Write);
        assert!(intruder.is_some_and(|intruder| intruder.contains("is not the node's name")));
    }

    #[test]
    fn a_removed_key_has_no_node() {
        let head = removal(2);
        assert_eq!(judged(&head, None), (Act::Nothing, None, None));
        assert_eq!(judged(&head, Some(&encode(&commit(1, "a")))), (Act::Remove, None, Some(1)));
        let other = "another version 2 than the journal's, by gian".to_owned();
        for commit in [commit(2, ""), removal(2)] {
            let verdict = judged(&head, Some(&encode(&commit)));
            assert_eq!(verdict, (Act::Remove, Some(other.clone()), Some(2)));
        }
        let (act, intruder, found) = judged(&head, Some(&encode(&commit(3, "c"))));
        assert_eq!((act, found), (Act::Remove, Some(3)));
        assert!(intruder.is_some());
        let (act, intruder, found) = judged(&head, Some(b"x"));
        assert_eq!((act, found), (Act::Remove, None));
        assert!(intruder.is_some());
    }
}
