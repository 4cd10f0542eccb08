//! Notices when the control socket may have been removed or replaced.

use std::path::{Path, absolute};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use tokio::sync::Notify;

use crate::trust::{WayWatch, way};

/// How often the daemon looks whether clients still reach it, although nothing was noticed. Cleaners of
/// temporary directories remove sockets.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// As [`CHECK_INTERVAL`], if not all directories above the socket can be watched.
const BLIND_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The way to the socket can change while it is looked up. Then it is looked up again, up to this many times.
const MAX_ROUNDS: usize = 8;

/// Watches the way to the socket.
#[derive(Default)]
pub(super) struct Presence {
    watch: Option<WayWatch>,
    changed: Arc<Notify>,
    is_blind: bool,
}

impl Presence {
    /// Makes one that also looks at the socket when `changed` is notified.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self { changed, ..Self::default() }
    }

    /// Watches the way to `path` from now on.
    pub(super) fn follow(&mut self, path: &Path) {
        if self.watch.is_none() {
            let changed = self.changed.clone();
            self.watch = WayWatch::start(move || changed.notify_one()).ok();
        }
        self.is_blind = !self.can_follow(path);
    }

    fn can_follow(&self, path: &Path) -> bool {
        let (Some(watch), Ok(path)) = (&self.watch, absolute(path)) else { return false };
        for _ in 0..MAX_ROUNDS {
            let places = way(&path);
            let are_readable =
                places.iter().all(|(directory, _)| access(directory.as_path(), AccessFlags::R_OK).is_ok());
            match watch.follow(places) {
                Ok(true) => {}
                Ok(false) => return are_readable,
                Err(_) => return false,
            }
        }
        false
    }

    pub(super) fn check_interval(&self) -> Duration {
        if self.is_blind { BLIND_CHECK_INTERVAL } else { CHECK_INTERVAL }
    }

    /// Waits until something happens on the way. Can be dropped at any time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
