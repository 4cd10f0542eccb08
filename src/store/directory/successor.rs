//! The process that takes the place of this one when the store's directory is another one.

use std::collections::BTreeMap;

use super::node::FollowedNode;
use super::root::Root;
use crate::model::NodeSubject;
use crate::store::question::{Apart, Question, Questions};

pub(super) struct Successor {
    /// Who is asked for it, if this process runs apart from the daemon, until that was asked.
    questions: Option<Questions>,
}

impl Successor {
    pub(super) fn new(apart: Option<&Apart>) -> Self {
        Self { questions: apart.map(|apart| apart.questions.clone()) }
    }

    /// Asks for a process that may read the directory, once.
    pub(super) fn ask(&mut self, root: &Root, nodes: &BTreeMap<NodeSubject, FollowedNode>) {
        let Some(questions) = self.questions.take() else { return };
        let memory = root.memory(nodes.values().any(FollowedNode::is_present));
        let gone = nodes.iter().filter(|(_, node)| node.is_reborn());
        let gone = gone.map(|(subject, _)| subject.clone().into()).collect();
        // Fails only if the daemon has ended.
        let _ = questions.send(Question::Moved { memory, gone });
    }
}
