//! A row of Rainer's layout: the payload is the data of the commit's node.

use super::wire::Row;
use crate::commits::commit::FullCommit;
use crate::commits::journal::error::CorruptCommit;
use crate::commits::journal::stored::checked;
use crate::value::commit::decode;

/// So much of a payload is read where only the header matters. Hardly any header is longer.
pub(super) const MAX_HEADER: usize = 16 << 10;

/// A row of name, version, is_empty and payload.
pub(super) struct CommitRow {
    pub(super) name: Vec<u8>,
    pub(super) version: i64,
    is_empty: bool,
    data: Vec<u8>,
}

impl CommitRow {
    /// Reads a row. A column that is not there is an error of the program, and is taken as empty.
    pub(super) fn read(row: Row) -> Self {
        let mut columns = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || columns.next().unwrap_or_default();
        let name = next();
        let version = number(&next());
        let is_empty = number(&next()) != 0;
        Self { name, version, is_empty, data: next() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether the data may go on in the table, if no more than [`MAX_HEADER`] was asked for.
    pub(super) fn may_be_cut(&self) -> bool {
        self.data.len() >= MAX_HEADER
    }

    pub(super) fn size(&self) -> usize {
        self.data.len()
    }

    /// Returns the commit. Who has asked for the header takes no payload.
    pub(super) fn commit(&self) -> Result<FullCommit, CorruptCommit> {
        let key = String::from_utf8_lossy(&self.name).into_owned();
        let corrupt = |why: String| CorruptCommit { key: key.clone(), version: self.version, why };
        if key.as_bytes() != self.name {
            return Err(corrupt("its key is no UTF-8".to_owned()));
        }
        let (mut header, payload) = decode(&self.data, &key).map_err(|fault| corrupt(fault.to_string()))?;
        if header.version != self.version {
            return Err(corrupt(format!("its header has version {}", header.version)));
        }
        header.empty |= self.is_empty;
        let payload = if header.empty { Vec::new() } else { payload.to_vec() };
        checked(FullCommit { header, payload })
    }
}

/// Reads a number, as the server writes it.
pub(super) fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}
