//! What was told of one node of a tree in the making.

use std::sync::Arc;

use crate::model::{Facet, TreeNode, Version};

/// What was told of one facet of a node.
#[derive(Clone, Debug)]
pub(super) enum Observation {
    Absent,
    Data(Version, Arc<[u8]>),
    /// Sorted.
    Children(Arc<[String]>),
    /// Why.
    Unreadable(String),
}

pub(super) struct NodeProgress {
    pub(super) generation: u64,
    pub(super) retained: Retained,
    /// The children that are in the tree; if there are too many, not all of them are followed.
    pub(super) listed: Arc<[String]>,
    data: FacetState,
    children: FacetState,
}

/// What is kept of a node's data.
pub(super) enum Retained {
    Nothing,
    Whole(Arc<TreeNode>),
    /// Its size: there is too much of it in the tree.
    OverLimit(u64),
}

/// What is to be waited for before a node can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Nothing.
    Known,
    /// What is known was true, and something newer comes soon.
    Outdated,
    /// It cannot be given as it is, and something newer comes.
    Unknown,
    Unreadable,
}

/// The store's latest word on one facet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FacetState {
    /// Since it connected.
    NotYet,
    Is(Presence),
    /// It changed since then, and is being read.
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
            // It was created or deleted between the two words, and the older one will be taken back.
            (data, children) if data.presence() != children.presence() => Readiness::Unknown,
            (FacetState::Was(_), _) | (_, FacetState::Was(_)) => Readiness::Outdated,
            (FacetState::Is(_), FacetState::Is(_)) => Readiness::Known,
        }
    }

    pub(super) fn observe(&mut self, facet: Facet, observe: &Observation) {
        *self.facet_state(facet) = match observe {
            Observation::Absent => FacetState::Is(Presence::Absent),
            Observation::Data(..) | Observation::Children(_) => FacetState::Is(Presence::Present),
            Observation::Unreadable(_) => FacetState::Unreadable,
        };
    }

    /// What was told of it is not true any more.
    pub(super) fn outdated(&mut self, facet: Facet) {
        let facet_state = self.facet_state(facet);
        if let FacetState::Is(presence) = *facet_state {
            *facet_state = FacetState::Was(presence);
        }
    }

    /// What was told of it says nothing any more.
    pub(super) fn forget(&mut self, facet: Facet) {
        *self.facet_state(facet) = FacetState::NotYet;
    }

    /// How large its data is, kept or not.
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

    fn facet_state(&mut self, facet: Facet) -> &mut FacetState {
        match facet {
            Facet::Data => &mut self.data,
            Facet::Children => &mut self.children,
            Facet::Tree => super::unsupported_tree_facet(),
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
