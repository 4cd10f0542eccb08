//! What is assembled: which parts it has, and what it should be.

use std::ops::Range;
use std::sync::Arc;

use super::{Truth, is_in, parent, subject};
use crate::content;
use crate::content::node_line::write_piece;
use crate::model::{Content, Facet, NodeFacet, NodePath, NodeSubject, State, Subject, TreeNode};
use crate::value::{Value, object};

/// The trees and members that may be watched.
pub(super) const WHOLES: [(&str, Facet); 5] = [
    ("/t", Facet::Tree),
    ("/t/a", Facet::Tree),
    ("/t/b", Facet::Tree),
    ("/t", Facet::Members),
    ("/t/a", Facet::Members),
];

pub(super) fn whole(number: usize) -> Subject {
    let (root, facet) = WHOLES[number];
    Subject { path: NodePath::parse(root).unwrap(), facet }
}

pub(super) fn list(members: &Subject) -> NodeSubject {
    subject(members.path.as_str(), NodeFacet::Children)
}

pub(super) fn is_part(part: &NodeSubject, whole: &Subject) -> bool {
    let (path, root) = (part.path.as_str(), whole.path.as_str());
    match whole.facet {
        Facet::Members => *part == list(whole) || (part.facet == NodeFacet::Data && parent(path) == root),
        _ => is_in(path, root),
    }
}

pub(super) fn truth(nodes: &Truth, whole: &Subject) -> Truth {
    let root = whole.path.as_str();
    let below = nodes.iter().filter(|(path, _)| is_in(path, root));
    if whole.facet == Facet::Tree {
        return below.map(|(path, node)| (path.clone(), *node)).collect();
    }
    let parts = below.filter(|(path, _)| *path == root || parent(path) == root);
    parts.map(|(path, node)| (path.clone(), (0, if path == root { 0 } else { node.1 }))).collect()
}

pub(super) fn contents(state: &State, root: &str) -> Truth {
    let (tree, blob) = match state {
        State::Absent => return Truth::new(),
        State::Present { content: Content::Tree { tree, blob }, .. } => (tree, blob),
        State::Present { content: Content::Members { object, count }, .. } => {
            let object = object::members(&content::read(object).unwrap()).unwrap();
            assert_eq!(object.len() as u64, *count);
            let member = |(name, said)| match said {
                Value::Map(said) => match &said[..] {
                    [(_, Value::Text(text))] => (format!("{root}/{name}"), (0, text.parse().unwrap())),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            };
            return object.into_iter().map(member).chain([(root.to_owned(), (0, 0))]).collect();
        }
        State::Present { content: Content::Data(_) | Content::Children { .. }, .. } => panic!("no whole"),
    };
    let blob = content::read(blob).unwrap();
    let node = |(node, piece): (&Arc<TreeNode>, Range<u64>)| {
        let mut expected = Vec::new();
        write_piece(node.version.revision.to_string().as_bytes(), &mut expected).unwrap();
        assert_eq!(blob[piece.start as usize..piece.end as usize], expected);
        (node.path.to_string(), (node.version.incarnation, node.version.revision))
    };
    tree.entries().map(node).collect()
}
