//! One tree, or the members of one service, being assembled: what is known of the nodes, and when that makes
//! a state to send.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use super::limits::{COHERENCE_TIMEOUT, DEBOUNCE, MAX_BYTES, MAX_DEBOUNCE, MEMORY_RETRY, STARVED_RETRY};
use super::node::{NodeProgress, Readiness, Retained, WholeNode, tree_version, version_of};
use super::shape::Shape;
use crate::content::read_shared;
use crate::model::{Blob, NodeContent, NodeFacet, NodePath, NodeSubject, Origin, State, TreeNode, Version};
use crate::store::backend::{Capabilities, Observation};
use crate::store::encoding::{MAX_PATH_BYTES, MAX_TREE_NODES, TreeWriter};
use crate::store::memory;
use crate::store::said::{self, Said};

/// What a node takes in memory beside its path and its data: while a tree is put together, and while the node
/// is still to be read.
const ASSEMBLY_BYTES: u64 = 128;
const UNREAD_BYTES: u64 = 1 << 10;

/// What a tree needs from the backend.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TreeRequest {
    /// Report this from now on.
    Follow(NodeSubject),
    Leave(NodeSubject),
    /// Report the data of this node once more.
    Reread(NodePath),
}

/// What there is to report of a tree.
#[derive(Debug)]
pub(super) enum TreeEvent {
    Is(State),
    /// The reason.
    Unreadable(String),
}

/// Why a tree has no state to send until something changes.
#[derive(Debug, PartialEq, Eq)]
enum TreeError {
    Unreadable(NodePath),
    TooMany,
    TooLong,
    TooLarge,
    NoMemory,
}

pub(super) struct Assembly {
    shape: Shape,
    root: NodePath,
    /// The incarnation of the root, as its list of children has it.
    incarnation: i64,
    capabilities: Capabilities,
    /// The latest change of those that the nodes were reported with.
    origin: Origin,
    /// The nodes that are followed.
    nodes: BTreeMap<NodePath, NodeProgress>,
    /// The number of nodes that were ever followed.
    created_count: u64,
    /// The number of nodes by the lists of their parents: more than are followed if there are too many.
    listed: usize,
    /// The length of the paths of these nodes.
    path_bytes: u64,
    /// The number of nodes whose readiness is [`Readiness::Unknown`].
    unknown: usize,
    /// The number of nodes whose readiness is [`Readiness::Outdated`].
    outdated: usize,
    /// The nodes whose readiness is [`Readiness::Unreadable`], with the reason.
    unreadable: BTreeMap<NodePath, String>,
    /// The size of the data of all nodes.
    bytes: u64,
    /// Whether some data may not have been kept.
    over_limit: bool,
    /// Why data was not kept that did not fit into the memory.
    starved: Option<String>,
    /// The times of the first and of the latest report since a state was sent.
    unsent: Option<(Instant, Instant)>,
    /// The error that was reported last, until a state is sent.
    reported: Option<TreeError>,
}

impl Assembly {
    /// Makes a tree whose nodes are not known yet.
    pub(super) fn new(
        shape: Shape,
        root: NodePath,
        capabilities: Capabilities,
        requests: &mut Vec<TreeRequest>,
    ) -> Self {
        let mut assembly = Self {
            shape,
            root: root.clone(),
            incarnation: 0,
            capabilities,
            origin: Origin::UNKNOWN,
            nodes: BTreeMap::new(),
            created_count: 0,
            listed: 1,
            path_bytes: root.as_str().len() as u64,
            unknown: 0,
            outdated: 0,
            unreadable: BTreeMap::new(),
            bytes: 0,
            over_limit: false,
            starved: None,
            unsent: None,
            reported: None,
        };
        assembly.follow(root, requests);
        assembly
    }

    pub(super) fn followed(&self) -> impl Iterator<Item = NodeSubject> {
        self.nodes.keys().flat_map(|path| self.parts(path))
    }

    pub(super) fn follows(&self, subject: &NodeSubject) -> bool {
        self.facets(&subject.path).contains(&subject.facet) && self.nodes.contains_key(&subject.path)
    }

    fn facets(&self, path: &NodePath) -> &'static [NodeFacet] {
        self.shape.facets(*path == self.root)
    }

    /// Iterates over what is followed of a node.
    fn parts(&self, path: &NodePath) -> impl Iterator<Item = NodeSubject> + use<> {
        let path = path.clone();
        self.facets(&path).iter().map(move |facet| NodeSubject { path: path.clone(), facet: *facet })
    }

    /// Takes in a report on a node, if it is followed for this.
    pub(super) fn observe(
        &mut self,
        subject: &NodeSubject,
        observation: Observation,
        now: Instant,
        requests: &mut Vec<TreeRequest>,
    ) {
        if !self.follows(subject) {
            return;
        }
        let NodeSubject { path, facet } = subject;
        self.alter(path, |node| node.observe(*facet, &observation));
        if let Observation::Present { origin, .. } = observation {
            self.origin = self.origin.max(origin);
        }
        match (observation, facet) {
            (Observation::Present { version, content: NodeContent::Data(data), .. }, _) => {
                self.keep(path, version, &data);
            }
            (Observation::Present { version, content: NodeContent::Children(names), .. }, _) => {
                if *path == self.root {
                    self.incarnation = version.incarnation;
                }
                self.list(path, names, requests);
            }
            (Observation::Absent, NodeFacet::Data) => self.put(path, Retained::Nothing),
            (Observation::Absent, NodeFacet::Children) => self.list(path, Arc::from([]), requests),
            (Observation::Unreadable(reason), _) => {
                self.unreadable.insert(path.clone(), reason);
            }
        }
        self.touch(now);
    }

    /// Notes that the latest report on a node is not true any more, and that the node is being read.
    pub(super) fn outdated(&mut self, subject: &NodeSubject) {
        self.alter(&subject.path, |node| node.outdated(subject.facet));
    }

    /// Notes that any report may be untrue by now. The backend reports all nodes anew.
    pub(super) fn connected(&mut self) {
        for node in self.nodes.values_mut() {
            node.forget(NodeFacet::Data);
            node.forget(NodeFacet::Children);
        }
        (self.unknown, self.outdated) = (self.nodes.len(), 0);
        self.unreadable.clear();
        // The store may have been restored to an earlier state.
        self.origin = Origin::UNKNOWN;
    }

    /// Has the state sent, changed or not.
    pub(super) fn touch(&mut self, now: Instant) {
        let first = self.unsent.map_or(now, |(first, _)| first);
        self.unsent = Some((first, now));
    }

    /// Returns when [`Self::poll`] may have something to report.
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

    /// Returns what there is to report, if it is due.
    pub(super) fn poll(&mut self, now: Instant, requests: &mut Vec<TreeRequest>) -> Option<TreeEvent> {
        self.due().filter(|due| *due <= now)?;
        if self.has_error() {
            self.unsent = None;
            let event = self.report_error();
            if self.starved.take().is_some() {
                // Then that data is read again.
                self.touch(now + STARVED_RETRY);
            }
            return event;
        }
        // An error that is over may have left this to do.
        self.follow_missing(requests);
        self.reread_over_limit(requests);
        if self.unknown > 0 {
            return None;
        }
        match self.state() {
            Ok(state) => {
                (self.unsent, self.reported) = (None, None);
                Some(TreeEvent::Is(state))
            }
            Err(error) => {
                self.unsent = None;
                self.touch(now + MEMORY_RETRY);
                let before = self.reported.replace(TreeError::NoMemory);
                let reason = format!("it cannot be put together: {error}");
                (before != Some(TreeError::NoMemory)).then_some(TreeEvent::Unreadable(reason))
            }
        }
    }

    fn state(&self) -> io::Result<State> {
        match self.shape {
            Shape::Tree => self.tree(),
            Shape::Members => self.members(),
        }
    }

    fn members(&self) -> io::Result<State> {
        if self.nodes.get(&self.root).is_none_or(NodeProgress::is_listed_absent) {
            return Ok(State::Absent);
        }
        memory::room_for(self.overhead()).map_err(io::Error::other)?;
        let said =
            || self.nodes.iter().filter_map(|(path, node)| Some((name(&self.root, path), node.said()?)));
        let version = version_of(self.incarnation, said().map(|(_, said)| said.hash()));
        Ok(State::Present { version, origin: self.origin, content: said::content(said())? })
    }

    fn tree(&self) -> io::Result<State> {
        // A node that is listed and absent was deleted just now, or is a link to nowhere.
        let nodes: Vec<&WholeNode> = self.nodes.values().filter_map(NodeProgress::whole).collect();
        if nodes.first().is_none_or(|first| first.node.path != self.root) {
            return Ok(State::Absent);
        }
        memory::room_for(self.overhead()).map_err(io::Error::other)?;
        let mut tree = TreeWriter::new(&self.root);
        for WholeNode { node, data, .. } in &nodes {
            tree.add(Arc::clone(node), data)?;
        }
        let (version, origin) = (tree_version(&nodes), self.origin);
        Ok(State::Present { version, origin, content: tree.finish()? })
    }

    /// What the tree needs beside the data, with what is still to be read.
    fn overhead(&self) -> u64 {
        2 * self.path_bytes + self.listed as u64 * ASSEMBLY_BYTES + self.unknown as u64 * UNREAD_BYTES
    }

    fn has_error(&self) -> bool {
        self.starved.is_some()
            || !self.unreadable.is_empty()
            || self.has_too_many()
            || self.is_too_long()
            || self.is_too_large()
    }

    fn has_too_many(&self) -> bool {
        self.listed > self.shape.max_nodes()
    }

    fn is_too_long(&self) -> bool {
        self.path_bytes > MAX_PATH_BYTES
    }

    fn is_too_large(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    /// Returns the error, unless it was reported and persists.
    fn report_error(&mut self) -> Option<TreeEvent> {
        let persists = match &self.reported {
            None => false,
            Some(TreeError::Unreadable(path)) => self.unreadable.contains_key(path),
            Some(TreeError::TooMany) => self.has_too_many(),
            Some(TreeError::TooLong) => self.is_too_long(),
            Some(TreeError::TooLarge) => self.is_too_large(),
            Some(TreeError::NoMemory) => self.starved.is_some(),
        };
        if persists {
            return None;
        }
        let (parts, remedy) = (self.shape.parts(), self.shape.remedy());
        let (error, reason) = if let Some((path, reason)) = self.unreadable.first_key_value() {
            (TreeError::Unreadable(path.clone()), format!("{:?}: {reason}", path.as_str()))
        } else if self.has_too_many() {
            (TreeError::TooMany, format!("it has more than {MAX_TREE_NODES} {parts}; {remedy}"))
        } else if self.is_too_long() {
            let limit = MAX_PATH_BYTES >> 20;
            (TreeError::TooLong, format!("the paths of its {parts} have more than {limit} MiB; {remedy}"))
        } else if let Some(reason) = &self.starved
            && !self.is_too_large()
        {
            (TreeError::NoMemory, format!("a node of it has no room: {reason}"))
        } else {
            (TreeError::TooLarge, format!("its {parts} hold more than {} MiB; {remedy}", MAX_BYTES >> 20))
        };
        self.reported = Some(error);
        Some(TreeEvent::Unreadable(reason))
    }

    /// Changes a node, if it is followed, and keeps the counts right.
    fn alter(&mut self, path: &NodePath, change: impl FnOnce(&mut NodeProgress)) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = node.readiness();
        change(node);
        let after = node.readiness();
        if before == after {
            return;
        }
        self.count(path, before, false);
        self.count(path, after, true);
    }

    /// Counts a node in or out.
    fn count(&mut self, path: &NodePath, readiness: Readiness, into: bool) {
        let count = |number: &mut usize| *number = if into { *number + 1 } else { *number - 1 };
        match readiness {
            Readiness::Known => {}
            Readiness::Outdated => count(&mut self.outdated),
            Readiness::Unknown => count(&mut self.unknown),
            // The caller adds it with its reason.
            Readiness::Unreadable if into => {}
            Readiness::Unreadable => {
                self.unreadable.remove(path);
            }
        }
    }

    /// Keeps a node's data, unless the tree has too much of it.
    fn keep(&mut self, path: &NodePath, version: Version, blob: &Blob) {
        let Some(node) = self.nodes.get(path) else { return };
        if node.is_retained(version) {
            return;
        }
        let bytes = blob.len();
        if self.bytes - node.bytes() + bytes > MAX_BYTES {
            self.over_limit = true;
            self.put(path, Retained::OverLimit(bytes));
            return;
        }
        // The rest of the tree, and what it is put together with, must fit as well.
        let data = memory::room_for(bytes + self.overhead()).map_err(|no_room| no_room.to_string());
        let data = data.and_then(|()| read_shared(blob).map_err(|error| error.to_string()));
        let data = match data {
            Ok(data) => data,
            Err(reason) => {
                (self.over_limit, self.starved) = (true, Some(reason));
                self.put(path, Retained::OverLimit(bytes));
                return;
            }
        };
        let retained = match self.shape {
            Shape::Tree => {
                let node = TreeNode { path: path.clone(), version, born: node.generation };
                Retained::Whole(WholeNode::new(node, data, self.capabilities.durable_versions))
            }
            Shape::Members => {
                let others = self.bytes - node.bytes();
                match Said::decode(name(&self.root, path), &data, self.overhead()) {
                    Ok(said) if others + said.bytes() > MAX_BYTES => {
                        self.over_limit = true;
                        Retained::OverLimit(said.bytes())
                    }
                    Ok(said) => Retained::Said(said, version),
                    Err(no_room) => {
                        (self.over_limit, self.starved) = (true, Some(no_room.to_string()));
                        Retained::OverLimit(bytes)
                    }
                }
            }
        };
        self.put(path, retained);
    }

    fn put(&mut self, path: &NodePath, retained: Retained) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        self.bytes -= node.bytes();
        node.retained = retained;
        self.bytes += node.bytes();
    }

    /// Follows the children that are new, and stops following those that are gone.
    fn list(&mut self, path: &NodePath, mut names: Arc<[String]>, requests: &mut Vec<TreeRequest>) {
        if let Some(reserved) = self.capabilities.reserved_child
            && self.shape == Shape::Tree
            && path.as_str() == "/"
        {
            names = names.iter().filter(|name| *name != reserved).cloned().collect();
        }
        let Some(node) = self.nodes.get_mut(path) else { return };
        let before = mem::replace(&mut node.listed, Arc::clone(&names));
        self.listed = self.listed + names.len() - before.len();
        self.path_bytes = self.path_bytes + path_bytes(path, &names) - path_bytes(path, &before);
        for gone in before.iter().filter(|name| names.binary_search(name).is_err()) {
            self.leave(&path.child(gone), requests);
        }
        for new in names.iter().filter(|name| before.binary_search(name).is_err()) {
            self.follow(path.child(new), requests);
        }
    }

    fn follow(&mut self, path: NodePath, requests: &mut Vec<TreeRequest>) {
        if self.nodes.len() < self.shape.max_nodes() && !self.is_too_long() {
            self.created_count += 1;
            self.unknown += 1;
            let node = NodeProgress::new(self.created_count, self.facets(&path));
            self.nodes.insert(path.clone(), node);
            requests.extend(self.parts(&path).map(TreeRequest::Follow));
        }
    }

    /// Stops following a node and all nodes below it.
    fn leave(&mut self, path: &NodePath, requests: &mut Vec<TreeRequest>) {
        let prefix = format!("{path}/");
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let below = self.nodes.range::<str, _>(from).map(|(path, _)| path);
        let below = below.take_while(|path| path.as_str().starts_with(&prefix));
        let gone: Vec<NodePath> = below.chain([path]).cloned().collect();
        for path in gone {
            let Some(node) = self.nodes.remove(&path) else { continue };
            self.count(&path, node.readiness(), false);
            self.listed -= node.listed.len();
            self.path_bytes -= path_bytes(&path, &node.listed);
            self.bytes -= node.bytes();
            requests.extend(self.parts(&path).map(TreeRequest::Leave));
        }
    }

    /// Follows the nodes that are listed but were too many before.
    fn follow_missing(&mut self, requests: &mut Vec<TreeRequest>) {
        if self.listed == self.nodes.len() {
            return;
        }
        let children = |(path, node): (&NodePath, &NodeProgress)| -> Vec<NodePath> {
            node.listed.iter().map(|name| path.child(name)).collect()
        };
        let listed: Vec<NodePath> = self.nodes.iter().flat_map(children).collect();
        for path in listed {
            if !self.nodes.contains_key(&path) {
                self.follow(path, requests);
            }
        }
    }

    /// Has the data read again that was too much before.
    fn reread_over_limit(&mut self, requests: &mut Vec<TreeRequest>) {
        if !mem::take(&mut self.over_limit) {
            return;
        }
        let is_withheld = |node: &NodeProgress| matches!(node.retained, Retained::OverLimit(_));
        let over_limit = self.nodes.iter().filter(|(_, node)| is_withheld(node));
        let over_limit: Vec<NodePath> = over_limit.map(|(path, _)| path.clone()).collect();
        for path in over_limit {
            self.alter(&path, |node| node.forget(NodeFacet::Data));
            requests.push(TreeRequest::Reread(path));
        }
    }
}

/// Returns the name of a child of `root`.
fn name<'a>(root: &NodePath, child: &'a NodePath) -> &'a str {
    child.relative_to(root).trim_start_matches('/')
}

/// Returns the length of the paths of these children of the node `path`.
fn path_bytes(path: &NodePath, names: &[String]) -> u64 {
    names.iter().map(|name| path.as_str().len() as u64 + 1 + name.len() as u64).sum()
}
