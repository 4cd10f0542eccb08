//! What the daemon follows in a store, and what its half must still be told of that.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

use super::continuity::Continuity;
use super::message::{Id, MAX_PATH, ToHalf};
use crate::model::{CountedBytes, Facet, Index, NodePath, Shrink, State, Subject, Tree};
use crate::store::message::StoreCommand;

/// What is followed survives the half. What it must be told waits here while it does not listen, and however
/// long that is, at most one command waits for each subject.
pub(super) struct Followed {
    by_id: HashMap<Id, Subscription>,
    ids: Index<Id>,
    /// The number of the next subject, which no subject had before.
    next: Id,
    /// What to tell, in this order.
    queue: BTreeMap<Place, Command>,
    next_place: Place,
    /// Whether a version means the same to the next half.
    durable_versions: bool,
}

struct Subscription {
    subject: Subject,
    /// The place in the queue, if it has one.
    place: Option<Place>,
    /// Whether the present half was told to follow it.
    told: bool,
    /// Stands for the reason why it cannot be read, if that was reported.
    failure: Option<NonZeroU64>,
    /// What makes the versions of one half those of the next, where a half counts them.
    continuity: Option<Box<Continuity>>,
}

/// A place in the queue.
type Place = NonZeroU64;

enum Command {
    /// Follow, or read once more.
    Report(Id),
    Leave(Id),
}

impl Followed {
    pub(super) fn new(durable_versions: bool) -> Self {
        Self {
            by_id: HashMap::new(),
            ids: Index::default(),
            next: 0,
            queue: BTreeMap::new(),
            next_place: Place::MIN,
            durable_versions,
        }
    }

    /// Takes a command of the daemon. Returns the subject and the reason if it cannot be followed.
    pub(super) fn take(&mut self, command: StoreCommand) -> Option<(Subject, String)> {
        match command {
            StoreCommand::Follow(subject) if subject.path.as_str().len() > MAX_PATH => {
                let reason = format!(
                    "its path has more than {MAX_PATH} bytes, which no store is asked for; shorten it"
                );
                return Some((subject, reason));
            }
            StoreCommand::Follow(subject) => self.follow(subject),
            StoreCommand::Leave(subject) => self.leave(&subject),
            StoreCommand::Refresh(subject) => {
                if let Some(id) = self.id(&subject) {
                    self.enqueue(id);
                }
            }
        }
        None
    }

    fn id(&self, subject: &Subject) -> Option<Id> {
        self.ids.get(subject, |id| &self.by_id[&id].subject)
    }

    fn follow(&mut self, subject: Subject) {
        if let Some(id) = self.id(&subject) {
            return self.enqueue(id);
        }
        let id = self.next;
        self.next += 1;
        let is_counted = !self.durable_versions || subject.facet == Facet::Tree;
        let continuity = is_counted.then(Box::default);
        let subscription = Subscription { subject, place: None, told: false, failure: None, continuity };
        self.by_id.insert(id, subscription);
        let Self { ids, by_id, .. } = self;
        ids.insert(id, |id| &by_id[&id].subject);
        self.enqueue(id);
    }

    fn leave(&mut self, subject: &Subject) {
        let Some(id) = self.id(subject) else { return };
        let Self { ids, by_id, .. } = self;
        ids.remove(id, subject, |id| &by_id[&id].subject);
        let Some(subscription) = self.by_id.remove(&id) else { return };
        self.by_id.shrink_if_sparse();
        if let Some(place) = subscription.place {
            self.queue.remove(&place);
        }
        if subscription.told {
            self.put(Command::Leave(id));
        }
    }

    fn enqueue(&mut self, id: Id) {
        if self.by_id.get(&id).is_some_and(|subscription| subscription.place.is_none()) {
            let place = self.put(Command::Report(id));
            self.by_id.entry(id).and_modify(|subscription| subscription.place = Some(place));
        }
    }

    /// Has the half report a subject once more.
    pub(super) fn report_again(&mut self, id: Id) {
        self.enqueue(id);
    }

    fn put(&mut self, command: Command) -> Place {
        let place = self.next_place;
        self.next_place = place.saturating_add(1);
        self.queue.insert(place, command);
        place
    }

    /// Prepares to tell another half, which knows nothing.
    pub(super) fn restart(&mut self) {
        self.queue.clear();
        let mut ids: Vec<Id> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let place = self.put(Command::Report(id));
            if let Some(subscription) = self.by_id.get_mut(&id) {
                (subscription.place, subscription.told) = (Some(place), false);
                if let Some(continuity) = &mut subscription.continuity {
                    continuity.restart();
                }
            }
        }
    }

    /// Returns what to tell next.
    pub(super) fn next(&mut self) -> Option<ToHalf> {
        let (_, command) = self.queue.pop_first()?;
        Some(match command {
            Command::Leave(id) => ToHalf::Leave { id },
            Command::Report(id) => {
                let subscription = self.by_id.get_mut(&id)?;
                subscription.place = None;
                if std::mem::replace(&mut subscription.told, true) {
                    ToHalf::Refresh { id }
                } else {
                    let Subject { path, facet } = &subscription.subject;
                    ToHalf::Follow { id, path: path.as_str().to_owned(), facet: *facet }
                }
            }
        })
    }

    pub(super) fn has_next(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Returns whether the half was told of a subject. One that was left since counts as well, because
    /// reports of it may be on their way.
    pub(super) fn is_known(&self, id: Id) -> bool {
        self.by_id.get(&id).map_or(id < self.next, |subscription| subscription.told)
    }

    pub(super) fn subject(&self, id: Id) -> Option<&Subject> {
        self.by_id.get(&id).map(|subscription| &subscription.subject)
    }

    /// Returns whether any facet of this node is followed.
    pub(super) fn has_path(&self, path: &NodePath) -> bool {
        Facet::ALL.into_iter().any(|facet| self.id(&Subject { path: path.clone(), facet }).is_some())
    }

    /// Returns the number of subjects.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Returns what stands for the reason why a subject cannot be read, if that was reported.
    pub(super) fn failure(&self, id: Id) -> Option<NonZeroU64> {
        self.by_id.get(&id)?.failure
    }

    /// Notes that it was reported why a subject cannot be read, or that it can.
    pub(super) fn failed(&mut self, id: Id, failure: Option<NonZeroU64>) {
        if let Some(subscription) = self.by_id.get_mut(&id) {
            subscription.failure = failure;
        }
    }

    /// Notes that a node was removed after it was reported.
    pub(super) fn gone(&mut self, id: Id) {
        if let Some(continuity) = self.by_id.get_mut(&id).and_then(|found| found.continuity.as_mut()) {
            continuity.gone();
        }
    }

    /// Returns the tree that was last reported of `id`, as the half has it.
    pub(super) fn last_tree(&self, id: Id) -> Option<Arc<Tree>> {
        self.by_id.get(&id)?.continuity.as_ref()?.last_tree()
    }

    /// Returns how long the index of the last tree was, of which it is kept what that takes.
    pub(super) fn index_len(&self, id: Id) -> u64 {
        let continuity = self.by_id.get(&id).and_then(|subscription| subscription.continuity.as_ref());
        continuity.map_or(0, |continuity| continuity.index_len())
    }

    /// Makes the state that a half reports of `id` one that follows those which former halves reported.
    /// `index` counts what is kept of a tree.
    pub(super) fn continued(&mut self, id: Id, state: State, index: CountedBytes) -> State {
        match self.by_id.get_mut(&id).and_then(|subscription| subscription.continuity.as_mut()) {
            Some(continuity) => continuity.continued(state, self.durable_versions, index),
            None => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodePath;

    fn subject(path: &str) -> Subject {
        Subject { path: NodePath::parse(path).unwrap(), facet: Facet::Data }
    }

    fn told(followed: &mut Followed) -> Vec<String> {
        std::iter::from_fn(|| followed.next())
            .map(|command| match command {
                ToHalf::Follow { id, path, .. } => format!("{id}={path}"),
                ToHalf::Leave { id } => format!("-{id}"),
                ToHalf::Refresh { id } => format!("?{id}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_half_is_told_each_subject_once_however_much_was_asked_meanwhile() {
        let mut followed = Followed::new(true);
        let mut ask = |commands: &[StoreCommand]| {
            assert!(commands.iter().all(|command| followed.take(command.clone()).is_none()));
            told(&mut followed)
        };
        let (follow, leave, refresh) = (
            |path| StoreCommand::Follow(subject(path)),
            |path| StoreCommand::Leave(subject(path)),
            |path| StoreCommand::Refresh(subject(path)),
        );
        assert_eq!(ask(&[follow("/a"), refresh("/a"), refresh("/a"), follow("/b")]), ["0=/a", "1=/b"]);
        assert_eq!(ask(&[refresh("/a"), refresh("/a"), refresh("/x")]), ["?0"]);
        assert_eq!(ask(&[follow("/c"), leave("/c")]), [""; 0]);
        assert_eq!(ask(&[refresh("/b"), leave("/b"), follow("/b"), refresh("/b")]), ["-1", "3=/b"]);
        let known = |followed: &Followed| (0..6).filter(|id| followed.is_known(*id)).collect::<Vec<_>>();
        assert_eq!(known(&followed), [0, 1, 2, 3], "of what was left, reports may be on their way");
        followed.take(follow("/d"));
        assert_eq!(known(&followed), [0, 1, 2, 3], "the half does not know of it yet");
        followed.restart();
        assert_eq!(known(&followed), [1, 2]);
        assert_eq!(told(&mut followed), ["0=/a", "3=/b", "4=/d"]);
        for _ in 0..1000 {
            followed.take(follow("/e"));
            followed.take(leave("/e"));
            followed.take(refresh("/a"));
        }
        assert_eq!(followed.queue.len(), 1);
        let long = format!("/{}", "x".repeat(MAX_PATH));
        assert!(followed.take(follow(&long)).is_some());
    }
}
