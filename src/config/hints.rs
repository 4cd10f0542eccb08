//! Hints from inotify that something may have changed in the config directory.
//!
//! Inotify loses events, misses changes in directories that it does not watch yet, and cannot follow
//! symlinks. So a hint only means "scan now". The scan finds the changes, and also comes from time to time
//! without a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::scan::{ConfigTree, DirectoryId, identify};

/// The result of [`Hints::follow`].
pub enum Followed {
    /// All directories were watched before.
    Same,
    /// Some directories were not watched before. Scan again, because past changes in them gave no hint.
    New,
}

/// Watches the directories of the last scan.
pub struct Hints {
    root: PathBuf,
    /// `None`: inotify does not work, so no hint ever comes.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, DirectoryId>,
    /// The directories in which every event counts. In the root's parent, only events on the root count.
    inside: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// The paths that were removed or renamed since the last scan, and so lost their inotify watch. Device
    /// and inode do not show this, because a new directory may get those of the old one.
    lost: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Hints {
    /// Calls `hint` on another thread for each event that may mean a change.
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

    /// Watches exactly the directories of `tree`.
    ///
    /// # Errors
    ///
    /// A directory could not be watched. There is a limit, `fs.inotify.max_user_watches`.
    pub fn follow(&mut self, tree: &ConfigTree) -> Result<Followed, notify::Error> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(Followed::Same);
        };
        let mut wanted = tree.directories.clone();
        wanted.extend(tree.link_targets.iter().filter_map(|path| Some((path.clone(), identify(path)?))));
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = wanted.keys().cloned().collect();
        // The root itself may be removed and made again, or be a symlink that gets another target.
        if let Some(parent) = self.root.parent() {
            wanted.extend(identify(parent).map(|id| (parent.to_owned(), id)));
        }
        let lost = std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner));
        self.watched.retain(|path, id| {
            let keep = wanted.get(path) == Some(id) && !lost.contains(path);
            if !keep {
                // An error means that the directory no longer exists.
                let _ = watcher.unwatch(path);
            }
            keep
        });
        let mut followed = Followed::Same;
        let mut failure = None;
        for (path, id) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    followed = Followed::New;
                    self.watched.insert(path, id);
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(followed), Err)
    }
}

/// Whether an event may mean a change. The loader's own reading does not.
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
