//! Hints from inotify that something may have changed in the config directory.
//!
//! Inotify loses events, misses changes in directories that it does not watch yet, and cannot follow
//! symlinks. So a hint only means "scan now". The scan finds the changes, and also comes from time to time
//! without a hint.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::scan::{ConfigTree, DirectoryId, identify};
use crate::trust::way;

/// The pauses before inotify is started again if it cannot start, for example because the user has too many
/// instances of it. An attempt is one system call.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

/// The result of [`Hints::follow`].
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// All directories were watched before.
    Same,
    /// Some directories were not watched before. Scan again, because past changes in them gave no hint.
    New,
}

/// Watches the directories of the last scan, and the places that decide where the paths in it lead.
pub struct Hints {
    root: PathBuf,
    on_hint: Arc<dyn Fn() + Send + Sync>,
    /// `None`: inotify does not work, so no hint comes.
    watcher: Option<RecommendedWatcher>,
    /// The time of the next attempt to start inotify, and the pause after it.
    retry: (Instant, Duration),
    watched: BTreeMap<PathBuf, DirectoryId>,
    relevant: Arc<Mutex<Relevant>>,
}

/// Which events count. The thread that receives them shares it.
#[derive(Default)]
struct Relevant {
    /// The directories in which every event counts.
    inside: BTreeSet<PathBuf>,
    /// Single files, directories and links elsewhere.
    places: BTreeSet<PathBuf>,
    /// The paths that were removed or renamed since the last scan, and so lost their inotify watch. Device
    /// and inode do not show this, because a new directory may get those of the old one.
    lost: BTreeSet<PathBuf>,
}

impl Relevant {
    /// Returns whether an event counts.
    fn take(&mut self, event: &Event) -> bool {
        if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            self.lost.extend(event.paths.iter().cloned());
        }
        let counts = |path: &PathBuf| {
            self.places.contains(path)
                || self.inside.contains(path)
                || path.parent().is_some_and(|parent| self.inside.contains(parent))
        };
        changes_something(event.kind) && (event.paths.is_empty() || event.paths.iter().any(counts))
    }
}

impl Hints {
    /// Calls `on_hint` on another thread for each event that may mean a change.
    pub fn new(root: &Path, on_hint: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            root: root.to_owned(),
            on_hint: Arc::new(on_hint),
            watcher: None,
            retry: (Instant::now(), MIN_RETRY_DELAY),
            watched: BTreeMap::new(),
            relevant: Arc::default(),
        }
    }

    /// Watches exactly the directories of `tree`, and the places on the way to them and to the targets of
    /// links.
    ///
    /// # Errors
    ///
    /// Inotify cannot start, or a directory could not be watched. There are limits:
    /// `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches`.
    pub fn follow(&mut self, tree: &ConfigTree) -> Result<Followed, notify::Error> {
        self.start()?;
        let Self { watcher: Some(watcher), watched, relevant, .. } = self else {
            return Err(notify::Error::generic("waiting to start inotify again"));
        };
        let (wanted, lost) = {
            let mut relevant = lock(relevant);
            let (inside, places) = directories(&self.root, tree);
            relevant.inside = inside.keys().cloned().collect();
            relevant.places = places.iter().map(|(path, _)| path.clone()).collect();
            let mut wanted: BTreeMap<PathBuf, (DirectoryId, bool)> = places
                .into_iter()
                .filter_map(|(path, id)| Some((path.parent()?.to_owned(), (id, false))))
                .collect();
            wanted.extend(inside.into_iter().map(|(path, id)| (path, (id, true))));
            (wanted, std::mem::take(&mut relevant.lost))
        };
        watched.retain(|path, id| {
            let keep = wanted.get(path).is_some_and(|(wanted, _)| wanted == id) && !lost.contains(path);
            if !keep {
                // An error means that the directory no longer exists.
                let _ = watcher.unwatch(path);
            }
            keep
        });
        let mut followed = Followed::Same;
        let mut failure = None;
        for (path, (id, is_inside)) in wanted {
            if watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    followed = Followed::New;
                    watched.insert(path, id);
                }
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                // A user can pass through directories that the user cannot read.
                Err(error) if !is_inside && is_denied(&error) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(followed), Err)
    }

    /// Starts inotify, if it does not run and the next attempt is due.
    fn start(&mut self) -> Result<(), notify::Error> {
        let (due, delay) = self.retry;
        if self.watcher.is_some() || Instant::now() < due {
            return Ok(());
        }
        self.retry = (Instant::now() + delay, (delay * 2).min(MAX_RETRY_DELAY));
        let (relevant, on_hint) = (self.relevant.clone(), self.on_hint.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that an event is lost.
            if event.map_or(true, |event| lock(&relevant).take(&event)) {
                on_hint();
            }
        })?;
        self.watcher = Some(watcher);
        Ok(())
    }
}

/// Returns the directories in which every event counts, and the single places elsewhere, each with the
/// identity of its directory. Inotify has one watch for a directory, whatever paths lead to it, so each
/// directory has one path here.
fn directories(
    root: &Path,
    tree: &ConfigTree,
) -> (BTreeMap<PathBuf, DirectoryId>, Vec<(PathBuf, DirectoryId)>) {
    let mut paths: HashMap<DirectoryId, PathBuf> = HashMap::new();
    for (path, id) in &tree.directories {
        paths.entry(*id).or_insert_with(|| path.clone());
    }
    let inside: BTreeMap<_, _> = paths.iter().map(|(id, path)| (path.clone(), *id)).collect();
    let mut places: BTreeSet<_> = way(root);
    tree.links.iter().for_each(|path| places.extend(way(path)));
    let mut outside = Vec::new();
    let mut ids: HashMap<PathBuf, Option<DirectoryId>> = HashMap::new();
    for (directory, name) in places {
        let id = *ids.entry(directory.clone()).or_insert_with(|| identify(&directory));
        let Some(id) = id else { continue };
        let path = paths.entry(id).or_insert(directory).clone();
        if !inside.contains_key(&path) {
            outside.push((path.join(name), id));
        }
    }
    (inside, outside)
}

fn lock(relevant: &Mutex<Relevant>) -> MutexGuard<'_, Relevant> {
    relevant.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a system error.
pub fn error_number(error: &notify::Error) -> Option<i32> {
    match &error.kind {
        ErrorKind::Io(error) => error.raw_os_error(),
        ErrorKind::MaxFilesWatch => Some(nix::libc::ENOSPC),
        ErrorKind::Generic(_)
        | ErrorKind::PathNotFound
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_) => None,
    }
}

fn is_denied(error: &notify::Error) -> bool {
    matches!(&error.kind, ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
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
