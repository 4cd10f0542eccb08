//! How a watch is, in one word, for whoever looks at it from outside.

use super::{Seen, Watch};

/// How a watch is. Of those that hold, it is the first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// By an operator, until it is resumed.
    Paused,
    /// A failure stopped it (`on_failure: STOP`): nothing runs until its definition changes.
    Stopped,
    /// Its action runs.
    Running,
    /// A try failed, or found no resources, and the next one comes.
    Retrying,
    /// An update waits for a throttle, or for another run to end.
    Waiting,
    /// A guard found the node's content suspicious: nothing runs until an operator forces it, or the node changes.
    Held,
    /// The last run failed, and nothing is tried again until the next update.
    Failed,
    /// The node is there and cannot be read.
    Unreadable,
    /// There is no such node.
    Absent,
    /// The store has not said anything about the node yet.
    Unknown,
    /// All is done.
    Idle,
}

impl Condition {
    pub const ALL: [Self; 11] = [
        Condition::Paused,
        Condition::Stopped,
        Condition::Running,
        Condition::Retrying,
        Condition::Waiting,
        Condition::Held,
        Condition::Failed,
        Condition::Unreadable,
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
            Condition::Absent => "absent",
            Condition::Unknown => "unknown",
            Condition::Idle => "idle",
        }
    }
}

impl Watch {
    /// How the watch is. Whether its node is `unreadable` at the moment is the store's to say.
    pub fn condition(&self, unreadable: bool) -> Condition {
        let observed = self.seen.filter(|_| self.observed);
        match () {
            () if self.paused => Condition::Paused,
            () if self.stopped => Condition::Stopped,
            () if !self.runs.is_empty() => Condition::Running,
            () if self.waiting.iter().any(|waiting| waiting.failures > 0 || waiting.starved > 0) => {
                Condition::Retrying
            }
            () if !self.waiting.is_empty() => Condition::Waiting,
            () if self.held.is_some() => Condition::Held,
            () if self.failures > 0 => Condition::Failed,
            () if unreadable => Condition::Unreadable,
            () => match observed {
                Some(Seen::Absent) => Condition::Absent,
                Some(Seen::Present(_)) => Condition::Idle,
                None => Condition::Unknown,
            },
        }
    }
}
