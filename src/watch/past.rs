//! What the updates of a watch have left behind.

use super::Time;
use super::seldom::CanBeEmpty;
use crate::model::Version;

/// Nothing of this is needed before the first update is accepted, in this daemon or a former one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Counts the decodings.
    pub(super) decodings: u64,
    /// When [`Effect::WantsStart`](super::Effect::WantsStart) was returned that is not answered yet.
    pub(super) asked_at: Option<Time>,
    /// The `total` of [`Effect::Superseded`](super::Effect::Superseded).
    pub(super) superseded: u64,
    /// The number of accepted updates, which is also the number of the newest one.
    pub(super) accepted: u64,
    /// When the newest update was accepted.
    pub(super) accepted_at: Time,
    /// When the last run started.
    pub(super) started_at: Option<Time>,
    /// The number of the newest update that ran.
    pub(super) ran: u64,
    /// The number of the newest update that ran with success.
    pub(super) succeeded: u64,
    // `Snapshot` describes the rest.
    pub(super) applied: Option<Version>,
    pub(super) admitted: Option<Version>,
    pub(super) applied_size: Option<u64>,
}

impl CanBeEmpty for Past {
    const EMPTY: &'static Self = &Self {
        decodings: 0,
        asked_at: None,
        superseded: 0,
        accepted: 0,
        accepted_at: Time::ZERO,
        started_at: None,
        ran: 0,
        succeeded: 0,
        applied: None,
        admitted: None,
        applied_size: None,
    };

    fn is_empty(&self) -> bool {
        self == Self::EMPTY
    }
}
