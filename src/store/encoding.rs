//! How an event passes to another process: as a header, which is plain data, and at most one [`Blob`], which
//! has the bytes of the content.
//!
//! The blob of a tree has the pieces of its nodes, one after the other, and then an index: for each node, in
//! the order of the paths, a record and the path below the tree's root. The process that decodes an event
//! does not trust the one that encoded it: it checks everything, and makes no more of it than was sent.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::message::StoreEvent;
use crate::content::BlobReader;
use crate::content::node_line::write_piece;
use crate::model::{
    Blob, Content, Facet, NodePath, NodePathError, Origin, State, Subject, Tree, TreeNode, Version,
};
use crate::sys::BlobWriter;

/// The most nodes of a tree. Each costs the server two watches, and the daemon some kilobytes.
pub const MAX_TREE_NODES: usize = 10_000;

/// The most bytes of paths in one tree. Without this limit, ten thousand nodes one below the other would fill
/// the memory, because each path contains those above it. Paths of 100 bytes take a sixteenth of this.
pub(super) const MAX_PATH_BYTES: u64 = 16 << 20;

/// The most bytes of a tree's index.
const MAX_INDEX_BYTES: u64 = MAX_PATH_BYTES + (MAX_TREE_NODES * RECORD_BYTES) as u64;

/// The bytes of an index record: the length of the path, the three numbers of the version, what tells
/// re-created nodes apart, and the length of the piece. All are little-endian.
const RECORD_BYTES: usize = 4 + 5 * 8;

/// The least bytes of a member, with the comma or the brace behind it: `"a":{},`.
const MEMBER_BYTES: u64 = 7;

/// A [`State`] without the bytes of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateHeader {
    Absent,
    Present {
        version: Version,
        #[serde(default)]
        origin: Origin,
        content: ContentHeader,
    },
}

/// A [`Content`] without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContentHeader {
    Data,
    Children {
        count: u64,
    },
    Tree {
        nodes: u64,
        data_bytes: u64,
        /// Where the index begins in the blob.
        index: u64,
    },
    Members {
        count: u64,
    },
}

/// What is wrong with an encoded event. Only a process that is broken or hostile sends such an event.
#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("an event that needs no blob has one, or the other way round")]
    Blob,
    #[error("the content is not of the facet that is followed")]
    Facet,
    #[error("a node has the version of a deletion")]
    Deletion,
    #[error("the counts do not fit the bytes")]
    Counts,
    #[error("the nodes of a tree are not sorted, or its root is missing")]
    Order,
    #[error(transparent)]
    Path(#[from] NodePathError),
    #[error("a path is not UTF-8")]
    NotUtf8,
    #[error("the index of a tree cannot be read: {0}")]
    Index(#[from] io::Error),
}

impl StoreEvent {
    /// Separates the bytes from the rest.
    pub fn encode(self) -> (StoreEvent<StateHeader>, Option<Blob>) {
        let mut bytes = None;
        let Ok(event) = self.try_map(|_, state| -> Result<StateHeader, std::convert::Infallible> {
            Ok(match state {
                State::Absent => StateHeader::Absent,
                State::Present { version, origin, content } => {
                    let header = ContentHeader::of(&content);
                    bytes = Some(content.into_blob());
                    StateHeader::Present { version, origin, content: header }
                }
            })
        });
        (event, bytes)
    }
}

impl StoreEvent<StateHeader> {
    /// Joins an event and its bytes. A tree shares the nodes that `before`, an earlier state of it, has as
    /// well.
    pub fn decode(self, bytes: Option<Blob>, before: Option<&Tree>) -> Result<StoreEvent, DecodeError> {
        let mut bytes = bytes;
        let event = self.try_map(|subject, state| match (state, bytes.take()) {
            (StateHeader::Absent, None) => Ok(State::Absent),
            (StateHeader::Present { version, .. }, _) if version.is_deletion() => Err(DecodeError::Deletion),
            (StateHeader::Present { version, origin, content }, Some(blob)) => {
                Ok(State::Present { version, origin, content: content.decode(subject, blob, before)? })
            }
            (StateHeader::Absent, Some(_)) | (StateHeader::Present { .. }, None) => Err(DecodeError::Blob),
        })?;
        if bytes.is_some() { Err(DecodeError::Blob) } else { Ok(event) }
    }
}

impl ContentHeader {
    fn of(content: &Content) -> Self {
        match content {
            Content::Data(_) => Self::Data,
            Content::Children { count, .. } => Self::Children { count: *count },
            Content::Tree { tree, .. } => Self::Tree {
                nodes: tree.nodes().len() as u64,
                data_bytes: tree.data_bytes(),
                index: tree.pieces_end(),
            },
            Content::Members { count, .. } => Self::Members { count: *count },
        }
    }

    fn decode(self, subject: &Subject, blob: Blob, before: Option<&Tree>) -> Result<Content, DecodeError> {
        match (self, subject.facet) {
            (Self::Data, Facet::Data) => Ok(Content::Data(blob)),
            // A line has at least one character and the newline.
            (Self::Children { count }, Facet::Children) if count > blob.len() / 2 => Err(DecodeError::Counts),
            (Self::Children { count }, Facet::Children) => Ok(Content::Children { lines: blob, count }),
            (Self::Tree { nodes, data_bytes, index }, Facet::Tree) => {
                let index_bytes = blob.len().checked_sub(index).ok_or(DecodeError::Counts)?;
                // What an action reads of a node is longer than the node's data.
                if nodes > MAX_TREE_NODES as u64 || index_bytes > MAX_INDEX_BYTES || data_bytes > index {
                    return Err(DecodeError::Counts);
                }
                let (nodes, ends) = read_index(&subject.path, nodes, &blob, index, before)?;
                let tree = Arc::new(Tree::new(nodes, ends, data_bytes));
                Ok(Content::Tree { tree, blob })
            }
            (Self::Members { count }, Facet::Members) => {
                // Braces and a newline are around the members, each with a name, and a comma after all but
                // one.
                let least = count.checked_mul(MEMBER_BYTES).map(|bytes| bytes.max(1) + 2);
                if count > MAX_TREE_NODES as u64 || least.is_none_or(|least| least > blob.len()) {
                    return Err(DecodeError::Counts);
                }
                Ok(Content::Members { object: blob, count })
            }
            (Self::Data | Self::Children { .. } | Self::Tree { .. } | Self::Members { .. }, _) => {
                Err(DecodeError::Facet)
            }
        }
    }
}

/// Returns the nodes of a tree, and the ends of their pieces.
fn read_index(
    root: &NodePath,
    count: u64,
    blob: &Blob,
    start: u64,
    before: Option<&Tree>,
) -> Result<(Vec<Arc<TreeNode>>, Vec<u64>), DecodeError> {
    let mut index = BufReader::new(BlobReader::new(blob, start));
    let mut known = before.map(Tree::nodes).unwrap_or_default().iter().peekable();
    let (mut nodes, mut ends, mut end) = (Vec::new(), Vec::new(), 0u64);
    for _ in 0..count {
        let record = Record::read(&mut index)?;
        let mut path = Vec::new();
        index.by_ref().take(record.path_len.into()).read_to_end(&mut path)?;
        if path.len() as u64 != u64::from(record.path_len) {
            return Err(DecodeError::Counts);
        }
        let path = String::from_utf8(path).map_err(|_| DecodeError::NotUtf8)?;
        let path = NodePath::parse(&path)?.below(root);
        // Whatever is below the root sorts after it.
        let is_next = nodes.last().map_or(path == *root, |last: &Arc<TreeNode>| last.path < path);
        if !is_next {
            return Err(DecodeError::Order);
        }
        while known.next_if(|node| node.path < path).is_some() {}
        let node = TreeNode { path, version: record.version, born: record.born };
        nodes.push(match known.next_if(|known| known.as_ref() == &node) {
            Some(known) => Arc::clone(known),
            None => Arc::new(node),
        });
        end = end.checked_add(record.piece_len).ok_or(DecodeError::Counts)?;
        ends.push(end);
    }
    let is_at_end = index.read(&mut [0])? == 0;
    if nodes.is_empty() || end != start || !is_at_end {
        return Err(DecodeError::Counts);
    }
    Ok((nodes, ends))
}

/// What the index has of a node, besides its path.
struct Record {
    path_len: u32,
    version: Version,
    born: u64,
    piece_len: u64,
}

impl Record {
    fn write(&self, index: &mut Vec<u8>) {
        let Self { path_len, version: Version { incarnation, revision, number }, born, piece_len } = self;
        index.extend(path_len.to_le_bytes());
        for number in [incarnation, revision, number] {
            index.extend(number.to_le_bytes());
        }
        index.extend(born.to_le_bytes());
        index.extend(piece_len.to_le_bytes());
    }

    fn read(index: &mut impl Read) -> Result<Self, DecodeError> {
        let mut length = [0; 4];
        index.read_exact(&mut length).map_err(cut)?;
        let mut numbers = [[0; 8]; 5];
        index.read_exact(numbers.as_flattened_mut()).map_err(cut)?;
        let [incarnation, revision, number] = [0, 1, 2].map(|place| i64::from_le_bytes(numbers[place]));
        Ok(Self {
            path_len: u32::from_le_bytes(length),
            version: Version { incarnation, revision, number },
            born: u64::from_le_bytes(numbers[3]),
            piece_len: u64::from_le_bytes(numbers[4]),
        })
    }
}

fn cut(error: io::Error) -> DecodeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => DecodeError::Counts,
        _ => DecodeError::Index(error),
    }
}

/// Puts the content of a tree together.
pub(super) struct TreeWriter<'a> {
    root: &'a NodePath,
    nodes: Vec<Arc<TreeNode>>,
    ends: Vec<u64>,
    data_bytes: u64,
    blob: BlobWriter,
    index: Vec<u8>,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn new(root: &'a NodePath) -> Self {
        let (nodes, ends, index) = (Vec::new(), Vec::new(), Vec::new());
        Self { root, nodes, ends, data_bytes: 0, blob: BlobWriter::default(), index }
    }

    /// Adds a node, the root first, and the others sorted by path.
    pub(super) fn add(&mut self, node: Arc<TreeNode>, data: &[u8]) -> io::Result<()> {
        let start = self.blob.position();
        write_piece(data, &mut self.blob)?;
        let piece_len = self.blob.position() - start;
        let path = node.path.relative_to(self.root);
        let TreeNode { version, born, .. } = *node;
        Record { path_len: path.len() as u32, version, born, piece_len }.write(&mut self.index);
        self.index.extend(path.as_bytes());
        self.ends.push(self.blob.position());
        self.nodes.push(node);
        self.data_bytes += data.len() as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Content> {
        self.blob.write_all(&self.index)?;
        let tree = Arc::new(Tree::new(self.nodes, self.ends, self.data_bytes));
        Ok(Content::Tree { tree, blob: self.blob.finish()? })
    }
}

#[cfg(test)]
mod tests;
