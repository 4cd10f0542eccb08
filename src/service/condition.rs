//! The condition of a service, one word for people and for monitoring.

/// The first of these that applies to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// An operator paused the service. Its member is withdrawn, and the checks go on.
    Drained,
    /// The check fails. The member is withdrawn.
    Failing,
    /// Another holder has the member's node.
    Conflict,
    /// The member is not there yet: the first checks have not ended, or the store has not confirmed it.
    Waiting,
    /// The member is there.
    Announced,
}

impl Condition {
    pub const ALL: [Self; 5] = [
        Condition::Drained,
        Condition::Failing,
        Condition::Conflict,
        Condition::Waiting,
        Condition::Announced,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Drained => "drained",
            Condition::Failing => "failing",
            Condition::Conflict => "conflict",
            Condition::Waiting => "waiting",
            Condition::Announced => "announced",
        }
    }

    /// Whether somebody has to look at the service.
    pub fn is_unhealthy(self) -> bool {
        match self {
            Condition::Failing | Condition::Conflict => true,
            Condition::Drained | Condition::Waiting | Condition::Announced => false,
        }
    }
}
