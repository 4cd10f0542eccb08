//! Hints that something may have changed, from inotify.
//!
//! Inotify loses events, misses what happens in directories that it does not watch yet, and cannot follow
//! symlinks. So a hint only means "scan now". The scan finds out what changed, and also comes from time to
//! time without a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::scan::{ConfigTree, DirectoryId, identify};

/// Watches the directories of the last scan.
pub struct Hints {
    root: PathBuf,
    /// `None`: there are no hints.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, DirectoryId>,
    /// The directories in which every event counts. In the root's parent, only events of the root count.
    inside: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// What was removed or renamed since the last scan, and so lost its watch. Device and inode do not tell:
    /// a new directory may get those of the old one.
    lost: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Hints {
    /// `hint` is called from another thread, for each event that may mean a change.
    pub fn new(root: &Path, hint: impl Fn() + Send + 'static) -> Result<Self, notify::Error> {
        let inside = Arc::new(Mutex::new(BTreeSet::new()));
        let lost = Arc::new(Mutex::new(BTreeSet::new()));
        let (known, own_root, losses) = (inside.clone(), root.to_owned(), lost.clone());
        let handler = move |event: notify::Result<Event>| {
            // An error means that an event is lost.
            let relevant = event.map_or(true, |event| {
                if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    let mut lost = losses.lock().unwrap_or_else(PoisonError::into_inner);
                    lost.extend(event.paths.iter().cloned());
                }
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                changes_something(event.kind)
                    && (event.paths.is_empty()
                        || event.paths.iter().any(|path| {
                            *path == own_root
                                || path.parent().is_some_and(|parent| known.contains(parent))
                                || known.contains(path)
                        }))
            });
            if relevant {
                hint();
            }
        };
        let watcher = notify::recommended_watcher(handler)?;
        Ok(Self { root: root.to_owned(), watcher: Some(watcher), watched: BTreeMap::new(), inside, lost })
    }

    /// Makes hints that never come.
    pub fn none(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            watcher: None,
            watched: BTreeMap::new(),
            inside: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// Watches the directories of `tree`, and no others. Returns whether there were new ones. If so, scan
    /// again, because changes in them before this call gave no hint.
    ///
    /// # Errors
    ///
    /// A directory could not be watched. There is a limit, `fs.inotify.max_user_watches`.
    pub fn follow(&mut self, tree: &ConfigTree) -> Result<bool, notify::Error> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(false);
        };
        let mut wanted = tree.directories.clone();
        wanted.extend(tree.link_targets.iter().filter_map(|path| Some((path.clone(), identify(path)?))));
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = wanted.keys().cloned().collect();
        // The root itself may be removed and made again, or be a symlink that is changed.
        if let Some(parent) = self.root.parent() {
            wanted.extend(identify(parent).map(|id| (parent.to_owned(), id)));
        }
        let lost = std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner));
        self.watched.retain(|path, id| {
            let keep = wanted.get(path) == Some(id) && !lost.contains(path);
            if !keep {
                // An error means that the directory is gone, and its watch with it.
                let _ = watcher.unwatch(path);
            }
            keep
        });
        let mut new = false;
        let mut failure = None;
        for (path, id) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    new = true;
                    self.watched.insert(path, id);
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(new), Err)
    }
}

/// Whether an event means a change. Reading by the loader itself does not.
fn changes_something(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
