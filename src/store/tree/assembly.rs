//! One tree in the making: what was told of its nodes, and when that makes a state to give.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Capabilities;
use super::node::{NodeProgress, Observation, Readiness, Retained};
use crate::model::{Content, Facet, NodePath, State, Tree, TreeNode, Version};

/// The most nodes of a tree. Each costs the server two watches, and the daemon some kilobytes.
pub const MAX_TREE_NODES: usize = 10_000;

/// The most that the data of all nodes of a tree may take, which the daemon keeps in memory: as much as sixty-four of
/// the largest nodes of a ZooKeeper.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// How long nothing may happen to a tree before its state is given. What one transaction wrote is told of within a
/// fraction of that, and it takes as long to start an action.
pub(super) const DEBOUNCE: Duration = Duration::from_millis(2);

/// How long a tree that is never quiet is waited for. A burst of a thousand changes is given ten times a second, and
/// not a thousand times: to put the largest tree together takes a hundredth of that.
const MAX_DEBOUNCE: Duration = Duration::from_millis(100);

/// How long a tree is waited for of which some node is always being read. From then on its nodes may be given in
/// states that were true at different moments.
pub(super) const COHERENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is wanted of the store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TreeRequest {
    /// The data and the children of this node, from now on.
    Follow(NodePath),
    Unfollow(NodePath),
    /// Its data, once more.
    Reread(NodePath),
}

/// What there is to say of a tree.
#[derive(Debug)]
pub(super) enum TreeEvent {
    Is(State),
    /// Why.
    Unreadable(String),
}

/// Why there is no state to give, however long one waits.
#[derive(Debug, PartialEq, Eq)]
enum TreeError {
    NodeProgress(NodePath),
    TooMany,
    TooLarge,
}

pub(super) struct Assembly {
    root: NodePath,
    capabilities: Capabilities,
    /// Those that are followed.
    nodes: BTreeMap<NodePath, NodeProgress>,
    /// How many ever were.
    created_count: u64,
    /// How many there are by the lists of their parents; if there is no room for all, more than are followed.
    listed: usize,
    /// How many stand as [`Readiness::Unknown`] and [`Readiness::Outdated`].
    unknown: usize,
    outdated: usize,
    /// Those that stand as [`Readiness::Unreadable`], and why.
    unreadable: BTreeMap<NodePath, String>,
    /// What all their data takes, and whether some of it may not have been kept.
    bytes: u64,
    over_limit: bool,
    /// The first and the latest of what was told since a state was given.
    unsent: Option<(Instant, Instant)>,
    /// The trouble that was said last, until a state is given.
    reported: Option<TreeError>,
}

impl Assembly {
    /// A tree of which nothing is known yet.
    pub(super) fn new(
        root: NodePath,
        capabilities: Capabilities,
        tree_requests: &mut Vec<TreeRequest>,
    ) -> Self {
        let mut assembly = Self {
            root: root.clone(),
            capabilities,
            nodes: BTreeMap::new(),
            created_count: 0,
            listed: 1,
            unknown: 0,
            outdated: 0,
            unreadable: BTreeMap::new(),
            bytes: 0,
            over_limit: false,
            unsent: None,
            reported: None,
        };
        assembly.follow(root, tree_requests);
        assembly
    }

    pub(super) fn followed(&self) -> impl Iterator<Item = &NodePath> {
        self.nodes.keys()
    }

    pub(super) fn follows(&self, path: &NodePath) -> bool {
        self.nodes.contains_key(path)
    }

    /// Takes in what was told of a node, if it is followed.
    pub(super) fn observe(
        &mut self,
        path: &NodePath,
        facet: Facet,
        observe: Observation,
        now: Instant,
        tree_requests: &mut Vec<TreeRequest>,
    ) {
        if !self.follows(path) {
            return;
        }
        self.alter(path, |node| node.observe(facet, &observe));
        match observe {
            Observation::Data(version, data) => self.keep(path, version, data),
            Observation::Children(names) => self.list(path, names, tree_requests),
            Observation::Absent if facet == Facet::Data => self.put(path, Retained::Nothing),
            Observation::Absent => self.list(path, Arc::from([]), tree_requests),
            Observation::Unreadable(reason) => {
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
        let first = self.unsent.map_or(now, |(first, _)| first);
        self.unsent = Some((first, now));
    }

    /// When [`Self::poll`] may have something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, latest) = self.unsent?;
        let quiet = (latest + DEBOUNCE).min(first + MAX_DEBOUNCE);
        match () {
            () if self.has_error() => Some(quiet),
            () if self.unknown > 0 => None,
            () if self.outdated > 0 => Some(first + COHERENCE_TIMEOUT),
            () => Some(quiet),
        }
    }

    /// Gives what there is to say, if it is time.
    pub(super) fn poll(&mut self, now: Instant, tree_requests: &mut Vec<TreeRequest>) -> Option<TreeEvent> {
        self.due().filter(|due| *due <= now)?;
        if self.has_error() {
            self.unsent = None;
            return self.report_error();
        }
        // After trouble, this may be what is left to do.
        self.follow_missing(tree_requests);
        self.reread_over_limit(tree_requests);
        if self.unknown > 0 {
            return None;
        }
        (self.unsent, self.reported) = (None, None);
        Some(TreeEvent::Is(self.state()))
    }

    fn state(&self) -> State {
        // What is listed and absent was deleted just now, or is a link to nowhere.
        let nodes: Box<[_]> = self.nodes.values().filter_map(NodeProgress::whole).cloned().collect();
        if nodes.first().is_none_or(|first| first.path != self.root) {
            return State::Absent;
        }
        let tree = Tree { nodes };
        State::Present { version: tree.version(), content: Content::Tree(Arc::new(tree)) }
    }

    fn has_error(&self) -> bool {
        !self.unreadable.is_empty() || self.has_too_many() || self.is_too_large()
    }

    fn has_too_many(&self) -> bool {
        self.listed > MAX_TREE_NODES
    }

    fn is_too_large(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    /// Says what the trouble is, unless that was said and is still so.
    fn report_error(&mut self) -> Option<TreeEvent> {
        let persists = match &self.reported {
            None => false,
            Some(TreeError::NodeProgress(path)) => self.unreadable.contains_key(path),
            Some(TreeError::TooMany) => self.has_too_many(),
            Some(TreeError::TooLarge) => self.is_too_large(),
        };
        if persists {
            return None;
        }
        let remedy = "remove some, or watch smaller trees below it";
        let (trouble, reason) = if let Some((path, reason)) = self.unreadable.first_key_value() {
            (TreeError::NodeProgress(path.clone()), format!("{:?}: {reason}", path.as_str()))
        } else if self.has_too_many() {
            (TreeError::TooMany, format!("it has more than {MAX_TREE_NODES} nodes; {remedy}"))
        } else {
            (TreeError::TooLarge, format!("its nodes hold more than {} MiB; {remedy}", MAX_BYTES >> 20))
        };
        self.reported = Some(trouble);
        Some(TreeEvent::Unreadable(reason))
    }

    /// Changes a node, if it is followed, and keeps count.
    fn alter(&mut self, path: &NodePath, change: impl FnOnce(&mut NodeProgress)) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = node.readiness();
        change(node);
        let after = node.readiness();
        if before == after {
            return;
        }
        self.count_readiness(path, before, false);
        self.count_readiness(path, after, true);
    }

    /// Counts a node in or out.
    fn count_readiness(&mut self, path: &NodePath, readiness: Readiness, does: bool) {
        let count = |number: &mut usize| *number = if does { *number + 1 } else { *number - 1 };
        match readiness {
            Readiness::Known => {}
            Readiness::Outdated => count(&mut self.outdated),
            Readiness::Unknown => count(&mut self.unknown),
            // Whoever makes it so says why.
            Readiness::Unreadable if does => {}
            Readiness::Unreadable => {
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
        if self.bytes - node.bytes() + bytes > MAX_BYTES {
            self.over_limit = true;
            self.put(path, Retained::OverLimit(bytes));
            return;
        }
        let node =
            TreeNode::new(path.clone(), version, data, node.generation, self.capabilities.durable_versions);
        self.put(path, Retained::Whole(Arc::new(node)));
    }

    fn put(&mut self, path: &NodePath, retained: Retained) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        self.bytes -= node.bytes();
        node.retained = retained;
        self.bytes += node.bytes();
    }

    /// Follows the children that are new, and no longer those that are gone.
    fn list(&mut self, path: &NodePath, mut names: Arc<[String]>, tree_requests: &mut Vec<TreeRequest>) {
        if let Some(reserved) = self.capabilities.reserved
            && path.as_str() == "/"
        {
            names = names.iter().filter(|name| *name != reserved).cloned().collect();
        }
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = mem::replace(&mut node.listed, Arc::clone(&names));
        self.listed = self.listed + names.len() - before.len();
        for gone in before.iter().filter(|name| names.binary_search(name).is_err()) {
            self.leave(&path.child(gone), tree_requests);
        }
        for new in names.iter().filter(|name| before.binary_search(name).is_err()) {
            self.follow(path.child(new), tree_requests);
        }
    }

    fn follow(&mut self, path: NodePath, tree_requests: &mut Vec<TreeRequest>) {
        if self.nodes.len() < MAX_TREE_NODES {
            self.created_count += 1;
            self.unknown += 1;
            self.nodes.insert(path.clone(), NodeProgress::new(self.created_count));
            tree_requests.push(TreeRequest::Follow(path));
        }
    }

    /// Follows neither a node nor what is below it any more.
    fn leave(&mut self, path: &NodePath, tree_requests: &mut Vec<TreeRequest>) {
        let prefix = format!("{path}/");
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let below = self.nodes.range::<str, _>(from).map(|(path, _)| path);
        let below = below.take_while(|path| path.as_str().starts_with(&prefix));
        let gone: Vec<NodePath> = below.chain([path]).cloned().collect();
        for path in gone {
            let Some(node) = self.nodes.remove(&path) else { continue };
            self.count_readiness(&path, node.readiness(), false);
            self.listed -= node.listed.len();
            self.bytes -= node.bytes();
            tree_requests.push(TreeRequest::Unfollow(path));
        }
    }

    /// Follows what is listed and had no room.
    fn follow_missing(&mut self, tree_requests: &mut Vec<TreeRequest>) {
        if self.listed == self.nodes.len() {
            return;
        }
        let children = |(path, node): (&NodePath, &NodeProgress)| -> Vec<NodePath> {
            node.listed.iter().map(|name| path.child(name)).collect()
        };
        let listed: Vec<NodePath> = self.nodes.iter().flat_map(children).collect();
        for path in listed {
            if !self.follows(&path) {
                self.follow(path, tree_requests);
            }
        }
    }

    /// Has the data read for which there was no room.
    fn reread_over_limit(&mut self, tree_requests: &mut Vec<TreeRequest>) {
        if !mem::take(&mut self.over_limit) {
            return;
        }
        let is_withheld = |node: &NodeProgress| matches!(node.retained, Retained::OverLimit(_));
        let over_limit = self.nodes.iter().filter(|(_, node)| is_withheld(node));
        let over_limit: Vec<NodePath> = over_limit.map(|(path, _)| path.clone()).collect();
        for path in over_limit {
            self.alter(&path, |node| node.forget(Facet::Data));
            tree_requests.push(TreeRequest::Reread(path));
        }
    }
}
