//! What each kind of store provides, and how it follows and reports single nodes.

use std::fmt;
use std::time::Duration;

use super::message::{StoreCommand, StoreEvent};
use crate::model::{Content, NodeContent, NodeSubject, State, Version};
use crate::sys::seal;

/// A key of a store's settings, such as `tls.key`, and what is wrong with its value.
pub type SettingError = (&'static str, String);

/// What the settings of each kind of store provide.
pub trait Backend {
    fn url(&self) -> &dyn fmt::Display;

    /// States what the store can do.
    fn capabilities(&self) -> Capabilities;

    /// Returns the identity that [`StoreEvent::Connected`] will report, or `None` if it is not known before.
    fn identity(&self) -> Option<String>;

    /// Returns how long a command may wait for the store.
    fn session_timeout(&self) -> Duration;
}

/// What a kind of store can do. Nothing may depend on which kind it is instead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Whether a version means the same to every daemon and to the next one.
    pub durable_versions: bool,
    /// A child of the root that the store uses itself. It is part of no tree at the root.
    pub reserved_child: Option<&'static str>,
}

impl Capabilities {
    /// Returns what a version that a former daemon was given means to this one, if the node did not change
    /// since.
    pub fn normalize_version(self, version: Version) -> Version {
        match self.durable_versions {
            true => version,
            // Each daemon counts the incarnations of a directory's nodes from 0. A node that was created anew
            // in the meantime has another revision as well.
            false => Version { incarnation: 0, ..version },
        }
    }
}

/// What a backend of single nodes is told.
pub(super) type NodeCommand = StoreCommand<NodeSubject>;

/// What a backend found when it read one part of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// The node, or one of its parents, does not exist.
    Absent,
    Present {
        version: Version,
        content: NodeContent,
    },
    /// The node exists but cannot be read, for this reason. See [`StoreEvent::Unreadable`].
    Unreadable(String),
}

impl Observation {
    /// Makes the event that reports this of `subject`.
    pub(super) fn into_event(self, subject: NodeSubject) -> StoreEvent {
        let subject = subject.into();
        match self {
            Self::Absent => StoreEvent::Observed { subject, state: State::Absent },
            Self::Present { version, content } => {
                StoreEvent::Observed { subject, state: State::Present { version, content: sealed(content) } }
            }
            Self::Unreadable(reason) => StoreEvent::Unreadable { subject, reason },
        }
    }
}

/// Puts the bytes of a content where the daemon need not look at them.
fn sealed(content: NodeContent) -> Content {
    match content {
        NodeContent::Data(data) => Content::Data(seal(data)),
        NodeContent::Children(names) => {
            let lines: String = names.iter().flat_map(|name| [name, "\n"]).collect();
            let count = names.len() as u64;
            Content::Children { lines: seal(lines.into_bytes().into()), count }
        }
    }
}
