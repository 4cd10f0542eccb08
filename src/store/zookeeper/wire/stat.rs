//! What a server knows of a node.

use super::reader::{Malformed, Reader};

/// What a server knows of a node beside its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) version: i32,
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    /// The session that owns an ephemeral node, and 0 of others.
    pub(crate) ephemeral_owner: i64,
    pub(crate) data_length: i32,
    pub(crate) num_children: i32,
    pub(crate) pzxid: i64,
}

impl Stat {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let what = "a stat";
        let (czxid, mzxid) = (reader.i64(what)?, reader.i64(what)?);
        let (ctime, mtime) = (reader.i64(what)?, reader.i64(what)?);
        let (version, cversion, aversion) = (reader.i32(what)?, reader.i32(what)?, reader.i32(what)?);
        let ephemeral_owner = reader.i64(what)?;
        let (data_length, num_children) = (reader.i32(what)?, reader.i32(what)?);
        let pzxid = reader.i64(what)?;
        Ok(Self {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion,
            aversion,
            ephemeral_owner,
            data_length,
            num_children,
            pzxid,
        })
    }
}
