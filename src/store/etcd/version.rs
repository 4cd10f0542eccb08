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

/// Returns the version of what has many nodes. `changed` is the revision of the last change, and `created`
/// that of the creation of the uppermost node's key, or 0 if it has none or does not matter: children are the
/// same if their names are, and members if what they say is.
pub(super) fn of_many(created: i64, changed: LastChange, hash: &StableHash) -> Version {
    Version { incarnation: created, revision: hash.fold().cast_signed(), number: changed.0 }
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
