//! What is known of one node that is being assembled with others.

use std::sync::Arc;

use crate::model::{NodeFacet, TreeNode, Version};
use crate::store::backend::Observation;
use crate::store::said::Said;
use crate::text::StableHash;

pub(super) struct NodeProgress {
    /// Differs between two nodes that were in the tree under one path, one after the other.
    pub(super) generation: u64,
    pub(super) retained: Retained,
    /// The children that belong to the whole. Not all of them are followed if there are too many.
    pub(super) listed: Arc<[String]>,
    data: FacetState,
    children: FacetState,
}

/// How much of a node's data is kept.
pub(super) enum Retained {
    Nothing,
    Whole(WholeNode),
    /// What its data says.
    Said(Said, Version),
    /// Only its size in bytes, because there is too much data.
    OverLimit(u64),
}

/// One state of a node.
pub(super) struct WholeNode {
    pub(super) node: Arc<TreeNode>,
    pub(super) data: Arc<[u8]>,
    /// A hash of path and version.
    hash: u64,
}

impl WholeNode {
    /// Incarnations are part of the hash only if they are `durable`, which means the same to the next daemon.
    pub(super) fn new(node: TreeNode, data: Arc<[u8]>, durable: bool) -> Self {
        let mut hash = StableHash::default();
        hash.add(node.path.as_str());
        hash.add_number(if durable { node.version.incarnation } else { 0 });
        hash.add_number(node.version.revision);
        Self { node: Arc::new(node), data, hash: hash.fold() }
    }
}

/// Returns a version of the tree with these nodes, which has the incarnation of the root. The revision is a
/// hash of all nodes, which is equal for two different trees with a probability of one in 2^63. It is
/// positive, because people read it.
pub(super) fn tree_version(nodes: &[&WholeNode]) -> Version {
    let incarnation = nodes.first().map_or(0, |root| root.node.version.incarnation);
    version_of(incarnation, nodes.iter().map(|node| node.hash.cast_signed()))
}

/// Returns a version of what has many nodes, with a hash of these hashes.
pub(super) fn version_of(incarnation: i64, hashes: impl Iterator<Item = i64>) -> Version {
    let mut hash = StableHash::default();
    hashes.for_each(|number| hash.add_number(number));
    let revision = (hash.fold() >> 1).cast_signed();
    Version { incarnation, revision, number: revision }
}

/// Whether a node can be part of a tree that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Known,
    /// The node could be sent in a state that was true, but a newer one follows soon.
    Outdated,
    /// The node cannot be sent until the backend reports more.
    Unknown,
    Unreadable,
}

/// The latest report on one facet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FacetState {
    /// It does not matter.
    Unused,
    /// There was no report since the store connected.
    NotYet,
    Is(Presence),
    /// The facet changed since this report, and is being read.
    Was(Presence),
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Absent,
    Present,
}

impl NodeProgress {
    /// `facets` are what is followed of the node.
    pub(super) fn new(generation: u64, facets: &[NodeFacet]) -> Self {
        let state = |facet| match facets.contains(&facet) {
            true => FacetState::NotYet,
            false => FacetState::Unused,
        };
        let (data, children) = (state(NodeFacet::Data), state(NodeFacet::Children));
        Self { generation, retained: Retained::Nothing, listed: Arc::from([]), data, children }
    }

    pub(super) fn readiness(&self) -> Readiness {
        match (self.data, self.children) {
            // The list of a service decides who is a member. While it is read, nobody knows.
            (FacetState::Unused, FacetState::Was(_)) => Readiness::Unknown,
            // A member that its service still lists was deleted just now, or is a link to nowhere.
            (FacetState::Is(Presence::Absent), FacetState::Unused) => Readiness::Outdated,
            (FacetState::Unreadable, _) | (_, FacetState::Unreadable) => Readiness::Unreadable,
            (FacetState::NotYet, _) | (_, FacetState::NotYet) => Readiness::Unknown,
            // The node was created or deleted between the two reports. The older one will be replaced.
            (data, children) if data.contradicts(children) => Readiness::Unknown,
            (FacetState::Was(_), _) | (_, FacetState::Was(_)) => Readiness::Outdated,
            (FacetState::Is(_) | FacetState::Unused, FacetState::Is(_) | FacetState::Unused) => {
                Readiness::Known
            }
        }
    }

    pub(super) fn observe(&mut self, facet: NodeFacet, observation: &Observation) {
        *self.facet_state(facet) = match observation {
            Observation::Absent => FacetState::Is(Presence::Absent),
            Observation::Present { .. } => FacetState::Is(Presence::Present),
            Observation::Unreadable(_) => FacetState::Unreadable,
        };
    }

    /// Notes that the latest report is not true any more.
    pub(super) fn outdated(&mut self, facet: NodeFacet) {
        let facet_state = self.facet_state(facet);
        if let FacetState::Is(presence) = *facet_state {
            *facet_state = FacetState::Was(presence);
        }
    }

    /// Notes that the latest report may be untrue by now.
    pub(super) fn forget(&mut self, facet: NodeFacet) {
        let facet_state = self.facet_state(facet);
        if *facet_state != FacetState::Unused {
            *facet_state = FacetState::NotYet;
        }
    }

    /// Whether there is no list of its children, because the node is absent.
    pub(super) fn is_listed_absent(&self) -> bool {
        self.children.presence() == Some(Presence::Absent)
    }

    /// Returns the size of the node's data, kept or not.
    pub(super) fn bytes(&self) -> u64 {
        match &self.retained {
            Retained::Nothing => 0,
            Retained::Whole(node) => node.data.len() as u64,
            Retained::Said(said, _) => said.bytes(),
            Retained::OverLimit(bytes) => *bytes,
        }
    }

    pub(super) fn whole(&self) -> Option<&WholeNode> {
        match &self.retained {
            Retained::Whole(node) => Some(node),
            Retained::Nothing | Retained::Said(..) | Retained::OverLimit(_) => None,
        }
    }

    pub(super) fn said(&self) -> Option<&Said> {
        match &self.retained {
            Retained::Said(said, _) => Some(said),
            Retained::Nothing | Retained::Whole(_) | Retained::OverLimit(_) => None,
        }
    }

    /// Whether it is retained as it is in this version.
    pub(super) fn is_retained(&self, version: Version) -> bool {
        match &self.retained {
            Retained::Whole(WholeNode { node, .. }) => node.version.is_same_state(version),
            Retained::Said(_, known) => known.is_same_state(version),
            Retained::Nothing | Retained::OverLimit(_) => false,
        }
    }

    fn facet_state(&mut self, facet: NodeFacet) -> &mut FacetState {
        match facet {
            NodeFacet::Data => &mut self.data,
            NodeFacet::Children => &mut self.children,
        }
    }
}

impl FacetState {
    fn presence(self) -> Option<Presence> {
        match self {
            FacetState::Is(presence) | FacetState::Was(presence) => Some(presence),
            FacetState::Unused | FacetState::NotYet | FacetState::Unreadable => None,
        }
    }

    /// Whether one of the two says that the node is there, and the other that it is not.
    fn contradicts(self, other: Self) -> bool {
        self.presence().zip(other.presence()).is_some_and(|(one, other)| one != other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodePath;

    fn version(incarnation: i64, revision: i64) -> Version {
        Version { incarnation, revision, number: revision }
    }

    #[test]
    fn trees_are_the_same_version_if_and_only_if_all_their_nodes_are() {
        let build = |durable: bool, nodes: &[(&str, Version)]| {
            let node = |(node, version): &(&str, Version)| {
                let node = TreeNode { path: NodePath::parse(node).unwrap(), version: *version, born: 1 };
                WholeNode::new(node, Arc::from([]), durable)
            };
            let nodes: Vec<WholeNode> = nodes.iter().map(node).collect();
            tree_version(&nodes.iter().collect::<Vec<_>>())
        };
        let base = [("/t", version(1, 1)), ("/t/a", version(1, 2)), ("/t/b", version(3, 4))];
        let others: [&[(&str, Version)]; 5] = [
            &[base[0], base[1]],
            &[base[0], base[2], base[1]],
            &[base[0], base[1], ("/t/b", version(3, 5))],
            &[base[0], base[1], ("/t/c", version(3, 4))],
            &[base[0], ("/t/a", version(1, 4)), ("/t/b", version(3, 2))],
        ];
        for durable in [true, false] {
            let first = build(durable, &base);
            assert_eq!(first, build(durable, &base));
            assert!(first.number > 0 && first.number == first.revision && first.incarnation == 1);
            for other in others {
                assert_ne!(first.number, build(durable, other).number, "{other:?}");
            }
        }
        let again = [base[0], base[1], ("/t/b", version(9, 4))];
        assert_ne!(build(true, &base), build(true, &again), "created anew");
        // A directory's incarnations are another daemon's tomorrow.
        assert_eq!(build(false, &base), build(false, &again));
    }
}
