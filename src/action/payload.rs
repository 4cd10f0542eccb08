//! The content of a node, as an action reads it.

use std::borrow::Cow;
use std::sync::Arc;

use data_encoding::BASE64;
use serde::Serialize;

use crate::model::{Change, NodeState};

/// The content of a node that an action is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Data(Arc<[u8]>),
    /// The names of the node's children, sorted.
    Children(Arc<[String]>),
    /// The nodes of a tree that changed, sorted by path.
    Changes(Vec<Change>),
}

/// A changed node of a tree, as a line of JSON.
#[derive(Serialize)]
struct ChangeLine<'a> {
    znode: &'a str,
    event: &'a str,
    #[serde(flatten)]
    now: Option<Now<'a>>,
}

#[derive(Serialize)]
struct Now<'a> {
    version: i64,
    size: usize,
    text: Cow<'a, str>,
    /// The data, if it is not UTF-8 and `text` is lossy.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Payload {
    /// The bytes that the action reads: the node's data; the names of its children, each ended by a newline;
    /// or a line of JSON for each node of a tree that changed.
    pub fn stdin(&self) -> Cow<'_, [u8]> {
        match self {
            Payload::Data(data) => Cow::Borrowed(data),
            Payload::Children(names) => {
                let lines: String = names.iter().flat_map(|name| [name, "\n"]).collect();
                Cow::Owned(lines.into_bytes())
            }
            Payload::Changes(changes) => {
                let mut lines = Vec::new();
                for change in changes {
                    serde_json::to_writer(&mut lines, &line(change)).expect("a line always serializes");
                    lines.push(b'\n');
                }
                Cow::Owned(lines)
            }
        }
    }
}

fn line(change: &Change) -> ChangeLine<'_> {
    ChangeLine {
        znode: change.path.as_str(),
        event: change.event.as_str(),
        now: change.now.as_ref().map(now),
    }
}

fn now(NodeState { version, data }: &NodeState) -> Now<'_> {
    let text = String::from_utf8_lossy(data);
    let base64 = matches!(text, Cow::Owned(_)).then(|| BASE64.encode(data));
    Now { version: *version, size: data.len(), text, base64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeEvent, NodePath};

    fn read(payload: Payload) -> String {
        String::from_utf8(payload.stdin().into_owned()).unwrap()
    }

    #[test]
    fn data_is_given_as_it_is_and_children_line_by_line() {
        assert_eq!(*Payload::Data(b"a\xff".as_slice().into()).stdin(), *b"a\xff");
        assert_eq!(read(Payload::Children(["a".to_owned(), "b".to_owned()].into())), "a\nb\n");
        assert_eq!(read(Payload::Children(Arc::from([]))), "");
    }

    #[test]
    fn each_node_of_a_tree_is_one_line_of_json() {
        let change = |path, event, data: Option<&[u8]>| Change {
            path: NodePath::parse(path).unwrap(),
            event,
            now: data.map(|data| NodeState { version: 3, data: data.into() }),
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
        assert_eq!(read(Payload::Changes(changes)), expected);
    }
}
