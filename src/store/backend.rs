//! What each kind of store provides, and how it follows and reports single nodes.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use super::message::{StoreCommand, StoreEvent};
use crate::model::{Blob, Content, NodeContent, NodeSubject, Origin, State, Version};
use crate::sys::BlobWriter;

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

    /// Whether the settings forbid every write.
    fn is_readonly(&self) -> bool;
}

/// What a kind of store can do. Nothing may depend on which kind it is instead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Whether a version means the same to every daemon and to the next one.
    pub durable_versions: bool,
    /// A child of the root that the store uses itself. It is part of no tree at the root.
    pub reserved_child: Option<&'static str>,
    /// Whether it is reached by connections over a network, on which it may log in.
    pub is_remote: bool,
    /// Whether it looks who can change the nodes that are followed.
    pub has_acls: bool,
    /// Whether another store can appear in its place, which another process must look at.
    pub can_move: bool,
    /// Whether all its nodes lie below one that may be missing, and it looks for that.
    pub can_lack_root: bool,
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
        origin: Origin,
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
            Self::Present { version, origin, content } => {
                let state = State::Present { version, origin, content: sealed(content) };
                StoreEvent::Observed { subject, state }
            }
            Self::Unreadable(reason) => StoreEvent::Unreadable { subject, reason },
        }
    }
}

/// Puts the bytes of a content where the daemon need not look at them.
fn sealed(content: NodeContent) -> Content {
    match content {
        NodeContent::Data(data) => Content::Data(data),
        NodeContent::Children(names) => {
            let count = names.len() as u64;
            // Where there are no files in memory, nothing fails.
            let lines =
                lines(&names).unwrap_or_else(|_| format!("{}\n", names.join("\n")).into_bytes().into());
            Content::Children { lines, count }
        }
    }
}

fn lines(names: &[String]) -> io::Result<Blob> {
    let mut lines = BlobWriter::default();
    for name in names {
        lines.write_all(name.as_bytes())?;
        lines.write_all(b"\n")?;
    }
    lines.finish()
}
