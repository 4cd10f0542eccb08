//! The part of a service's state that outlives the daemon.

use crate::model::Pause;

/// What the ledger keeps of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the verdict was good and nothing ended it. If the daemon dies now, the next one announces the
    /// member at once, so that nobody misses it, and has it checked. The caller clears this if the service
    /// may have died with the daemon: the machine has been booted since, or the check is another one.
    pub is_well: bool,
    /// An operator's pause. A new definition does not end it.
    pub pause: Option<Box<Pause>>,
}
