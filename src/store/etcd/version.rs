//! The versions of nodes, children and trees.

use super::wire::messages::KeyValue;
use crate::model::{Origin, TransactionId, Version};
use crate::text::StableHash;

/// Returns the version of a node's data. After a restore from a snapshot, the same revision can carry other
/// bytes, so the content is a part of it.
pub(super) fn of_data(kv: &KeyValue) -> Version {
    let mut hash = StableHash::default();
    hash.add_number(kv.mod_revision);
    hash.add_number(kv.version);
    hash.add_bytes(&kv.value);
    Version { incarnation: kv.create_revision, revision: hash.fold().cast_signed(), number: kv.version }
}

/// The version of the data of a node that has no key, but keys below it.
pub(super) const OF_NO_DATA: Version = Version::UNWRITTEN;

/// Returns the version of children or members, of which `changed` is the last change. Children are the same
/// if their names are, and members if what they say is.
pub(super) fn of_many(changed: LastChange, hash: &StableHash) -> Version {
    Version { incarnation: 0, revision: hash.fold().cast_signed(), number: changed.0 }
}

/// Returns the version of a tree. The hash is of all revisions of its keys.
pub(super) fn of_tree(since: &Since, changed: LastChange, hash: &StableHash) -> Version {
    Version::of_several(since.revision(), hash.fold().cast_signed(), changed.0)
}

/// Since which revision some key of a tree is there, as far as it is known. The events of the tree's own key
/// and of those below it are in order each, and may come before or after the others.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// `None` if no key is there.
    revision: Option<i64>,
    /// The last key went in this revision, and before that there were some since the other.
    ended: i64,
    before: Option<i64>,
}

impl Since {
    /// Takes in a key that was not known to be there.
    pub(super) fn note_key(&mut self, created: i64) {
        let here = self.revision.unwrap_or(created).min(created);
        // A key that came before the last one went, or in the same transaction, leaves no gap.
        self.revision = if created <= self.ended { self.before } else { Some(here) };
    }

    /// Takes in that no key is left.
    pub(super) fn note_end(&mut self, revision: i64) {
        (self.before, self.ended) = (self.revision.take(), revision);
    }

    /// Returns 0 if no key is there.
    fn revision(&self) -> i64 {
        self.revision.unwrap_or_default()
    }
}

/// Returns where a state comes from: etcd keeps the revision of a change, and no time. `revision` is 0 if
/// nothing was ever written.
pub(super) fn origin(revision: i64) -> Origin {
    Origin { transaction: (revision > 0).then_some(TransactionId::Revision(revision)), at: None }
}

/// The revision of the last change of what has many nodes, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LastChange(i64);

impl LastChange {
    pub(super) fn note(&mut self, revision: i64) {
        self.0 = self.0.max(revision);
    }

    /// Takes over from `before`, the version that was known earlier, where it is `now` by this change. If the
    /// change of `before` lies in between and left nothing behind, it is not after `revision`.
    pub(super) fn follow_on(&mut self, now: Version, before: Version, revision: i64) {
        if now.is_same_state(before) {
            self.0 = before.number;
        } else if self.0 <= before.number && before.number <= revision {
            self.0 = revision;
        }
    }
}
