//! Looking whether the chroot exists. A missing one is like any missing parent, but an error in it would have
//! every watch wait for ever, so people are told.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::NodePath;
use crate::store::StoreEvent;

/// How often to look, if the chroot is there and if it is missing. This is no load for a server, even where a
/// hundred hosts do it.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
const MISSING_INTERVAL: Duration = Duration::from_secs(2);

/// When to look for the chroot in one session, and what was reported of it.
pub(super) struct ChrootCheck {
    path: NodePath,
    /// `None` while a look is under way, and for ever if the root of the server is meant, which is always
    /// there.
    due: Option<Instant>,
    reported: Option<bool>,
}

impl ChrootCheck {
    pub(super) fn new(path: NodePath, now: Instant) -> Self {
        let due = (path.as_str() != "/").then_some(now);
        Self { path, due, reported: None }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns true if a look is due, and begins it. [`Self::done`] follows.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
        }
        is_due
    }

    /// Takes in whether the chroot exists, if the server said so. Returns what there is to report.
    pub(super) fn done(&mut self, exists: Option<bool>, now: Instant) -> Option<StoreEvent> {
        let before = self.reported;
        self.reported = exists.or(before);
        self.due = Some(now + if self.reported == Some(false) { MISSING_INTERVAL } else { CHECK_INTERVAL });
        match self.reported.filter(|_| self.reported != before)? {
            true => Some(StoreEvent::RootFound),
            false => Some(StoreEvent::RootMissing {
                reason: format!(
                    "the chroot {} does not exist, so that none of the watched nodes does; correct the URL, \
                     or create the first node with `twitcher set`",
                    self.path
                ),
            }),
        }
    }
}
