//! All that a store assembles, and which nodes are followed for what of it, or for the daemon itself.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use super::assembly::{Assembly, TreeEvent, TreeRequest};
use super::shape::Shape;
use crate::model::{Facet, NodeFacet, NodePath, NodeSubject, Shrink, Subject};
use crate::store::backend::{Capabilities, NodeCommand, Observation};
use crate::store::message::{StoreCommand, StoreEvent};

/// Turns the daemon's commands into commands to the backend, and the backend's reports into events for the
/// daemon. The commands that a call leads to are added to `commands`.
pub(super) struct Trees {
    capabilities: Capabilities,
    /// The trees by their roots.
    trees: HashMap<NodePath, Assembly>,
    /// The members by their services.
    members: HashMap<NodePath, Assembly>,
    /// When each is due that has something to report.
    schedule: BTreeSet<(Instant, Whole)>,
    /// What the daemon itself follows.
    direct: HashSet<NodeSubject>,
    /// What the backend cannot read. It does not repeat this for trees that follow the node later.
    unreadable: HashMap<NodeSubject, String>,
}

/// What is assembled, by its root.
type Whole = (Shape, NodePath);

impl Trees {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            trees: HashMap::new(),
            members: HashMap::new(),
            schedule: BTreeSet::new(),
            direct: HashSet::new(),
            unreadable: HashMap::new(),
        }
    }

    /// Carries out a command of the daemon.
    pub(super) fn take(&mut self, command: StoreCommand, now: Instant, commands: &mut Vec<NodeCommand>) {
        match command {
            StoreCommand::Follow(subject) => match part_or_whole(subject) {
                PartOrWhole::Part(subject) => {
                    let is_known = !self.wholes(&subject).is_empty();
                    commands.push(follow(subject.clone(), is_known));
                    self.direct.insert(subject);
                }
                PartOrWhole::Whole(whole) => self.follow_whole(whole, now, commands),
            },
            StoreCommand::Leave(subject) => match part_or_whole(subject) {
                PartOrWhole::Part(subject) => {
                    self.direct.remove(&subject);
                    self.direct.shrink_if_sparse();
                    self.release(subject, commands);
                }
                PartOrWhole::Whole(whole) => self.leave_whole(&whole, commands),
            },
            StoreCommand::Refresh(subject) => match part_or_whole(subject) {
                PartOrWhole::Part(subject) => commands.push(NodeCommand::Refresh(subject)),
                // What is known of it is true or will be corrected.
                PartOrWhole::Whole(whole) => self.alter(&whole, |assembly| assembly.touch(now)),
            },
        }
    }

    fn follow_whole(&mut self, whole: Whole, now: Instant, commands: &mut Vec<NodeCommand>) {
        let mut requests = Vec::new();
        let (shape, root) = whole.clone();
        let assembly = Assembly::new(shape, root.clone(), self.capabilities, &mut requests);
        self.of_shape_mut(shape).insert(root, assembly);
        self.carry_out(&whole, requests, now, commands);
    }

    fn leave_whole(&mut self, whole: &Whole, commands: &mut Vec<NodeCommand>) {
        let Some(assembly) = self.of_shape_mut(whole.0).remove(&whole.1) else { return };
        if let Some(due) = assembly.due() {
            self.schedule.remove(&(due, whole.clone()));
        }
        for subject in assembly.followed() {
            self.release(subject, commands);
        }
    }

    fn of_shape_mut(&mut self, shape: Shape) -> &mut HashMap<NodePath, Assembly> {
        match shape {
            Shape::Tree => &mut self.trees,
            Shape::Members => &mut self.members,
        }
    }

    /// Returns true if the daemon itself follows `subject`, or what has it as its root.
    pub(super) fn is_wanted(&self, subject: &NodeSubject) -> bool {
        self.direct.contains(subject)
            || self.trees.contains_key(&subject.path)
            || (subject.facet == NodeFacet::Children && self.members.contains_key(&subject.path))
    }

    /// Notes that the latest report on `subject` is not true any more, and that it is being read.
    pub(super) fn outdated(&mut self, subject: &NodeSubject) {
        for whole in self.wholes(subject) {
            self.alter(&whole, |assembly| assembly.outdated(subject));
        }
    }

    /// Notes that there is a new connection, and that the backend reports all nodes anew.
    pub(super) fn connected(&mut self) {
        self.unreadable.clear();
        for shape in Shape::ALL {
            for root in self.of_shape_mut(shape).keys().cloned().collect::<Vec<_>>() {
                self.alter(&(shape, root), Assembly::connected);
            }
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
        let wholes = self.wholes(&subject);
        for whole in &wholes {
            self.observe(whole, &subject, observation.clone(), now, commands);
        }
        (wholes.is_empty() || self.direct.contains(&subject)).then(|| observation.into_event(subject))
    }

    /// Returns when [`Self::poll`] may have something to report.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// Returns what there is to report of a tree or of members, if one is due. To be called again until it
    /// returns nothing.
    pub(super) fn poll(&mut self, now: Instant, commands: &mut Vec<NodeCommand>) -> Option<StoreEvent> {
        while let Some((due, whole)) = self.schedule.first()
            && *due <= now
        {
            let (whole, mut requests, mut event) = (whole.clone(), Vec::new(), None);
            self.alter(&whole, |assembly| event = assembly.poll(now, &mut requests));
            self.carry_out(&whole, requests, now, commands);
            let (shape, path) = whole;
            let subject = Subject { path, facet: shape.facet() };
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

    /// Returns the trees and the members that this is a part of.
    fn wholes(&self, subject: &NodeSubject) -> Vec<Whole> {
        let mut wholes: Vec<Whole> =
            self.trees_with(subject).into_iter().map(|root| (Shape::Tree, root)).collect();
        if !self.members.is_empty() {
            let service = match subject.facet {
                NodeFacet::Children => Some(subject.path.as_str()),
                NodeFacet::Data => subject.path.parent(),
            };
            let service = service.and_then(|service| self.members.get_key_value(service));
            let service = service.filter(|(_, members)| members.follows(subject));
            wholes.extend(service.map(|(root, _)| (Shape::Members, root.clone())));
        }
        wholes
    }

    /// Returns the roots of the trees that follow this node.
    fn trees_with(&self, subject: &NodeSubject) -> Vec<NodePath> {
        if self.trees.is_empty() {
            return Vec::new();
        }
        let path = &subject.path;
        let follows = |(root, tree): (&NodePath, &Assembly)| tree.follows(subject).then(|| root.clone());
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
        whole: &Whole,
        subject: &NodeSubject,
        observation: Observation,
        now: Instant,
        commands: &mut Vec<NodeCommand>,
    ) {
        let mut requests = Vec::new();
        self.alter(whole, |assembly| assembly.observe(subject, observation, now, &mut requests));
        self.carry_out(whole, requests, now, commands);
    }

    fn carry_out(
        &mut self,
        whole: &Whole,
        requests: Vec<TreeRequest>,
        now: Instant,
        commands: &mut Vec<NodeCommand>,
    ) {
        for request in requests {
            match request {
                TreeRequest::Follow(subject) => {
                    let is_in_others = self.wholes(&subject).iter().any(|other| other != whole);
                    let is_known = is_in_others || self.direct.contains(&subject);
                    if let Some(reason) = self.unreadable.get(&subject).filter(|_| is_known) {
                        let observation = Observation::Unreadable(reason.clone());
                        self.observe(whole, &subject, observation, now, commands);
                    }
                    commands.push(follow(subject, is_known));
                }
                TreeRequest::Leave(subject) => self.release(subject, commands),
                TreeRequest::Reread(path) => {
                    commands.push(NodeCommand::Refresh(NodeSubject { path, facet: NodeFacet::Data }));
                }
            }
        }
    }

    /// Stops following `subject`, unless the daemon follows it, or it is a part of something.
    fn release(&mut self, subject: NodeSubject, commands: &mut Vec<NodeCommand>) {
        if !self.direct.contains(&subject) && self.wholes(&subject).is_empty() {
            self.unreadable.remove(&subject);
            commands.push(NodeCommand::Leave(subject));
        }
    }

    /// Changes an assembly, if there is one, and keeps the schedule in step.
    fn alter(&mut self, whole: &Whole, change: impl FnOnce(&mut Assembly)) {
        let Some(assembly) = self.of_shape_mut(whole.0).get_mut(&whole.1) else { return };
        let before = assembly.due();
        change(assembly);
        let after = assembly.due();
        if before == after {
            return;
        }
        if let Some(due) = before {
            self.schedule.remove(&(due, whole.clone()));
        }
        if let Some(due) = after {
            self.schedule.insert((due, whole.clone()));
        }
    }
}

/// Has the backend report `subject`, which it may follow already.
fn follow(subject: NodeSubject, is_known: bool) -> NodeCommand {
    if is_known { NodeCommand::Refresh(subject) } else { NodeCommand::Follow(subject) }
}

/// What the daemon names.
enum PartOrWhole {
    Part(NodeSubject),
    Whole(Whole),
}

fn part_or_whole(Subject { path, facet }: Subject) -> PartOrWhole {
    match facet {
        Facet::Data => PartOrWhole::Part(NodeSubject { path, facet: NodeFacet::Data }),
        Facet::Children => PartOrWhole::Part(NodeSubject { path, facet: NodeFacet::Children }),
        Facet::Tree => PartOrWhole::Whole((Shape::Tree, path)),
        Facet::Members => PartOrWhole::Whole((Shape::Members, path)),
    }
}
