//! The process that takes the place of this one: what it must be told, and the question for it when the
//! store's directory is another one.

use std::collections::BTreeMap;

use super::node::FollowedNode;
use super::root::Root;
use crate::model::NodeSubject;
use crate::store::question::{Apart, Question, Questions};

pub(super) struct Successor {
    /// Who is asked, if this process runs apart from the daemon.
    questions: Option<Questions>,
    /// Whether it was asked for.
    is_asked: bool,
}

impl Successor {
    pub(super) fn new(apart: Option<&Apart>) -> Self {
        Self { questions: apart.map(|apart| apart.questions.clone()), is_asked: false }
    }

    /// Says what the successor must be told, if that has changed. This process may end at any time, so it is
    /// said before what follows from it is reported.
    pub(super) fn remember(&self, root: &mut Root, has_nodes: bool) {
        if let Some(questions) = &self.questions
            && let Some(memory) = root.news_to_remember(has_nodes)
        {
            // Fails only if the daemon has ended.
            let _ = questions.send(Question::Remember(memory));
        }
    }

    /// Asks for a process that may read the directory, once.
    pub(super) fn ask(&mut self, nodes: &BTreeMap<NodeSubject, FollowedNode>) {
        if std::mem::replace(&mut self.is_asked, true) {
            return;
        }
        let Some(questions) = &self.questions else { return };
        let gone = nodes.iter().filter(|(_, node)| node.is_reborn());
        let gone = gone.map(|(subject, _)| subject.clone().into()).collect();
        let _ = questions.send(Question::Moved(gone));
    }
}
