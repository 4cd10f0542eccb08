//! What is remembered of the commit that a run was given.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Commit;
use crate::text::{printable, within_bytes};

/// Which commit it is, who made it and why. Its author decides what the header of a commit says, so that this
/// part of it is bounded, and its texts may hold anything: it displays as one printable line, `v7 by gian:
/// rofl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitNote {
    pub version: i64,
    /// At most [`CommitNote::MAX_AUTHOR`] bytes.
    pub author: String,
    /// At most [`CommitNote::MAX_COMMENT`] bytes.
    pub comment: String,
}

impl CommitNote {
    /// The longest author that is remembered, in bytes: every one that `twitcher serve` takes.
    pub const MAX_AUTHOR: usize = Commit::MAX_AUTHOR;

    /// The longest comment that is remembered, in bytes. The ledger keeps 10,000 runs, so that their comments
    /// take 10 MB at most; the journal of the commits has the whole ones.
    pub const MAX_COMMENT: usize = 1024;
}

impl From<&Commit> for CommitNote {
    fn from(commit: &Commit) -> Self {
        Self {
            version: commit.version,
            author: within_bytes(&commit.author, Self::MAX_AUTHOR).into_owned(),
            comment: within_bytes(&commit.comment, Self::MAX_COMMENT).into_owned(),
        }
    }
}

impl fmt::Display for CommitNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, author, comment } = self;
        write!(f, "v{version}")?;
        if !author.is_empty() {
            write!(f, " by {}", printable(author.as_bytes()))?;
        }
        match comment.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", printable(comment.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(author: &str, comment: &str) -> CommitNote {
        let (author, comment) = (author.to_owned(), comment.to_owned());
        let (key, mtime) = ("foo".to_owned(), "2014-02-11T14:01:28.839Z".to_owned());
        CommitNote::from(&Commit { author, comment, key, mtime, version: 7, empty: false })
    }

    #[test]
    fn a_note_is_one_printable_line_whatever_its_author_wrote() {
        for (author, comment, expected) in [
            ("gian", "rofl", "v7 by gian: rofl"),
            ("gian", "", "v7 by gian"),
            ("", "rofl", "v7: rofl"),
            ("", "", "v7"),
            ("a\u{1b}[31m\0", "b\n  c\r\u{202e}d", "v7 by a\\u{1b}[31m\\u{0}: b\\n  c\\r\\u{202e}d"),
            ("\u{9b}2J\u{200f}", "\u{2028}", "v7 by \\u{9b}2J\\u{200f}: \\u{2028}"),
            ("日本", "ü", "v7 by 日本: ü"),
        ] {
            assert_eq!(note(author, comment).to_string(), expected);
        }
    }

    #[test]
    fn a_note_is_bounded_whatever_its_author_wrote() {
        for text in ["x".repeat(64 << 10), "漢".repeat(64 << 10), "\u{1b}".repeat(64 << 10)] {
            let CommitNote { author, comment, .. } = note(&text, &text);
            for (kept, most) in [(&author, CommitNote::MAX_AUTHOR), (&comment, CommitNote::MAX_COMMENT)] {
                assert!((most - 4..=most).contains(&kept.len()), "{} of {most}", kept.len());
                let begun = kept.strip_suffix('…').expect("a mark of the cut");
                assert!(text.starts_with(begun));
            }
        }
        let whole = note(&"x".repeat(CommitNote::MAX_AUTHOR), &"x".repeat(CommitNote::MAX_COMMENT));
        assert_eq!(
            (whole.author.len(), whole.comment.len()),
            (CommitNote::MAX_AUTHOR, CommitNote::MAX_COMMENT)
        );
        assert!(!format!("{whole}").contains('…'));
    }
}
