//! The content of a node, as an action reads it.

use std::fs::File;
use std::io;

use serde::Serialize;

use crate::model::{Blob, Change, Facet};
use crate::sys::{self, Piece};

/// The content of a node that an action is started with.
#[derive(Clone, Debug)]
pub enum Payload {
    Data(Blob),
    /// The sorted names of the node's children, each ended by a newline.
    Children(Blob),
    /// A line of JSON: what each of the node's children says of itself, by its name.
    Members(Blob),
    /// The nodes of a tree that changed, sorted by path, and the blob of the tree.
    Changes {
        changes: Vec<Change>,
        blob: Blob,
    },
}

/// The beginning of the line of JSON for a changed node. The rest is the node's piece, which the store wrote.
#[derive(Serialize)]
struct LineStart<'a> {
    znode: &'a str,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
}

impl Payload {
    /// Returns the facet that has this kind of payload.
    pub fn facet(&self) -> Facet {
        match self {
            Payload::Data(_) => Facet::Data,
            Payload::Children(_) => Facet::Children,
            Payload::Members(_) => Facet::Members,
            Payload::Changes { .. } => Facet::Tree,
        }
    }

    /// Whether this is a tree of which nothing changed.
    pub fn has_no_changes(&self) -> bool {
        matches!(self, Payload::Changes { changes, .. } if changes.is_empty())
    }

    /// Opens a file with the bytes that the action reads: the node's data; the names of its children, each
    /// ended by a newline; a line of JSON with what each says of itself; or a line of JSON for each node of a
    /// tree that changed.
    pub fn open(&self) -> io::Result<File> {
        match self {
            Payload::Data(blob) | Payload::Children(blob) | Payload::Members(blob) => sys::open_blob(blob),
            Payload::Changes { changes, blob } => sys::compose(blob, changes.iter().flat_map(line)),
        }
    }

    /// Opens a file with `header`, followed by what [`Self::open`] has.
    pub fn open_after(&self, header: Vec<u8>) -> io::Result<File> {
        let header = [Piece::Own(header)].into_iter();
        match self {
            Payload::Data(blob) | Payload::Children(blob) | Payload::Members(blob) => {
                sys::compose(blob, header.chain([Piece::Of(blob.whole())]))
            }
            Payload::Changes { changes, blob } => {
                sys::compose(blob, header.chain(changes.iter().flat_map(line)))
            }
        }
    }
}

fn line(Change { path, event, now }: &Change) -> impl Iterator<Item = Piece> {
    let version = now.as_ref().map(|now| now.version);
    let start = LineStart { znode: path.as_str(), event: event.as_str(), version };
    let mut start = serde_json::to_vec(&start).expect("a line always serializes");
    match now {
        // The object goes on.
        Some(_) => *start.last_mut().expect("an object has an end") = b',',
        None => start.push(b'\n'),
    }
    [Piece::Own(start)].into_iter().chain(now.as_ref().map(|now| Piece::Of(now.piece.clone())))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::content::node_line::write_piece;
    use crate::model::{NodeEvent, NodePath, NodeState};

    fn read(file: io::Result<File>) -> String {
        let mut text = String::new();
        file.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_a_store_wrote_is_given_as_it_is() {
        for payload in [Payload::Data, Payload::Children, Payload::Members] {
            assert_eq!(read(payload(b"a\nb\n".as_slice().into()).open()), "a\nb\n");
            assert_eq!(read(payload(Blob::default()).open()), "");
            assert_eq!(read(payload(b"a\n".as_slice().into()).open_after("{}\n".into())), "{}\na\n");
        }
    }

    #[test]
    fn each_node_of_a_tree_is_one_line_of_json() {
        let mut pieces = Vec::new();
        let mut change = |path, event, data: Option<&[u8]>| {
            let start = pieces.len() as u64;
            let now = data.map(|data| {
                write_piece(data, &mut pieces).unwrap();
                NodeState { version: 3, piece: start..pieces.len() as u64 }
            });
            Change { path: NodePath::parse(path).unwrap(), event, now }
        };
        let changes = vec![
            change("/app", NodeEvent::Load, Some(b"")),
            change("/app/\"a\"", NodeEvent::Created, Some(b"two\nlines")),
            change("/app/b", NodeEvent::Changed, Some(b"\xffno text")),
            change("/app/c", NodeEvent::Deleted, None),
        ];
        let expected = concat!(
            r#"{"znode":"/app","event":"load","version":3,"size":0,"text":""}"#,
            "\n",
            r#"{"znode":"/app/\"a\"","event":"created","version":3,"size":9,"text":"two\nlines"}"#,
            "\n",
            r#"{"znode":"/app/b","event":"changed","version":3,"size":8,"#,
            "\"text\":\"\u{fffd}no text\",\"base64\":\"/25vIHRleHQ=\"}\n",
            r#"{"znode":"/app/c","event":"deleted"}"#,
            "\n",
        );
        let payload = Payload::Changes { changes, blob: pieces.into() };
        assert_eq!(read(payload.open()), expected);
        assert_eq!(read(payload.open_after("{}\n".into())), format!("{{}}\n{expected}"));
    }
}
