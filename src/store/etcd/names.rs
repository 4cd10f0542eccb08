//! The children of a node: the next components of the keys below it.

use std::collections::BTreeMap;

use super::version::{self, LastChange};
use super::wire::messages::KeyValue;
use crate::model::{NodeContent, NodePath, Version};
use crate::store::backend::Observation;
use crate::text::StableHash;

/// What a name takes in memory beside its bytes.
const NAME_BYTES: u64 = 64;

/// What a node's children are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Whether the node has a key of its own.
    has_key: bool,
    /// The names, each with the number of keys that are the child's or below it.
    names: BTreeMap<Box<str>, u64>,
    /// The revision of the last change, as far as it is known.
    changed: LastChange,
    /// The length of all names.
    bytes: u64,
}

impl Names {
    /// Takes in a key that is there. Returns true if the children, or whether the node is there, are others
    /// than before.
    pub(super) fn put(&mut self, node: &NodePath, path: &NodePath, kv: &KeyValue, is_new: bool) -> bool {
        let Some(name) = name(node, path) else {
            let was_there = self.is_there();
            self.has_key = true;
            return self.note(!was_there, kv.create_revision);
        };
        if !is_new {
            return false;
        }
        match self.names.get_mut(name) {
            Some(keys) => {
                *keys += 1;
                false
            }
            None => {
                self.names.insert(name.into(), 1);
                self.bytes += name.len() as u64;
                self.note(true, kv.create_revision)
            }
        }
    }

    /// Takes in that a key is gone. Fails if it is not known.
    pub(super) fn remove(&mut self, node: &NodePath, path: &NodePath, revision: i64) -> Result<bool, ()> {
        let Some(name) = name(node, path) else {
            let was_there = self.is_there();
            self.has_key = false;
            return Ok(self.note(was_there != self.is_there(), revision));
        };
        let keys = self.names.get_mut(name).ok_or(())?;
        *keys -= 1;
        let is_gone = *keys == 0;
        if is_gone {
            self.names.remove(name);
            self.bytes -= name.len() as u64;
        }
        Ok(self.note(is_gone, revision))
    }

    fn is_there(&self) -> bool {
        self.has_key || !self.names.is_empty()
    }

    fn note(&mut self, is_change: bool, revision: i64) -> bool {
        if is_change {
            self.changed.note(revision);
        }
        is_change
    }

    /// See [`LastChange::follow_on`].
    pub(super) fn follow_on(&mut self, before: Version, revision: i64) {
        self.changed.follow_on(self.version(), before, revision);
    }

    /// The version, if the node is there.
    pub(super) fn version(&self) -> Version {
        let mut hash = StableHash::default();
        self.names.keys().for_each(|name| hash.add(name));
        version::of_many(self.changed, &hash)
    }

    /// The length of all names.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About how much memory they take.
    pub(super) fn memory(&self) -> u64 {
        self.bytes + self.names.len() as u64 * NAME_BYTES
    }

    /// `needs_no_key` is that of [`Keys`](super::keys::Keys::needs_no_key).
    pub(super) fn observation(&self, needs_no_key: bool) -> Observation {
        if !self.is_there() && !needs_no_key {
            return Observation::Absent;
        }
        let version = self.version();
        let names = self.names.keys().map(|name| name.to_string()).collect();
        let origin = version::origin(version.number);
        Observation::Present { version, origin, content: NodeContent::Children(names) }
    }
}

/// Returns the name of the child of `node` that `path` is or is below, or `None` if it is the node itself.
pub(super) fn name<'a>(node: &NodePath, path: &'a NodePath) -> Option<&'a str> {
    let below = path.relative_to(node).strip_prefix('/').unwrap_or_default();
    below.split('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> NodePath {
        NodePath::parse(path).unwrap()
    }

    fn put(names: &mut Names, key: &str, revision: i64) -> bool {
        let kv = KeyValue { create_revision: revision, mod_revision: revision, ..Default::default() };
        names.put(&path("/a"), &path(key), &kv, true)
    }

    fn shown(names: &Names) -> Option<(Vec<String>, Version)> {
        match names.observation(false) {
            Observation::Present { version, content: NodeContent::Children(names), .. } => {
                Some((names.to_vec(), version))
            }
            _ => None,
        }
    }

    #[test]
    fn a_child_is_there_as_long_as_a_key_of_its_own_or_below_it() {
        let mut names = Names::default();
        assert_eq!(shown(&names), None);
        assert!(put(&mut names, "/a/b/c", 5));
        assert!(!put(&mut names, "/a/b", 6));
        assert!(put(&mut names, "/a/d", 7));
        let (listed, first) = shown(&names).unwrap();
        assert_eq!((listed, first.number, first.incarnation), (vec!["b".to_owned(), "d".to_owned()], 7, 0));
        assert_eq!(names.remove(&path("/a"), &path("/a/b/c"), 8), Ok(false));
        assert_eq!(names.remove(&path("/a"), &path("/a/b"), 9), Ok(true));
        let (listed, second) = shown(&names).unwrap();
        assert_eq!((listed, second.number), (vec!["d".to_owned()], 9));
        assert!(!first.is_same_state(second));
        assert_eq!(names.remove(&path("/a"), &path("/a/x"), 9), Err(()));
        // A key of its own changes nothing about a node that is there.
        assert!(!put(&mut names, "/a", 10));
        assert_eq!(names.remove(&path("/a"), &path("/a"), 10), Ok(false));
        assert!(!put(&mut names, "/a", 10));
        assert_eq!(shown(&names).unwrap().1, second);
        assert_eq!(names.remove(&path("/a"), &path("/a/d"), 11), Ok(true));
        assert_eq!(shown(&names).unwrap().0, [""; 0]);
        assert_eq!(names.remove(&path("/a"), &path("/a"), 12), Ok(true));
        assert_eq!(shown(&names), None);
        assert!(matches!(names.observation(true), Observation::Present { .. }));
    }
}
