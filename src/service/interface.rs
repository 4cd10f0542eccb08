//! The inputs of a service, and the effects that it returns.

use std::sync::Arc;
use std::time::Duration;

use super::{CheckResult, Snapshot};
use crate::model::{Holder, Member, MemberName, Pace, Pause};

/// The time since an arbitrary origin, from a monotonic clock, so that setting the wall clock moves no check.
pub type Time = Duration;

/// The number of a check, unique within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckId(pub u64);

/// What the core needs to know of a service's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub member: Arc<Member>,
    /// `None`: the service has no check, and is well.
    pub check: Option<Pace>,
}

#[derive(Clone, Debug)]
pub enum Input {
    /// A file registers the service, for the first time or after [`Input::Retired`]. `snapshot` is what a
    /// former daemon left.
    Loaded {
        definition: Definition,
        snapshot: Snapshot,
    },
    /// The definition changed. `same_check` is false if another command or function checks it now, or the
    /// same one as another user or in another environment.
    Redefined {
        definition: Definition,
        same_check: bool,
    },
    /// The service was removed from its file.
    Retired,
    /// The program of a check has been executing since `executed`. The timeout counts from then: a start has
    /// its own deadline.
    CheckStarted {
        check: CheckId,
        executed: Time,
    },
    /// A check is over: its process is reaped and its output read, or it could not be started. This comes
    /// exactly once for each [`Effect::StartCheck`]. `said` is how it failed, with the end of its output, or
    /// why it could not be started.
    CheckEnded {
        check: CheckId,
        result: CheckResult,
        said: Arc<str>,
    },
    /// The keeper reports on the member of this name. It may have reported the same before.
    Kept {
        member: MemberName,
        report: Report,
    },
    /// An operator wants the member withdrawn until [`Input::Resumed`], or until the pause ends by itself. A
    /// later pause replaces an earlier one.
    Paused(Box<Pause>),
    Resumed,
    /// The daemon stops.
    Stopping,
    /// Time has passed.
    Tick,
}

/// What the keeper of a store says of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The member is there as it was last told.
    Announced,
    /// Another living holder has the node. The keeper tries again when it goes.
    Conflict { holder: Holder },
    /// The store refuses the member. The keeper tries again by itself.
    Waiting { reason: Arc<str> },
    /// The session that held the member is lost, or nobody knows. The keeper announces the member again by
    /// itself.
    Disconnected,
    /// The answer to [`Effect::Withdraw`], exactly once for each: the member is gone.
    Withdrawn,
}

/// Something for the daemon to do or to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a check. Answer with [`Input::CheckEnded`].
    StartCheck { check: CheckId },
    /// Send SIGKILL to the check's process group, or give its start up.
    KillCheck { check: CheckId },
    /// Have the keeper announce this member, or write it anew in place if it is there already.
    Announce(Arc<Member>),
    /// Have the keeper withdraw the member.
    Withdraw(MemberName),
    /// The verdict turned. `why` is how the last check failed.
    Turned { is_well: bool, why: Option<Arc<str>> },
    /// The check cannot be started. This comes once, until one starts again.
    Unstartable { why: Arc<str> },
    /// A check starts again after [`Self::Unstartable`].
    Startable,
    /// The member is there. This comes once for each announcement, and once more when a conflict or a refusal
    /// is over, but not whenever the keeper renews the member.
    Announced(MemberName),
    /// The member was announced and is gone, as it was wanted.
    Withdrawn(MemberName),
    /// The member cannot be announced: another holder has the node. This comes once until that changes.
    Conflict { holder: Holder },
    /// The member cannot be announced: the store refuses it. This comes once until that changes.
    Refused { reason: Arc<str> },
    /// The time of a pause is over, and the service is not paused any more.
    PauseOver,
    /// A retired service has nothing left to do. Remove the [`Service`](super::Service).
    Forget,
}
