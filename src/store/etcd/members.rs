//! The members of a service: the children of a node that have keys of their own, with what each says of
//! itself.
//!
//! What is further below them does not matter, except that it makes the node one that is there.

use std::collections::BTreeMap;
use std::io;

use super::names::name;
use super::version::{self, LastChange};
use super::wire::messages::KeyValue;
use crate::model::{NodePath, State, Version};
use crate::store::encoding::{MAX_PATH_BYTES, MAX_TREE_NODES};
use crate::store::memory;
use crate::store::said::{self, Said};
use crate::store::tree::MAX_BYTES;
use crate::text::StableHash;

/// What a member takes in memory beside its name and what it says.
const MEMBER_BYTES: u64 = 128;

#[derive(Debug, Default)]
pub(super) struct Members {
    /// Whether the node has a key of its own.
    has_key: bool,
    members: BTreeMap<Box<str>, Said>,
    /// The number of keys below the members, or below children that have none.
    below: u64,
    /// The revision of the last change, as far as it is known.
    changed: LastChange,
    /// The length of all names, and of what the members say.
    name_bytes: u64,
    bytes: u64,
    /// Why a member could not be decoded.
    starved: Option<String>,
}

/// What a key is to a node.
enum Place<'a> {
    Own,
    Member(&'a str),
    Below,
}

impl<'a> Place<'a> {
    fn of(node: &NodePath, path: &'a NodePath) -> Self {
        match name(node, path) {
            None => Self::Own,
            Some(name) if path.parent() == Some(node.as_str()) => Self::Member(name),
            Some(_) => Self::Below,
        }
    }
}

impl Members {
    /// Takes in a key that is there. Returns true if the members, or whether the node is there, are others
    /// than before.
    pub(super) fn put(&mut self, node: &NodePath, path: &NodePath, kv: &KeyValue, is_new: bool) -> bool {
        let was_there = self.is_there();
        match Place::of(node, path) {
            Place::Own => {
                self.has_key = true;
                self.note(!was_there, kv.create_revision)
            }
            Place::Member(name) => {
                let said = match Said::decode(name, &kv.value, self.memory()) {
                    Ok(said) => said,
                    Err(no_room) => {
                        self.starved = Some(no_room.to_string());
                        return false;
                    }
                };
                let is_change = self.members.get(name) != Some(&said);
                self.bytes += said.bytes();
                match self.members.get_mut(name) {
                    Some(known) => self.bytes -= std::mem::replace(known, said).bytes(),
                    None => {
                        self.name_bytes += name.len() as u64;
                        self.members.insert(name.into(), said);
                    }
                }
                self.note(is_change, kv.mod_revision)
            }
            Place::Below => {
                self.below += u64::from(is_new);
                self.note(!was_there, kv.mod_revision)
            }
        }
    }

    /// Takes in that a key is gone. Fails if it is not known.
    pub(super) fn remove(&mut self, node: &NodePath, path: &NodePath, revision: i64) -> Result<bool, ()> {
        let was_there = self.is_there();
        let is_change = match Place::of(node, path) {
            Place::Own => {
                self.has_key = false;
                was_there != self.is_there()
            }
            Place::Member(name) => {
                let said = self.members.remove(name).ok_or(())?;
                self.bytes -= said.bytes();
                self.name_bytes -= name.len() as u64;
                true
            }
            Place::Below => {
                self.below = self.below.checked_sub(1).ok_or(())?;
                !self.is_there()
            }
        };
        Ok(self.note(is_change, revision))
    }

    fn is_there(&self) -> bool {
        self.has_key || !self.members.is_empty() || self.below > 0
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
        self.members.values().for_each(|said| hash.add_number(said.hash()));
        version::of_many(self.changed, &hash)
    }

    /// Returns why there is too much, if there is.
    pub(super) fn excess(&self) -> Option<String> {
        if self.members.len() > MAX_TREE_NODES {
            Some(format!("it has more than {MAX_TREE_NODES} members; remove some"))
        } else if self.name_bytes > MAX_PATH_BYTES {
            Some(format!("the names of its members have more than {} MiB; remove some", MAX_PATH_BYTES >> 20))
        } else if self.bytes > MAX_BYTES {
            Some(format!("its members hold more than {} MiB; remove some", MAX_BYTES >> 20))
        } else {
            self.starved.as_ref().map(|reason| format!("a member of it has no room: {reason}"))
        }
    }

    /// About how much memory it takes to put the state together, beside what the members say.
    pub(super) fn memory(&self) -> u64 {
        2 * self.name_bytes + self.members.len() as u64 * MEMBER_BYTES
    }

    /// Puts the state together. `needs_no_key` is that of [`Keys`](super::keys::Keys::needs_no_key).
    pub(super) fn state(&self, needs_no_key: bool) -> io::Result<State> {
        if !self.is_there() && !needs_no_key {
            return Ok(State::Absent);
        }
        memory::room_for(self.memory()).map_err(io::Error::other)?;
        let content = said::content(self.members.iter().map(|(name, said)| (&**name, said)))?;
        let version = self.version();
        Ok(State::Present { version, origin: version::origin(version.number), content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::read;
    use crate::model::Content;

    fn path(path: &str) -> NodePath {
        NodePath::parse(path).unwrap()
    }

    fn put(members: &mut Members, key: &str, revision: i64, value: &'static str, is_new: bool) -> bool {
        let kv = KeyValue {
            create_revision: revision,
            mod_revision: revision,
            value: value.into(),
            ..Default::default()
        };
        members.put(&path("/s"), &path(key), &kv, is_new)
    }

    fn remove(members: &mut Members, key: &str, revision: i64) -> Result<bool, ()> {
        members.remove(&path("/s"), &path(key), revision)
    }

    fn shown(members: &Members) -> Option<(String, Version)> {
        match members.state(false).unwrap() {
            State::Present { version, content: Content::Members { object, .. }, .. } => {
                Some((String::from_utf8(read(&object).unwrap().into_owned()).unwrap(), version))
            }
            _ => None,
        }
    }

    #[test]
    fn members_are_the_children_with_keys_and_what_is_below_them_changes_nothing() {
        let mut members = Members::default();
        assert_eq!(shown(&members), None);
        // The node is there because of it, without a member.
        assert!(put(&mut members, "/s/x/y", 5, "", true));
        assert_eq!(shown(&members).unwrap().0, "{}\n");
        assert!(put(&mut members, "/s/b", 6, "{\"n\": 1}", true));
        assert!(put(&mut members, "/s/a", 7, "", true));
        let (text, first) = shown(&members).unwrap();
        assert_eq!((&*text, first.number), ("{\"a\":null,\"b\":{\"n\":1}}\n", 7));
        for below in ["/s/a/z", "/s/b/b"] {
            assert!(!put(&mut members, below, 8, "x", true) && !put(&mut members, below, 9, "y", false));
        }
        // A key of its own changes nothing about a node that is there.
        assert!(!put(&mut members, "/s", 9, "own", true));
        assert_eq!(remove(&mut members, "/s", 9), Ok(false));
        assert_eq!(shown(&members), Some((text.clone(), first)));
        // Written again, or created again, with what it said before.
        assert!(!put(&mut members, "/s/b", 10, "{\"n\":1}", false));
        assert_eq!(shown(&members), Some((text, first)));
        assert!(put(&mut members, "/s/b", 11, "{\"n\":2}", false));
        let (_, second) = shown(&members).unwrap();
        assert!(!second.is_same_state(first) && second.number == 11);
        assert_eq!(remove(&mut members, "/s/b", 12), Ok(true));
        assert_eq!(remove(&mut members, "/s/b", 12), Err(()));
        assert_eq!(remove(&mut members, "/s/a", 13), Ok(true));
        for below in ["/s/a/z", "/s/b/b"] {
            assert_eq!(remove(&mut members, below, 14), Ok(false));
        }
        assert_eq!(remove(&mut members, "/s/x/y", 15), Ok(true));
        assert_eq!((shown(&members), members.bytes, members.name_bytes), (None, 0, 0));
        assert_eq!(remove(&mut members, "/s/x/y", 16), Err(()));
        assert!(put(&mut members, "/s", 17, "own", true) && !put(&mut members, "/s", 17, "other", false));
        assert_eq!(remove(&mut members, "/s", 18), Ok(true));
        assert!(matches!(members.state(true).unwrap(), State::Present { .. }));
    }
}
