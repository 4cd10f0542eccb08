//! Hints that something may have changed: inotify, without trust in it.
//!
//! It loses events, misses what happens in directories it does not know yet, and cannot follow symlinks. So a
//! hint only says "look now"; the scan finds out what happened, and comes anyway after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::files::Wake;
use super::scan::{ConfigTree, DirectoryId, identify};

pub struct Hints {
    root: PathBuf,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, DirectoryId>,
    /// Directories of which every event counts. In the root's parent only the root's own do.
    inside: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// What was removed or renamed since the last look. Its watch is gone or elsewhere, and (dev, inode) does not
    /// tell: a directory that is made again may well get the old one's.
    lost: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Hints {
    pub fn new(root: &Path, wake: Sender<Wake>) -> Result<Self, notify::Error> {
        let inside = Arc::new(Mutex::new(BTreeSet::new()));
        let lost = Arc::new(Mutex::new(BTreeSet::new()));
        let (known, own_root, losses) = (inside.clone(), root.to_owned(), lost.clone());
        let handler = move |event: notify::Result<Event>| {
            // An error is a lost event, so look.
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
                // Nobody listens any more when the loader has ended.
                let _ = wake.send(Wake::Hint);
            }
        };
        let watcher = notify::recommended_watcher(handler)?;
        Ok(Self { root: root.to_owned(), watcher: Some(watcher), watched: BTreeMap::new(), inside, lost })
    }

    /// Hints that never come.
    pub fn none(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            watcher: None,
            watched: BTreeMap::new(),
            inside: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// Watches the directories of `tree`, and no others. Returns whether there were new ones: what happened in
    /// them before the call is not known, so scan again.
    ///
    /// # Errors
    ///
    /// The first directory that could not be watched (there is a limit, `fs.inotify.max_user_watches`).
    pub fn follow(&mut self, tree: &ConfigTree) -> Result<bool, notify::Error> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(false);
        };
        let mut wanted = tree.directories.clone();
        wanted.extend(tree.link_targets.iter().filter_map(|path| Some((path.clone(), identify(path)?))));
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = wanted.keys().cloned().collect();
        // For a root that is removed and made again, or a symlink that is turned to another directory.
        if let Some(parent) = self.root.parent() {
            wanted.extend(identify(parent).map(|id| (parent.to_owned(), id)));
        }
        let lost = std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner));
        self.watched.retain(|path, id| {
            let keep = wanted.get(path) == Some(id) && !lost.contains(path);
            if !keep {
                // It may be gone, and its watch with it.
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

/// Our own reading must not wake us.
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
