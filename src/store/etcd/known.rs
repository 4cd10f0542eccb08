//! What is known of a subject.

use std::io;

use super::branch::Branch;
use super::keys::{KeyRange, Keys};
use super::members::Members;
use super::names::Names;
use super::version;
use super::wire::messages::KeyValue;
use crate::model::{Facet, NodeContent, NodeFacet, NodePath, NodeSubject, Subject, Version};
use crate::store::backend::Observation;
use crate::store::memory;
use crate::store::message::StoreEvent;
use crate::sys::seal_copy;

/// The most bytes of names that the children of one node can have.
const MAX_NAME_BYTES: u64 = 16 << 20;

/// What is known of a subject.
pub(super) enum Known {
    /// The data is held until it is reported.
    Data(Option<Observation>),
    Children(Names),
    Tree(Branch),
    Members(Members),
}

/// A key was removed that is not known to be there, or an event is out of order, so that something is amiss.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unexpected;

impl Known {
    /// Nothing is there, as far as is known.
    pub(super) fn nothing(facet: Facet) -> Self {
        match facet {
            Facet::Data => Self::Data(Some(Observation::Absent)),
            Facet::Children => Self::Children(Names::default()),
            Facet::Tree => Self::Tree(Branch::default()),
            Facet::Members => Self::Members(Members::default()),
        }
    }

    /// Takes in a key that is there. `is_new` says whether it was created just now, or is read for the first
    /// time. Returns true if there is something to report.
    pub(super) fn put(&mut self, root: &NodePath, path: &NodePath, kv: &KeyValue, is_new: bool) -> bool {
        match self {
            Self::Data(latest) => {
                let content = NodeContent::Data(seal_copy(&kv.value));
                let (version, origin) = (version::of_data(kv), version::origin(kv.mod_revision));
                *latest = Some(Observation::Present { version, origin, content });
                true
            }
            Self::Children(names) => names.put(root, path, kv, is_new),
            Self::Members(members) => members.put(root, path, kv, is_new),
            Self::Tree(branch) => {
                branch.put(root, path, kv);
                true
            }
        }
    }

    /// Takes in that a key is gone. Returns true if there is something to report.
    pub(super) fn remove(
        &mut self,
        root: &NodePath,
        path: &NodePath,
        revision: i64,
    ) -> Result<bool, Unexpected> {
        match self {
            Self::Data(latest) => {
                *latest = Some(Observation::Absent);
                Ok(true)
            }
            Self::Children(names) => names.remove(root, path, revision).map_err(|()| Unexpected),
            Self::Tree(branch) => branch.remove(root, path, revision).map(|()| true).map_err(|()| Unexpected),
            Self::Members(members) => members.remove(root, path, revision).map_err(|()| Unexpected),
        }
    }

    /// See [`Names::follow_on`].
    pub(super) fn follow_on(&mut self, before: Version, revision: i64) {
        match self {
            Self::Data(_) => {}
            Self::Children(names) => names.follow_on(before, revision),
            Self::Tree(branch) => branch.follow_on(before, revision),
            Self::Members(members) => members.follow_on(before, revision),
        }
    }

    /// Returns the version of what has many nodes.
    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::Data(_) => None,
            Self::Children(names) => Some(names.version()),
            Self::Tree(branch) => Some(branch.version()),
            Self::Members(members) => Some(members.version()),
        }
    }

    /// Returns why it is too large, if it is.
    pub(super) fn excess(&self) -> Option<String> {
        match self {
            Self::Data(_) => None,
            Self::Children(names) if names.bytes() > MAX_NAME_BYTES => Some(format!(
                "the names of its children have more than {} MiB; remove some",
                MAX_NAME_BYTES >> 20
            )),
            Self::Children(names) => no_room_to_report(names.memory()),
            Self::Tree(branch) => branch.excess().or_else(|| no_room_to_report(branch.memory())),
            Self::Members(members) => members.excess().or_else(|| no_room_to_report(members.memory())),
        }
    }

    /// Returns how many bytes of data wait to be reported.
    pub(super) fn waiting(&self) -> u64 {
        match self {
            Self::Data(Some(Observation::Present { content: NodeContent::Data(data), .. })) => data.len(),
            Self::Data(_) | Self::Children(_) | Self::Tree(_) | Self::Members(_) => 0,
        }
    }

    /// Returns what there is to report; `None` if it was reported and is not held.
    pub(super) fn report(&mut self, keys: &Keys, subject: &Subject) -> io::Result<Option<StoreEvent>> {
        let path = || subject.path.clone();
        let needs_no_key = keys.needs_no_key(&subject.path);
        Ok(match self {
            Self::Data(latest) => latest.take().map(|observation| {
                observation.into_event(NodeSubject { path: path(), facet: NodeFacet::Data })
            }),
            Self::Children(names) => {
                let subject = NodeSubject { path: path(), facet: NodeFacet::Children };
                Some(names.observation(needs_no_key).into_event(subject))
            }
            Self::Tree(branch) => {
                let state = branch.state(&subject.path, needs_no_key)?;
                Some(StoreEvent::Observed { subject: subject.clone(), state })
            }
            Self::Members(members) => {
                let state = members.state(needs_no_key)?;
                Some(StoreEvent::Observed { subject: subject.clone(), state })
            }
        })
    }
}

/// While it takes less memory, there is always room for a report.
const SMALL: u64 = 1 << 20;

/// What takes so many bytes needs as many again to be reported, and to grow.
fn no_room_to_report(bytes: u64) -> Option<String> {
    let is_large = bytes > SMALL;
    is_large.then(|| memory::room_for(bytes).err())?.map(|no_room| no_room.to_string())
}

/// Returns the keys that a subject depends on: the node's own, if it can have one, and those below it.
pub(super) fn ranges(keys: &Keys, subject: &Subject) -> (Option<KeyRange>, Option<KeyRange>) {
    let below = match subject.facet {
        Facet::Data => None,
        Facet::Children | Facet::Tree | Facet::Members => keys.below(&subject.path),
    };
    (keys.own(&subject.path), below)
}
