//! How the content of a node is decoded, and what comes of it. The daemon passes these on: only a child
//! without rights decodes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Blob;

/// The format of a watch's content (`decode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    Json,
    Cbor,
    Properties,
    Commit,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Json, Self::Cbor, Self::Properties, Self::Commit];

    /// Returns the word of configs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Cbor => "CBOR",
            Self::Properties => "PROPERTIES",
            Self::Commit => "COMMIT",
        }
    }
}

/// A JSON Schema, as it was when its watch was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schema {
    /// The path below the config directory.
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// A content in the form in which the action gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What a command reads.
    pub blob: Blob,
    pub commit: Option<Arc<Commit>>,
}

/// The header of a commit, with its fields in the order in which Rainer writes them. Fields that it does not
/// know are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub author: String,
    pub comment: String,
    pub key: String,
    pub mtime: String,
    pub version: i64,
    /// Whether the commit deletes its key.
    #[serde(default)]
    pub empty: bool,
}

impl Commit {
    /// The longest author and comment that `twitcher serve` takes, in bytes: with the other headers they fit
    /// into the head of a reply.
    pub const MAX_AUTHOR: usize = 255;
    pub const MAX_COMMENT: usize = 4096;

    /// The largest payload that it takes.
    pub const MAX_PAYLOAD: usize = 1 << 20;
}
