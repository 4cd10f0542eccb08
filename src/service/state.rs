//! The state of a service.

use std::sync::Arc;

use super::{CheckId, CheckResult, Condition, Definition, Health, Snapshot, Time, Verdict};
use crate::model::{Holder, Member, MemberName, Pause};

/// One service: what its checks say, and what its keeper was told.
#[derive(Debug)]
pub struct Service {
    pub(super) definition: Definition,
    pub(super) life: Life,
    pub(super) verdict: Verdict,
    pub(super) checking: Checking,
    /// Counts the checks.
    pub(super) checks: u64,
    pub(super) last_result: Option<CheckResult>,
    /// How the last check failed that did.
    pub(super) last_failure: Option<Arc<str>>,
    /// Why the check cannot be started, if that was reported.
    pub(super) unstartable: Option<Arc<str>>,
    /// The member that the keeper was last told to announce, unless it was told to withdraw it.
    pub(super) told: Option<Arc<Member>>,
    pub(super) keeping: Keeping,
    /// The members that the keeper was told to withdraw and has not reported withdrawn, oldest first.
    pub(super) leaving: Vec<MemberName>,
    /// The members whose [`Effect::Announced`](super::Effect::Announced) was not followed by
    /// [`Effect::Withdrawn`](super::Effect::Withdrawn).
    pub(super) present: Vec<MemberName>,
    pub(super) pause: Option<Box<Pause>>,
    /// The condition after the last step, and since when.
    pub(super) condition: Option<(Condition, Time)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Active,
    /// No loaded config file registers the service.
    Retired,
    /// The daemon stops.
    Stopping,
}

/// Where the check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checking {
    /// There is no check, or none is to start.
    Off,
    /// The next one starts one interval after this time; at once if there is none.
    Due { ended: Option<Time> },
    /// One is being started. Its start has its own deadline.
    Starting(CheckId),
    /// The program has been executing since then.
    Running { check: CheckId, executed: Time },
    /// One was killed and has not ended. It counts as failed when it ends, or at `fails_at`: a process that
    /// hangs in the kernel must not keep its service announced.
    Killed { check: CheckId, fails_at: Time, has_failed: bool },
}

/// What the keeper says of the member that it was told to announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// It was told nothing.
    No,
    /// It has not answered, or has lost the store.
    Asked,
    Yes,
    Conflict {
        holder: Holder,
    },
    Waiting {
        reason: Arc<str>,
    },
}

impl Service {
    /// Makes a service that no file registers yet. [`Input::Loaded`](super::Input::Loaded) is to follow.
    pub fn unloaded(definition: Definition) -> Self {
        Self {
            definition,
            life: Life::Retired,
            verdict: Verdict::unchecked(),
            checking: Checking::Off,
            checks: 0,
            last_result: None,
            last_failure: None,
            unstartable: None,
            told: None,
            keeping: Keeping::No,
            leaving: Vec::new(),
            present: Vec::new(),
            pause: None,
            condition: None,
        }
    }

    /// Returns the state from which the next daemon can continue.
    pub fn snapshot(&self) -> Snapshot {
        let is_well = self.is_active() && self.definition.check.is_some() && self.is_well();
        Snapshot { is_well, pause: self.pause.clone() }
    }

    /// Returns how the last check ended, if one has ended.
    pub fn last_result(&self) -> Option<CheckResult> {
        self.last_result
    }

    /// Whether a check runs, or is being started.
    pub fn is_being_checked(&self) -> bool {
        match self.checking {
            Checking::Off | Checking::Due { .. } => false,
            Checking::Starting(_) | Checking::Running { .. } | Checking::Killed { .. } => true,
        }
    }

    /// Returns since when the service has been in its present condition.
    pub fn since(&self) -> Option<Time> {
        self.condition.map(|(_, since)| since)
    }

    /// Returns the operator's pause, if the service is paused.
    pub fn pause(&self) -> Option<&Pause> {
        self.pause.as_deref()
    }

    /// Whether a member is there, as far as the keeper has reported.
    pub fn is_present(&self) -> bool {
        !self.present.is_empty()
    }

    /// Whether the keeper has withdrawn all that it was told to withdraw, and holds nothing of this service.
    pub fn is_gone(&self) -> bool {
        self.told.is_none() && self.leaving.is_empty()
    }

    pub(super) fn is_well(&self) -> bool {
        self.verdict.health() == Health::Well
    }

    pub(super) fn is_active(&self) -> bool {
        self.life == Life::Active
    }
}
