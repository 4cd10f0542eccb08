//! What was told of one node of a tree in the making.

use std::sync::Arc;

use crate::model::{Facet, TreeNode, Version};

/// What was told of one facet of a node.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Absent,
    Data(Version, Arc<[u8]>),
    /// Sorted.
    Children(Arc<[String]>),
    /// Why.
    Unreadable(String),
}

pub(super) struct Node {
    pub(super) born: u64,
    pub(super) kept: Kept,
    /// The children that are in the tree; if there are too many, not all of them are followed.
    pub(super) listed: Arc<[String]>,
    data: Word,
    children: Word,
}

/// What is kept of a node's data.
pub(super) enum Kept {
    Nothing,
    Whole(Arc<TreeNode>),
    /// Its size: there is too much of it in the tree.
    Withheld(u64),
}

/// What is to be waited for before a node can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
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
enum Word {
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

impl Node {
    pub(super) fn new(born: u64) -> Self {
        let (data, children) = (Word::NotYet, Word::NotYet);
        Self { born, kept: Kept::Nothing, listed: Arc::from([]), data, children }
    }

    pub(super) fn standing(&self) -> Standing {
        match (self.data, self.children) {
            (Word::Unreadable, _) | (_, Word::Unreadable) => Standing::Unreadable,
            (Word::NotYet, _) | (_, Word::NotYet) => Standing::Unknown,
            // It was created or deleted between the two words, and the older one will be taken back.
            (data, children) if data.presence() != children.presence() => Standing::Unknown,
            (Word::Was(_), _) | (_, Word::Was(_)) => Standing::Outdated,
            (Word::Is(_), Word::Is(_)) => Standing::Known,
        }
    }

    pub(super) fn told(&mut self, facet: Facet, told: &Told) {
        *self.word(facet) = match told {
            Told::Absent => Word::Is(Presence::Absent),
            Told::Data(..) | Told::Children(_) => Word::Is(Presence::Present),
            Told::Unreadable(_) => Word::Unreadable,
        };
    }

    /// What was told of it is not true any more.
    pub(super) fn outdated(&mut self, facet: Facet) {
        let word = self.word(facet);
        if let Word::Is(presence) = *word {
            *word = Word::Was(presence);
        }
    }

    /// What was told of it says nothing any more.
    pub(super) fn forget(&mut self, facet: Facet) {
        *self.word(facet) = Word::NotYet;
    }

    /// How large its data is, kept or not.
    pub(super) fn bytes(&self) -> u64 {
        match &self.kept {
            Kept::Nothing => 0,
            Kept::Whole(node) => node.data.len() as u64,
            Kept::Withheld(bytes) => *bytes,
        }
    }

    pub(super) fn whole(&self) -> Option<&Arc<TreeNode>> {
        match &self.kept {
            Kept::Whole(node) => Some(node),
            Kept::Nothing | Kept::Withheld(_) => None,
        }
    }

    fn word(&mut self, facet: Facet) -> &mut Word {
        match facet {
            Facet::Data => &mut self.data,
            Facet::Children => &mut self.children,
            Facet::Tree => super::not_of_a_store(),
        }
    }
}

impl Word {
    fn presence(self) -> Option<Presence> {
        match self {
            Word::Is(presence) | Word::Was(presence) => Some(presence),
            Word::NotYet | Word::Unreadable => None,
        }
    }
}
