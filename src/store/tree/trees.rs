//! All trees of a store, and what of the store is followed for which of them, or for the daemon itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::Nature;
use super::assembly::{Assembly, Verdict, Wish};
use super::node::Told;
use crate::model::{Content, Facet, NodePath, State, Subject};
use crate::store::StoreEvent;
use crate::store::subscriptions::Command;

/// Turns what the daemon wants into what the store's task is told, and what that tells into what the daemon hears.
/// The commands that a call leads to are added to `commands`.
pub(super) struct Trees {
    nature: Nature,
    /// By their roots.
    trees: HashMap<NodePath, Assembly>,
    /// When each tree that has one is due.
    agenda: BTreeSet<(Instant, NodePath)>,
    /// What the daemon itself follows.
    plain: HashSet<Subject>,
    /// What the store said that it cannot read, which it does not repeat to who comes later.
    unreadable: HashMap<Subject, String>,
}

impl Trees {
    pub(super) fn new(nature: Nature) -> Self {
        Self {
            nature,
            trees: HashMap::new(),
            agenda: BTreeSet::new(),
            plain: HashSet::new(),
            unreadable: HashMap::new(),
        }
    }

    pub(super) fn subscribe(&mut self, subject: Subject, now: Instant, commands: &mut Vec<Command>) {
        match subject.facet {
            Facet::Data | Facet::Children => {
                let is_known = !self.roots(&subject.path).is_empty();
                commands.push(follow(subject.clone(), is_known));
                self.plain.insert(subject);
            }
            Facet::Tree => {
                let mut wishes = Vec::new();
                let tree = Assembly::new(subject.path.clone(), self.nature, &mut wishes);
                self.trees.insert(subject.path.clone(), tree);
                self.grant(&subject.path, wishes, now, commands);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, subject: &Subject, commands: &mut Vec<Command>) {
        match subject.facet {
            Facet::Data | Facet::Children => {
                self.plain.remove(subject);
                self.release(subject.clone(), commands);
            }
            Facet::Tree => {
                let Some(tree) = self.trees.remove(&subject.path) else { return };
                if let Some(due) = tree.due() {
                    self.agenda.remove(&(due, subject.path.clone()));
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
        self.plain.contains(subject) || self.trees.contains_key(&subject.path)
    }

    /// What was told of `subject` is not true any more; it is being read.
    pub(super) fn outdated(&mut self, subject: &Subject) {
        for root in self.roots(&subject.path) {
            self.alter(&root, |tree| tree.outdated(&subject.path, subject.facet));
        }
    }

    /// Takes in what the store tells, and gives it back if it is for the daemon.
    pub(super) fn sift(
        &mut self,
        event: StoreEvent,
        now: Instant,
        commands: &mut Vec<Command>,
    ) -> Option<StoreEvent> {
        let (subject, told) = match &event {
            StoreEvent::Observed { subject, state } => {
                if !self.unreadable.is_empty() {
                    self.unreadable.remove(subject);
                }
                (subject, told(state))
            }
            StoreEvent::Unreadable { subject, reason } => {
                self.unreadable.insert(subject.clone(), reason.clone());
                (subject, Told::Unreadable(reason.clone()))
            }
            StoreEvent::Connected { .. } => {
                self.connected();
                return Some(event);
            }
            StoreEvent::Disconnected { .. }
            | StoreEvent::Refused { .. }
            | StoreEvent::Exposed(_)
            | StoreEvent::Drifted { .. }
            | StoreEvent::Degraded { .. } => return Some(event),
        };
        let roots = self.roots(&subject.path);
        for root in &roots {
            self.tell(root, subject, told.clone(), now, commands);
        }
        (roots.is_empty() || self.plain.contains(subject)).then_some(event)
    }

    /// When [`Self::settle`] may have something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Gives what there is to say of a tree, if it is time; to be called again until it gives nothing.
    pub(super) fn settle(&mut self, now: Instant, commands: &mut Vec<Command>) -> Option<StoreEvent> {
        while let Some((due, root)) = self.agenda.first()
            && *due <= now
        {
            let (root, mut wishes, mut verdict) = (root.clone(), Vec::new(), None);
            self.alter(&root, |tree| verdict = tree.settle(now, &mut wishes));
            self.grant(&root, wishes, now, commands);
            let subject = Subject { path: root, facet: Facet::Tree };
            match verdict {
                Some(Verdict::Is(state)) => return Some(StoreEvent::Observed { subject, state }),
                Some(Verdict::Unreadable(reason)) => return Some(StoreEvent::Unreadable { subject, reason }),
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
        let above = path.lineage().filter_map(|root| self.trees.get_key_value(root));
        above.filter(|(_, tree)| tree.follows(path)).map(|(root, _)| root.clone()).collect()
    }

    fn tell(
        &mut self,
        root: &NodePath,
        subject: &Subject,
        told: Told,
        now: Instant,
        commands: &mut Vec<Command>,
    ) {
        let mut wishes = Vec::new();
        self.alter(root, |tree| tree.told(&subject.path, subject.facet, told, now, &mut wishes));
        self.grant(root, wishes, now, commands);
    }

    fn grant(&mut self, root: &NodePath, wishes: Vec<Wish>, now: Instant, commands: &mut Vec<Command>) {
        for wish in wishes {
            match wish {
                Wish::Follow(path) => {
                    let is_in_others = self.roots(&path).iter().any(|other| other != root);
                    for subject in facets(&path) {
                        let is_known = is_in_others || self.plain.contains(&subject);
                        if let Some(reason) = self.unreadable.get(&subject).filter(|_| is_known) {
                            let told = Told::Unreadable(reason.clone());
                            self.tell(root, &subject, told, now, commands);
                        }
                        commands.push(follow(subject, is_known));
                    }
                }
                Wish::Leave(path) => facets(&path).for_each(|subject| self.release(subject, commands)),
                Wish::Reread(path) => {
                    commands.push(Command::Refresh(Subject { path, facet: Facet::Data }));
                }
            }
        }
    }

    /// Follows `subject` no longer, unless somebody does.
    fn release(&mut self, subject: Subject, commands: &mut Vec<Command>) {
        if !self.plain.contains(&subject) && self.roots(&subject.path).is_empty() {
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
            self.agenda.remove(&(due, root.clone()));
        }
        if let Some(due) = after {
            self.agenda.insert((due, root.clone()));
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

fn told(state: &State) -> Told {
    match state {
        State::Absent => Told::Absent,
        State::Present { version, content: Content::Data(data) } => Told::Data(*version, Arc::clone(data)),
        State::Present { version: _, content: Content::Children(names) } => Told::Children(Arc::clone(names)),
        State::Present { version: _, content: Content::Tree(_) } => super::not_of_a_store(),
    }
}
