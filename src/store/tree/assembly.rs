//! One tree in the making: what was told of its nodes, and when that makes a state to give.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Nature;
use super::node::{Kept, Node, Standing, Told};
use crate::model::{Content, Facet, NodePath, State, Tree, TreeNode, Version};

/// The most nodes of a tree. Each costs the server two watches, and the daemon some kilobytes.
pub const MOST_NODES: usize = 10_000;

/// The most that the data of all nodes of a tree may take, which the daemon keeps in memory: as much as sixty-four of
/// the largest nodes of a ZooKeeper.
pub(super) const MOST_BYTES: u64 = 64 << 20;

/// How long nothing may happen to a tree before its state is given. What one transaction wrote is told of within a
/// fraction of that, and it takes as long to start an action.
pub(super) const QUIET: Duration = Duration::from_millis(2);

/// How long a tree that is never quiet is waited for. A burst of a thousand changes is given ten times a second, and
/// not a thousand times: to put the largest tree together takes a hundredth of that.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long a tree is waited for of which some node is always being read. From then on its nodes may be given in
/// states that were true at different moments.
pub(super) const COHERENCE: Duration = Duration::from_secs(1);

/// What is wanted of the store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The data and the children of this node, from now on.
    Follow(NodePath),
    Leave(NodePath),
    /// Its data, once more.
    Reread(NodePath),
}

/// What there is to say of a tree.
#[derive(Debug)]
pub(super) enum Verdict {
    Is(State),
    /// Why.
    Unreadable(String),
}

/// Why there is no state to give, however long one waits.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Node(NodePath),
    TooMany,
    TooLarge,
}

pub(super) struct Assembly {
    root: NodePath,
    nature: Nature,
    /// Those that are followed.
    nodes: BTreeMap<NodePath, Node>,
    /// How many ever were.
    births: u64,
    /// How many there are by the lists of their parents; if there is no room for all, more than are followed.
    listed: usize,
    /// How many stand as [`Standing::Unknown`] and [`Standing::Outdated`].
    unknown: usize,
    outdated: usize,
    /// Those that stand as [`Standing::Unreadable`], and why.
    unreadable: BTreeMap<NodePath, String>,
    /// What all their data takes, and whether some of it may not have been kept.
    bytes: u64,
    withheld: bool,
    /// The first and the latest of what was told since a state was given.
    unsaid: Option<(Instant, Instant)>,
    /// The trouble that was said last, until a state is given.
    said: Option<Trouble>,
}

impl Assembly {
    /// A tree of which nothing is known yet.
    pub(super) fn new(root: NodePath, nature: Nature, wishes: &mut Vec<Wish>) -> Self {
        let mut assembly = Self {
            root: root.clone(),
            nature,
            nodes: BTreeMap::new(),
            births: 0,
            listed: 1,
            unknown: 0,
            outdated: 0,
            unreadable: BTreeMap::new(),
            bytes: 0,
            withheld: false,
            unsaid: None,
            said: None,
        };
        assembly.follow(root, wishes);
        assembly
    }

    pub(super) fn followed(&self) -> impl Iterator<Item = &NodePath> {
        self.nodes.keys()
    }

    pub(super) fn follows(&self, path: &NodePath) -> bool {
        self.nodes.contains_key(path)
    }

    /// Takes in what was told of a node, if it is followed.
    pub(super) fn told(
        &mut self,
        path: &NodePath,
        facet: Facet,
        told: Told,
        now: Instant,
        wishes: &mut Vec<Wish>,
    ) {
        if !self.follows(path) {
            return;
        }
        self.alter(path, |node| node.told(facet, &told));
        match told {
            Told::Data(version, data) => self.keep(path, version, data),
            Told::Children(names) => self.list(path, names, wishes),
            Told::Absent if facet == Facet::Data => self.put(path, Kept::Nothing),
            Told::Absent => self.list(path, Arc::from([]), wishes),
            Told::Unreadable(reason) => {
                self.unreadable.insert(path.clone(), reason);
            }
        }
        self.touch(now);
    }

    /// What was told of a node is not true any more, and it is being read.
    pub(super) fn outdated(&mut self, path: &NodePath, facet: Facet) {
        self.alter(path, |node| node.outdated(facet));
    }

    /// What was told of any node may be untrue by now; all is told anew.
    pub(super) fn connected(&mut self) {
        for node in self.nodes.values_mut() {
            node.forget(Facet::Data);
            node.forget(Facet::Children);
        }
        (self.unknown, self.outdated) = (self.nodes.len(), 0);
        self.unreadable.clear();
    }

    /// The state is to be given, changed or not.
    pub(super) fn touch(&mut self, now: Instant) {
        let first = self.unsaid.map_or(now, |(first, _)| first);
        self.unsaid = Some((first, now));
    }

    /// When [`Self::settle`] may have something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, latest) = self.unsaid?;
        let quiet = (latest + QUIET).min(first + PATIENCE);
        match () {
            () if self.is_in_trouble() => Some(quiet),
            () if self.unknown > 0 => None,
            () if self.outdated > 0 => Some(first + COHERENCE),
            () => Some(quiet),
        }
    }

    /// Gives what there is to say, if it is time.
    pub(super) fn settle(&mut self, now: Instant, wishes: &mut Vec<Wish>) -> Option<Verdict> {
        self.due().filter(|due| *due <= now)?;
        if self.is_in_trouble() {
            self.unsaid = None;
            return self.complain();
        }
        // After trouble, this may be what is left to do.
        self.fill_up(wishes);
        self.make_up(wishes);
        if self.unknown > 0 {
            return None;
        }
        (self.unsaid, self.said) = (None, None);
        Some(Verdict::Is(self.state()))
    }

    fn state(&self) -> State {
        // What is listed and absent was deleted just now, or is a link to nowhere.
        let nodes: Box<[_]> = self.nodes.values().filter_map(Node::whole).cloned().collect();
        if nodes.first().is_none_or(|first| first.path != self.root) {
            return State::Absent;
        }
        let tree = Tree { nodes };
        State::Present { version: tree.version(), content: Content::Tree(Arc::new(tree)) }
    }

    fn is_in_trouble(&self) -> bool {
        !self.unreadable.is_empty() || self.has_too_many() || self.is_too_large()
    }

    fn has_too_many(&self) -> bool {
        self.listed > MOST_NODES
    }

    fn is_too_large(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Says what the trouble is, unless that was said and is still so.
    fn complain(&mut self) -> Option<Verdict> {
        let persists = match &self.said {
            None => false,
            Some(Trouble::Node(path)) => self.unreadable.contains_key(path),
            Some(Trouble::TooMany) => self.has_too_many(),
            Some(Trouble::TooLarge) => self.is_too_large(),
        };
        if persists {
            return None;
        }
        let remedy = "remove some, or watch smaller trees below it";
        let (trouble, reason) = if let Some((path, reason)) = self.unreadable.first_key_value() {
            (Trouble::Node(path.clone()), format!("{:?}: {reason}", path.as_str()))
        } else if self.has_too_many() {
            (Trouble::TooMany, format!("it has more than {MOST_NODES} nodes; {remedy}"))
        } else {
            (Trouble::TooLarge, format!("its nodes hold more than {} MiB; {remedy}", MOST_BYTES >> 20))
        };
        self.said = Some(trouble);
        Some(Verdict::Unreadable(reason))
    }

    /// Changes a node, if it is followed, and keeps count.
    fn alter(&mut self, path: &NodePath, change: impl FnOnce(&mut Node)) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = node.standing();
        change(node);
        let after = node.standing();
        if before == after {
            return;
        }
        self.stands(path, before, false);
        self.stands(path, after, true);
    }

    /// Counts a node in or out.
    fn stands(&mut self, path: &NodePath, standing: Standing, does: bool) {
        let count = |number: &mut usize| *number = if does { *number + 1 } else { *number - 1 };
        match standing {
            Standing::Known => {}
            Standing::Outdated => count(&mut self.outdated),
            Standing::Unknown => count(&mut self.unknown),
            // Whoever makes it so says why.
            Standing::Unreadable if does => {}
            Standing::Unreadable => {
                self.unreadable.remove(path);
            }
        }
    }

    /// Keeps a node's data, as long as there is not too much.
    fn keep(&mut self, path: &NodePath, version: Version, data: Arc<[u8]>) {
        let Some(node) = self.nodes.get(path) else { return };
        if node.whole().is_some_and(|known| known.version.is_same_state(version)) {
            return;
        }
        let bytes = data.len() as u64;
        if self.bytes - node.bytes() + bytes > MOST_BYTES {
            self.withheld = true;
            self.put(path, Kept::Withheld(bytes));
            return;
        }
        let node = TreeNode::new(path.clone(), version, data, node.born, self.nature.lasting);
        self.put(path, Kept::Whole(Arc::new(node)));
    }

    fn put(&mut self, path: &NodePath, kept: Kept) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        self.bytes -= node.bytes();
        node.kept = kept;
        self.bytes += node.bytes();
    }

    /// Follows the children that are new, and no longer those that are gone.
    fn list(&mut self, path: &NodePath, mut names: Arc<[String]>, wishes: &mut Vec<Wish>) {
        if let Some(reserved) = self.nature.reserved
            && path.as_str() == "/"
        {
            names = names.iter().filter(|name| *name != reserved).cloned().collect();
        }
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = mem::replace(&mut node.listed, Arc::clone(&names));
        self.listed = self.listed + names.len() - before.len();
        for gone in before.iter().filter(|name| names.binary_search(name).is_err()) {
            self.leave(&path.child(gone), wishes);
        }
        for new in names.iter().filter(|name| before.binary_search(name).is_err()) {
            self.follow(path.child(new), wishes);
        }
    }

    fn follow(&mut self, path: NodePath, wishes: &mut Vec<Wish>) {
        if self.nodes.len() < MOST_NODES {
            self.births += 1;
            self.unknown += 1;
            self.nodes.insert(path.clone(), Node::new(self.births));
            wishes.push(Wish::Follow(path));
        }
    }

    /// Follows neither a node nor what is below it any more.
    fn leave(&mut self, path: &NodePath, wishes: &mut Vec<Wish>) {
        let prefix = format!("{path}/");
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let below = self.nodes.range::<str, _>(from).map(|(path, _)| path);
        let below = below.take_while(|path| path.as_str().starts_with(&prefix));
        let gone: Vec<NodePath> = below.chain([path]).cloned().collect();
        for path in gone {
            let Some(node) = self.nodes.remove(&path) else { continue };
            self.stands(&path, node.standing(), false);
            self.listed -= node.listed.len();
            self.bytes -= node.bytes();
            wishes.push(Wish::Leave(path));
        }
    }

    /// Follows what is listed and had no room.
    fn fill_up(&mut self, wishes: &mut Vec<Wish>) {
        if self.listed == self.nodes.len() {
            return;
        }
        let children = |(path, node): (&NodePath, &Node)| -> Vec<NodePath> {
            node.listed.iter().map(|name| path.child(name)).collect()
        };
        let listed: Vec<NodePath> = self.nodes.iter().flat_map(children).collect();
        for path in listed {
            if !self.follows(&path) {
                self.follow(path, wishes);
            }
        }
    }

    /// Has the data read for which there was no room.
    fn make_up(&mut self, wishes: &mut Vec<Wish>) {
        if !mem::take(&mut self.withheld) {
            return;
        }
        let is_withheld = |node: &Node| matches!(node.kept, Kept::Withheld(_));
        let withheld = self.nodes.iter().filter(|(_, node)| is_withheld(node));
        let withheld: Vec<NodePath> = withheld.map(|(path, _)| path.clone()).collect();
        for path in withheld {
            self.alter(&path, |node| node.forget(Facet::Data));
            wishes.push(Wish::Reread(path));
        }
    }
}
