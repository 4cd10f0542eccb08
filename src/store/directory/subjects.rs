//! The subjects that are followed, and the directories on their paths.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::node::FollowedNode;
use crate::model::{NodeFacet, NodePath, NodeSubject};

/// Iterates over the node paths of the directories in which changes to a subject show, from the root (empty)
/// down.
pub(super) fn directories_on_path(subject: &NodeSubject) -> impl DoubleEndedIterator<Item = &str> {
    let path = if subject.path.as_str() == "/" { "" } else { subject.path.as_str() };
    let itself = (subject.facet == NodeFacet::Children).then_some(path);
    path.match_indices('/').map(|(end, _)| &path[..end]).chain(itself)
}

/// Makes a node path of the path in a hint, which is empty for the root.
pub(super) fn node_path(path: &str) -> NodePath {
    NodePath::unchecked(if path.is_empty() { "/" } else { path })
}

/// Iterates over the subjects below the directory `path`; below the root (empty), the root's own are among
/// them.
pub(super) fn below<'a>(
    nodes: &'a BTreeMap<NodeSubject, FollowedNode>,
    path: &str,
) -> impl Iterator<Item = &'a NodeSubject> {
    let prefix = format!("{path}/");
    let start = NodeSubject { path: NodePath::unchecked(&prefix), facet: NodeFacet::Data };
    nodes
        .range((Bound::Included(start), Bound::Unbounded))
        .map(|(subject, _)| subject)
        .take_while(move |subject| subject.path.as_str().starts_with(&prefix))
}
