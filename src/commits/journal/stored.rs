//! What a row must be to be a commit, whatever database it is in.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::CorruptCommit;
use super::interface::Heads;
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;

/// Checks what no column can: others than this program can write the table.
pub(super) fn checked(commit: FullCommit) -> Result<FullCommit, CorruptCommit> {
    let header = &commit.header;
    let why = match Key::parse(&header.key) {
        Err(error) => error.to_string(),
        Ok(_) if header.version < 1 => "versions begin with 1".to_owned(),
        Ok(_) if OffsetDateTime::parse(&header.mtime, &Rfc3339).is_err() => {
            format!("its mtime {:?} is no time", header.mtime)
        }
        Ok(_) => return Ok(commit),
    };
    Err(CorruptCommit { key: header.key.clone(), version: header.version, why })
}

/// The heads of one page, as they come.
#[derive(Default)]
pub(super) struct Found {
    heads: Heads,
    /// How many of the corrupt ones come before the last commit.
    corrupt_before: usize,
}

impl Found {
    pub(super) fn add(&mut self, commit: Result<FullCommit, CorruptCommit>) {
        match commit {
            Ok(commit) => {
                self.heads.commits.push(commit);
                self.corrupt_before = self.heads.corrupt.len();
            }
            Err(corrupt) => self.heads.corrupt.push(corrupt),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heads.commits.len()
    }

    /// The page. If there may be more, the next one begins after the last commit, with what is corrupt there.
    pub(super) fn page(mut self, has_more: bool) -> Heads {
        if has_more {
            self.heads.corrupt.truncate(self.corrupt_before);
        }
        Heads { has_more, ..self.heads }
    }
}
