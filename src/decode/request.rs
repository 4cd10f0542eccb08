//! The request to `twitcher decode`, and its reply. Each is one line of JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Commit, Format};

/// The content follows in the same file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodeRequest {
    pub format: Format,
    /// The last component of the node's path. A commit has it as its key.
    pub name: String,
    /// The name and the text of the schema.
    pub schema: Option<(Arc<str>, Arc<str>)>,
    /// The number of the descriptor for what a command is to read.
    pub output: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecodeReply {
    /// `is_converted` says whether a command reads the output, and not the content itself.
    Conforms { is_converted: bool, commit: Option<Commit> },
    /// The text is what follows "version 7 ": `is no JSON: line 1, column 2: expected value`.
    Faulty(String),
}

impl DecodeRequest {
    /// Returns the request as a line of JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
