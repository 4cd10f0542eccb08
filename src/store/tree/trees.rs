//! All trees of a store, and which nodes are followed for which of them, or for the daemon itself.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use super::assembly::{Assembly, TreeEvent, TreeRequest};
use crate::model::{Facet, NodeFacet, NodePath, NodeSubject, Shrink, Subject};
use crate::store::backend::{Capabilities, NodeCommand, Observation};
use crate::store::message::{StoreCommand, StoreEvent};

/// Turns the daemon's commands into commands to the backend, and the backend's reports into events for the
/// daemon. The commands that a call leads to are added to `commands`.
pub(super) struct Trees {
    capabilities: Capabilities,
    /// The trees by their roots.
    trees: HashMap<NodePath, Assembly>,
    /// When each tree is due that has something to report.
    schedule: BTreeSet<(Instant, NodePath)>,
    /// What the daemon itself follows.
    direct: HashSet<NodeSubject>,
    /// What the backend cannot read. It does not repeat this for trees that follow the node later.
    unreadable: HashMap<NodeSubject, String>,
}

impl Trees {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            trees: HashMap::new(),
            schedule: BTreeSet::new(),
            direct: HashSet::new(),
            unreadable: HashMap::new(),
        }
    }

    /// Carries out a command of the daemon.
    pub(super) fn take(&mut self, command: StoreCommand, now: Instant, commands: &mut Vec<NodeCommand>) {
        match command {
            StoreCommand::Follow(Subject { path, facet }) => match facet.of_node() {
                Some(facet) => {
                    let is_known = !self.roots(&path).is_empty();
                    let subject = NodeSubject { path, facet };
                    commands.push(follow(subject.clone(), is_known));
                    self.direct.insert(subject);
                }
                None => self.follow_tree(path, now, commands),
            },
            StoreCommand::Leave(Subject { path, facet }) => match facet.of_node() {
                Some(facet) => {
                    let subject = NodeSubject { path, facet };
                    self.direct.remove(&subject);
                    self.direct.shrink_if_sparse();
                    self.release(subject, commands);
                }
                None => self.leave_tree(&path, commands),
            },
            StoreCommand::Refresh(Subject { path, facet }) => match facet.of_node() {
                Some(facet) => commands.push(NodeCommand::Refresh(NodeSubject { path, facet })),
                // What is known of the tree is true or will be corrected.
                None => self.alter(&path, |tree| tree.touch(now)),
            },
        }
    }

    fn follow_tree(&mut self, root: NodePath, now: Instant, commands: &mut Vec<NodeCommand>) {
        let mut requests = Vec::new();
        let tree = Assembly::new(root.clone(), self.capabilities, &mut requests);
        self.trees.insert(root.clone(), tree);
        self.carry_out(&root, requests, now, commands);
    }

    fn leave_tree(&mut self, root: &NodePath, commands: &mut Vec<NodeCommand>) {
        let Some(tree) = self.trees.remove(root) else { return };
        if let Some(due) = tree.due() {
            self.schedule.remove(&(due, root.clone()));
        }
        for subject in tree.followed().flat_map(facets) {
            self.release(subject, commands);
        }
    }

    /// Returns true if the daemon itself follows `subject`, or the tree whose root it is.
    pub(super) fn is_wanted(&self, subject: &NodeSubject) -> bool {
        self.direct.contains(subject) || self.trees.contains_key(&subject.path)
    }

    /// Notes that the latest report on `subject` is not true any more, and that it is being read.
    pub(super) fn outdated(&mut self, subject: &NodeSubject) {
        for root in self.roots(&subject.path) {
            self.alter(&root, |tree| tree.outdated(&subject.path, subject.facet));
        }
    }

    /// Notes that there is a new connection, and that the backend reports all nodes anew.
    pub(super) fn connected(&mut self) {
        self.unreadable.clear();
        for root in self.trees.keys().cloned().collect::<Vec<_>>() {
            self.alter(&root, Assembly::connected);
        }
    }

    /// Takes in a report of the backend. Returns it as an event if it is for the daemon.
    pub(super) fn route(
        &mut self,
        subject: NodeSubject,
        observation: Observation,
        now: Instant,
        commands: &mut Vec<NodeCommand>,
    ) -> Option<StoreEvent> {
        if let Observation::Unreadable(reason) = &observation {
            self.unreadable.insert(subject.clone(), reason.clone());
        } else if !self.unreadable.is_empty() {
            self.unreadable.remove(&subject);
        }
        let roots = self.roots(&subject.path);
        for root in &roots {
            self.observe(root, &subject, observation.clone(), now, commands);
        }
        (roots.is_empty() || self.direct.contains(&subject)).then(|| observation.into_event(subject))
    }

    /// Returns when [`Self::poll`] may have something to report.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// Returns what there is to report of a tree, if one is due. To be called again until it returns nothing.
    pub(super) fn poll(&mut self, now: Instant, commands: &mut Vec<NodeCommand>) -> Option<StoreEvent> {
        while let Some((due, root)) = self.schedule.first()
            && *due <= now
        {
            let (root, mut requests, mut event) = (root.clone(), Vec::new(), None);
            self.alter(&root, |tree| event = tree.poll(now, &mut requests));
            self.carry_out(&root, requests, now, commands);
            let subject = Subject { path: root, facet: Facet::Tree };
            match event {
                Some(TreeEvent::Is(state)) => return Some(StoreEvent::Observed { subject, state }),
                Some(TreeEvent::Unreadable(reason)) => {
                    return Some(StoreEvent::Unreadable { subject, reason });
                }
                None => {}
            }
        }
        None
    }

    /// Returns the roots of the trees that follow this node.
    fn roots(&self, path: &NodePath) -> Vec<NodePath> {
        if self.trees.is_empty() {
            return Vec::new();
        }
        let follows = |(root, tree): (&NodePath, &Assembly)| tree.follows(path).then(|| root.clone());
        // A path can have thousands of levels, and to look up each costs as much as its length. Usually there
        // are fewer trees.
        if self.trees.len() <= path.components().count() {
            let above = self.trees.iter().filter(|(root, _)| path.is_at_or_below(root));
            return above.filter_map(follows).collect();
        }
        let above = path.self_and_ancestors().filter_map(|root| self.trees.get_key_value(root));
        above.filter_map(follows).collect()
    }

    fn observe(
        &mut self,
        root: &NodePath,
        subject: &NodeSubject,
        observation: Observation,
        now: Instant,
        commands: &mut Vec<NodeCommand>,
    ) {
        let mut requests = Vec::new();
        self.alter(root, |tree| tree.observe(&subject.path, subject.facet, observation, now, &mut requests));
        self.carry_out(root, requests, now, commands);
    }

    fn carry_out(
        &mut self,
        root: &NodePath,
        requests: Vec<TreeRequest>,
        now: Instant,
        commands: &mut Vec<NodeCommand>,
    ) {
        for request in requests {
            match request {
                TreeRequest::Follow(path) => {
                    let is_in_others = self.roots(&path).iter().any(|other| other != root);
                    for subject in facets(&path) {
                        let is_known = is_in_others || self.direct.contains(&subject);
                        if let Some(reason) = self.unreadable.get(&subject).filter(|_| is_known) {
                            let observation = Observation::Unreadable(reason.clone());
                            self.observe(root, &subject, observation, now, commands);
                        }
                        commands.push(follow(subject, is_known));
                    }
                }
                TreeRequest::Leave(path) => facets(&path).for_each(|subject| self.release(subject, commands)),
                TreeRequest::Reread(path) => {
                    commands.push(NodeCommand::Refresh(NodeSubject { path, facet: NodeFacet::Data }));
                }
            }
        }
    }

    /// Stops following `subject`, unless the daemon or a tree still follows it.
    fn release(&mut self, subject: NodeSubject, commands: &mut Vec<NodeCommand>) {
        if !self.direct.contains(&subject) && self.roots(&subject.path).is_empty() {
            self.unreadable.remove(&subject);
            commands.push(NodeCommand::Leave(subject));
        }
    }

    /// Changes a tree, if there is one, and keeps the schedule in step.
    fn alter(&mut self, root: &NodePath, change: impl FnOnce(&mut Assembly)) {
        let Some(tree) = self.trees.get_mut(root) else { return };
        let before = tree.due();
        change(tree);
        let after = tree.due();
        if before == after {
            return;
        }
        if let Some(due) = before {
            self.schedule.remove(&(due, root.clone()));
        }
        if let Some(due) = after {
            self.schedule.insert((due, root.clone()));
        }
    }
}

/// Has the backend report `subject`, which it may follow already.
fn follow(subject: NodeSubject, is_known: bool) -> NodeCommand {
    if is_known { NodeCommand::Refresh(subject) } else { NodeCommand::Follow(subject) }
}

/// Iterates over the parts of a node that a tree is made of.
fn facets(path: &NodePath) -> impl Iterator<Item = NodeSubject> {
    [NodeFacet::Data, NodeFacet::Children].into_iter().map(|facet| NodeSubject { path: path.clone(), facet })
}
