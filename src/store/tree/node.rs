//! What is known of one node of a tree that is being assembled.

use std::sync::Arc;

use crate::model::{NodeFacet, TreeNode};
use crate::store::backend::Observation;

pub(super) struct NodeProgress {
    /// Differs between two nodes that were in the tree under one path, one after the other.
    pub(super) generation: u64,
    pub(super) retained: Retained,
    /// The children that belong to the tree. Not all of them are followed if there are too many.
    pub(super) listed: Arc<[String]>,
    data: FacetState,
    children: FacetState,
}

/// How much of a node's data is kept.
pub(super) enum Retained {
    Nothing,
    Whole(Arc<TreeNode>),
    /// Only its size in bytes, because the tree has too much data.
    OverLimit(u64),
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
    pub(super) fn new(generation: u64) -> Self {
        let (data, children) = (FacetState::NotYet, FacetState::NotYet);
        Self { generation, retained: Retained::Nothing, listed: Arc::from([]), data, children }
    }

    pub(super) fn readiness(&self) -> Readiness {
        match (self.data, self.children) {
            (FacetState::Unreadable, _) | (_, FacetState::Unreadable) => Readiness::Unreadable,
            (FacetState::NotYet, _) | (_, FacetState::NotYet) => Readiness::Unknown,
            // The node was created or deleted between the two reports. The older one will be replaced.
            (data, children) if data.presence() != children.presence() => Readiness::Unknown,
            (FacetState::Was(_), _) | (_, FacetState::Was(_)) => Readiness::Outdated,
            (FacetState::Is(_), FacetState::Is(_)) => Readiness::Known,
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
        *self.facet_state(facet) = FacetState::NotYet;
    }

    /// Returns the size of the node's data, kept or not.
    pub(super) fn bytes(&self) -> u64 {
        match &self.retained {
            Retained::Nothing => 0,
            Retained::Whole(node) => node.data.len() as u64,
            Retained::OverLimit(bytes) => *bytes,
        }
    }

    pub(super) fn whole(&self) -> Option<&Arc<TreeNode>> {
        match &self.retained {
            Retained::Whole(node) => Some(node),
            Retained::Nothing | Retained::OverLimit(_) => None,
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
            FacetState::NotYet | FacetState::Unreadable => None,
        }
    }
}
