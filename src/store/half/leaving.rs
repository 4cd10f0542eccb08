//! Keeps what was read of a subject before it was left apart from what is read after it is followed again. No
//! IO.
//!
//! The store reports by subject, and its reports wait in a queue. A subject that was left is followed anew
//! only when the store has taken in that it was left, and what was in the queue then has gone by.
//!
//! For example, `/a` is followed as number 1, and the store has put two reports into the queue: one about
//! `/a`, one about `/b`. Now the daemon leaves 1 and follows `/a` as number 2.
//!
//! 1. [`Leaving::leave`]: the store is told to leave `/a`, by its command 7. The half takes the first report:
//!    it is about no subject any more.
//! 2. [`Leaving::hold`]: `/a` is to be followed as 2, and is not yet, since what is in the queue would be
//!    taken for reports about 2.
//! 3. [`Leaving::settle`]: the store has carried out command 7, while one report is in the queue. That may
//!    still be one about `/a` as 1.
//! 4. [`Leaving::settle`]: this report was taken as well. All that comes now about `/a` was read for 2.

use std::collections::{HashMap, VecDeque};

use super::message::Id;
use crate::model::{Shrink, Subject};

#[derive(Default)]
pub(super) struct Leaving {
    /// The subjects that were left, with the number of the command, in this order.
    untaken: VecDeque<(u64, Subject)>,
    /// Those of which the store knows, with the number of the last event that may be about them.
    queued: VecDeque<(u64, Subject)>,
    /// All of both, with the number under which each is followed next.
    next: HashMap<Subject, Option<Id>>,
    /// How many are to be followed next.
    held: usize,
}

impl Leaving {
    /// Notes that the store was told to leave `subject`, by this command.
    pub(super) fn leave(&mut self, subject: Subject, command: u64) {
        if self.next.insert(subject.clone(), None).is_none() {
            self.untaken.push_back((command, subject));
        }
    }

    /// Takes over a subject that is to be followed under this number. Returns false if it can be followed at
    /// once.
    pub(super) fn hold(&mut self, subject: &Subject, id: Id) -> bool {
        let Some(next) = self.next.get_mut(subject) else { return false };
        self.held += usize::from(next.replace(id).is_none());
        true
    }

    /// Gives a subject up that was to be followed. Returns false if it was not.
    pub(super) fn give_up(&mut self, subject: &Subject, id: Id) -> bool {
        let is_held = self.next.get(subject) == Some(&Some(id));
        if is_held {
            self.next.insert(subject.clone(), None);
            self.held -= 1;
        }
        is_held
    }

    /// Whether a subject waits to be followed.
    pub(super) fn is_holding(&self) -> bool {
        self.held > 0
    }

    /// Returns what can be followed now. The store has carried out `done` commands; of its events, `taken`
    /// were taken, and so many more are in the queue.
    pub(super) fn settle(&mut self, done: u64, taken: u64, queued: u64) -> Vec<(Id, Subject)> {
        while let Some(subject) = pop_up_to(&mut self.untaken, done) {
            self.queued.push_back((taken + queued, subject));
        }
        let mut settled = Vec::new();
        while let Some(subject) = pop_up_to(&mut self.queued, taken) {
            if let Some(Some(id)) = self.next.remove(&subject) {
                self.held -= 1;
                settled.push((id, subject));
            }
            self.next.shrink_if_sparse();
        }
        settled
    }
}

fn pop_up_to(queue: &mut VecDeque<(u64, Subject)>, number: u64) -> Option<Subject> {
    let is_due = queue.front().is_some_and(|(place, _)| *place <= number);
    queue.shrink_if_sparse();
    if is_due { queue.pop_front().map(|(_, subject)| subject) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Facet, NodePath};

    fn subject(path: &str) -> Subject {
        Subject { path: NodePath::parse(path).unwrap(), facet: Facet::Data }
    }

    #[test]
    fn a_subject_is_followed_anew_when_all_that_was_read_before_has_gone_by() {
        let mut leaving = Leaving::default();
        assert!(!leaving.hold(&subject("/a"), 1), "nothing of it is on its way");
        leaving.leave(subject("/a"), 5);
        leaving.leave(subject("/b"), 6);
        assert!(!leaving.is_holding());
        assert!(leaving.hold(&subject("/a"), 2) && leaving.is_holding());
        assert_eq!(leaving.settle(4, 10, 3), []);
        assert_eq!(leaving.settle(5, 10, 3), [], "three events may be about it");
        assert_eq!(leaving.settle(6, 12, 7), [], "others that came since do not matter");
        assert_eq!(leaving.settle(6, 13, 6), [(2, subject("/a"))]);
        assert!(!leaving.is_holding() && !leaving.hold(&subject("/a"), 3));
        assert!(leaving.hold(&subject("/b"), 4));
        assert!(leaving.give_up(&subject("/b"), 4) && !leaving.give_up(&subject("/b"), 4));
        assert!(leaving.hold(&subject("/b"), 7));
        assert_eq!(leaving.settle(6, 19, 0), [(7, subject("/b"))]);
        assert!(leaving.next.is_empty() && !leaving.is_holding());
    }
}
