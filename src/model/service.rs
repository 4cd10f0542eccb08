//! A service as the daemon runs it.

use std::sync::Arc;
use std::time::Duration;

use super::{Action, ExecContext, Identity, Member, MemberFormat, Pace, RunAs, WatchKey};

/// The definition of a service, with its users, store and node path resolved.
///
/// Specs are equal if they have the same name and do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    pub id: WatchKey,
    pub member: Arc<Member>,
    /// Only shown: the member's data is written already.
    pub format: MemberFormat,
    pub port: Option<u16>,
    pub check: Option<Check>,
    /// How long clients have to see that the member is gone, before what served it ends.
    pub drain: Duration,
    /// As in [`WatchSpec`](super::WatchSpec), for the check.
    pub run_as: Arc<RunAs>,
    pub identity: Arc<Identity>,
    pub exec_context: Arc<ExecContext>,
}

/// What says whether a service is well, and how often it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub action: Action,
    pub pace: Pace,
}

impl ServiceSpec {
    /// Whether this is the definition that `other` is. Who the user is that both name does not count.
    pub fn defines_same_as(&self, other: &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten.
        let Self { id, member, format, port, check, drain, run_as, identity, exec_context } = self;
        *id == other.id
            && *member == other.member
            && *format == other.format
            && *port == other.port
            && *check == other.check
            && *drain == other.drain
            && (*run_as == other.run_as || *identity == other.identity)
            && *exec_context == other.exec_context
    }

    /// Whether the same command or function checks both, in the same way, maybe at another pace.
    pub fn has_same_check(&self, other: &Self) -> bool {
        let action = |spec: &Self| spec.check.as_ref().map(|check| check.action.clone());
        action(self) == action(other)
            && (self.run_as == other.run_as || self.identity == other.identity)
            && self.exec_context == other.exec_context
    }
}
