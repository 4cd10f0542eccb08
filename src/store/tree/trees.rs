//! All trees of a store, and what of the store is followed for which of them, or for the daemon itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::Capabilities;
use super::assembly::{Assembly, TreeEvent, TreeRequest};
use super::node::Observation;
use crate::model::{Content, Facet, NodePath, State, Subject};
use crate::store::StoreEvent;
use crate::store::subscriptions::Command;

/// Turns what the daemon wants into what the store's task is told, and what that tells into what the daemon hears.
/// The commands that a call leads to are added to `commands`.
pub(super) struct Trees {
    capabilities: Capabilities,
    /// By their roots.
    trees: HashMap<NodePath, Assembly>,
    /// When each tree that has one is due.
    schedule: BTreeSet<(Instant, NodePath)>,
    /// What the daemon itself follows.
    direct: HashSet<Subject>,
    /// What the store said that it cannot read, which it does not repeat to who comes later.
    unreadable: HashMap<Subject, String>,
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

    pub(super) fn subscribe(&mut self, subject: Subject, now: Instant, commands: &mut Vec<Command>) {
        match subject.facet {
            Facet::Data | Facet::Children => {
                let is_known = !self.roots(&subject.path).is_empty();
                commands.push(follow(subject.clone(), is_known));
                self.direct.insert(subject);
            }
            Facet::Tree => {
                let mut tree_requests = Vec::new();
                let tree = Assembly::new(subject.path.clone(), self.capabilities, &mut tree_requests);
                self.trees.insert(subject.path.clone(), tree);
                self.carry_out(&subject.path, tree_requests, now, commands);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, subject: &Subject, commands: &mut Vec<Command>) {
        match subject.facet {
            Facet::Data | Facet::Children => {
                self.direct.remove(subject);
                self.release(subject.clone(), commands);
            }
            Facet::Tree => {
                let Some(tree) = self.trees.remove(&subject.path) else { return };
                if let Some(due) = tree.due() {
                    self.schedule.remove(&(due, subject.path.clone()));
                }
                for subject in tree.followed().flat_map(facets) {
                    self.release(subject, commands);
                }
            }
        }
    }

    pub(super) fn refresh(&mut self, subject: &Subject, now: Instant, commands: &mut Vec<Command>) {
        match subject.facet {
            Facet::Data | Facet::Children => commands.push(Command::Refresh(subject.clone())),
            // What is known of it is true or will be corrected.
            Facet::Tree => self.alter(&subject.path, |tree| tree.touch(now)),
        }
    }

    /// Whether the daemon itself follows this, or the tree whose root it is of.
    pub(super) fn is_wanted(&self, subject: &Subject) -> bool {
        self.direct.contains(subject) || self.trees.contains_key(&subject.path)
    }

    /// What was told of `subject` is not true any more; it is being read.
    pub(super) fn outdated(&mut self, subject: &Subject) {
        for root in self.roots(&subject.path) {
            self.alter(&root, |tree| tree.outdated(&subject.path, subject.facet));
        }
    }

    /// Takes in what the store tells, and gives it back if it is for the daemon.
    pub(super) fn route(
        &mut self,
        event: StoreEvent,
        now: Instant,
        commands: &mut Vec<Command>,
    ) -> Option<StoreEvent> {
        let (subject, observation) = match &event {
            StoreEvent::Observed { subject, state } => {
                if !self.unreadable.is_empty() {
                    self.unreadable.remove(subject);
                }
                (subject, observation(state))
            }
            StoreEvent::Unreadable { subject, reason } => {
                self.unreadable.insert(subject.clone(), reason.clone());
                (subject, Observation::Unreadable(reason.clone()))
            }
            StoreEvent::Connected { .. } => {
                self.connected();
                return Some(event);
            }
            StoreEvent::Disconnected { .. }
            | StoreEvent::Refused { .. }
            | StoreEvent::Exposed(_)
            | StoreEvent::MissedChange { .. }
            | StoreEvent::Degraded { .. } => return Some(event),
        };
        let roots = self.roots(&subject.path);
        for root in &roots {
            self.observe(root, subject, observation.clone(), now, commands);
        }
        (roots.is_empty() || self.direct.contains(subject)).then_some(event)
    }

    /// When [`Self::poll`] may have something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// Gives what there is to say of a tree, if it is time; to be called again until it gives nothing.
    pub(super) fn poll(&mut self, now: Instant, commands: &mut Vec<Command>) -> Option<StoreEvent> {
        while let Some((due, root)) = self.schedule.first()
            && *due <= now
        {
            let (root, mut tree_requests, mut event) = (root.clone(), Vec::new(), None);
            self.alter(&root, |tree| event = tree.poll(now, &mut tree_requests));
            self.carry_out(&root, tree_requests, now, commands);
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

    fn connected(&mut self) {
        self.unreadable.clear();
        for root in self.trees.keys().cloned().collect::<Vec<_>>() {
            self.alter(&root, Assembly::connected);
        }
    }

    /// The roots of the trees that follow this node.
    fn roots(&self, path: &NodePath) -> Vec<NodePath> {
        if self.trees.is_empty() {
            return Vec::new();
        }
        let above = path.self_and_ancestors().filter_map(|root| self.trees.get_key_value(root));
        above.filter(|(_, tree)| tree.follows(path)).map(|(root, _)| root.clone()).collect()
    }

    fn observe(
        &mut self,
        root: &NodePath,
        subject: &Subject,
        observation: Observation,
        now: Instant,
        commands: &mut Vec<Command>,
    ) {
        let mut tree_requests = Vec::new();
        self.alter(root, |tree| {
            tree.observe(&subject.path, subject.facet, observation, now, &mut tree_requests)
        });
        self.carry_out(root, tree_requests, now, commands);
    }

    fn carry_out(
        &mut self,
        root: &NodePath,
        tree_requests: Vec<TreeRequest>,
        now: Instant,
        commands: &mut Vec<Command>,
    ) {
        for wish in tree_requests {
            match wish {
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
                TreeRequest::Unfollow(path) => {
                    facets(&path).for_each(|subject| self.release(subject, commands))
                }
                TreeRequest::Reread(path) => {
                    commands.push(Command::Refresh(Subject { path, facet: Facet::Data }));
                }
            }
        }
    }

    /// Follows `subject` no longer, unless somebody does.
    fn release(&mut self, subject: Subject, commands: &mut Vec<Command>) {
        if !self.direct.contains(&subject) && self.roots(&subject.path).is_empty() {
            self.unreadable.remove(&subject);
            commands.push(Command::Unsubscribe(subject));
        }
    }

    /// Changes a tree, if there is one, and keeps the agenda in step.
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

/// Has the store tell of `subject`, which it may know already.
fn follow(subject: Subject, is_known: bool) -> Command {
    if is_known { Command::Refresh(subject) } else { Command::Subscribe(subject) }
}

/// What of a node its tree is made of.
fn facets(path: &NodePath) -> impl Iterator<Item = Subject> {
    [Facet::Data, Facet::Children].into_iter().map(|facet| Subject { path: path.clone(), facet })
}

fn observation(state: &State) -> Observation {
    match state {
        State::Absent => Observation::Absent,
        State::Present { version, content: Content::Data(data) } => {
            Observation::Data(*version, Arc::clone(data))
        }
        State::Present { version: _, content: Content::Children(names) } => {
            Observation::Children(Arc::clone(names))
        }
        State::Present { version: _, content: Content::Tree(_) } => super::unsupported_tree_facet(),
    }
}
