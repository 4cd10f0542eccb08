//! The condition of a watch, one word for people and for monitoring.

use super::{Seen, Watch};

/// The first of these that applies to a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// An operator paused the watch. It starts nothing until it is resumed.
    Paused,
    /// A failure stopped the watch (`on_failure: STOP`). Nothing runs until its definition changes or an
    /// operator triggers it.
    Stopped,
    /// The action runs.
    Running,
    /// An update waits for another try: its run failed, or could not be started.
    Retrying,
    /// An update waits for a throttle or for another run, or its content is being decoded.
    Waiting,
    /// A guard holds the node's content, or the content is faulty. Nothing runs until the node changes or, if
    /// it is a guard, an operator forces it.
    Held,
    /// The last run failed, and the next update runs.
    Failed,
    /// The node exists but cannot be read.
    Unreadable,
    /// The node was deleted, and the action keeps what it last succeeded with.
    Deleted,
    /// The node does not exist.
    Absent,
    /// The store has not reported the node yet.
    Unknown,
    /// Nothing is left to do.
    Idle,
}

impl Condition {
    pub const ALL: [Self; 12] = [
        Condition::Paused,
        Condition::Stopped,
        Condition::Running,
        Condition::Retrying,
        Condition::Waiting,
        Condition::Held,
        Condition::Failed,
        Condition::Unreadable,
        Condition::Deleted,
        Condition::Absent,
        Condition::Unknown,
        Condition::Idle,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Paused => "paused",
            Condition::Stopped => "stopped",
            Condition::Running => "running",
            Condition::Retrying => "retrying",
            Condition::Waiting => "waiting",
            Condition::Held => "held",
            Condition::Failed => "failed",
            Condition::Unreadable => "unreadable",
            Condition::Deleted => "deleted",
            Condition::Absent => "absent",
            Condition::Unknown => "unknown",
            Condition::Idle => "idle",
        }
    }
}

impl Watch {
    /// Returns the condition. The caller asks the store whether the node is `unreadable` at the moment.
    pub fn condition(&self, unreadable: bool) -> Condition {
        let observed = self.seen.filter(|_| self.observed);
        match () {
            () if self.is_paused() => Condition::Paused,
            () if self.stopped => Condition::Stopped,
            () if !self.runs.is_empty() => Condition::Running,
            () if self.waiting.iter().any(|waiting| waiting.failures > 0 || waiting.starved > 0) => {
                Condition::Retrying
            }
            () if !self.waiting.is_empty() || !self.undecoded.is_empty() => Condition::Waiting,
            () if self.held.is_some() => Condition::Held,
            () if self.failures > 0 => Condition::Failed,
            () if unreadable => Condition::Unreadable,
            () => match observed {
                Some(Seen::Absent) if self.has_applied_content() => Condition::Deleted,
                Some(Seen::Absent) => Condition::Absent,
                Some(Seen::Present(_)) => Condition::Idle,
                None => Condition::Unknown,
            },
        }
    }
}
