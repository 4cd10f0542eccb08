//! Follows the directories and links above the store, which decide where the store's path leads.
//!
//! The store itself has other watches ([`super::watches`]), because every event in it counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::trust::{WayWatch, way};

/// The way can change while it is looked up. Then it is looked up again, up to this many times.
const MAX_ROUNDS: usize = 8;

pub(super) struct Way {
    root: PathBuf,
    /// `None` if it cannot start. Then each rescan looks at the way, and tries again.
    watch: Option<WayWatch>,
    changed: Arc<Notify>,
}

impl Way {
    /// Follows the way to `root`, an absolute path.
    pub(super) fn new(root: &Path) -> Self {
        let mut way = Self { root: root.to_owned(), watch: None, changed: Arc::default() };
        way.look();
        way
    }

    /// Waits until the way may have changed. Then [`Self::look`] must follow.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Looks which way the path takes, and watches it. Never waits.
    pub(super) fn look(&mut self) {
        if self.watch.is_none() {
            let changed = self.changed.clone();
            self.watch = WayWatch::start(move || changed.notify_one()).ok();
        }
        let Some(watch) = &self.watch else { return };
        for _ in 0..MAX_ROUNDS {
            // A directory that cannot be watched is looked at in each rescan.
            if !watch.follow(way(&self.root)).unwrap_or(false) {
                break;
            }
        }
    }
}
