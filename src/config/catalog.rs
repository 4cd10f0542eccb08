//! The known state of the config directory, and what a scan finds changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::stat::lstat;

use super::evaluate::Evaluator;
use super::facts::hostname;
use super::file_change::FileChange;
use super::hints::{Followed, Hints};
use super::load::{LoadError, Loaded, Source, Watches, load};
use super::request::ModuleSource;
use super::resolve::Accounts;
use super::scan::{ConfigText, ConfigTree, DirectoryId, ScannedFile, Stamp, read, read_module, scan};
use crate::model::StoreNames;
use crate::sys::inotify_remedy;
use crate::trust::Trust;
use crate::trust::root::Root;

/// A changed file is read when two scans this far apart find the same stamp. Then its writer is done, and a
/// later write within the same tick of the file system's clock (4 ms at 250 Hz) cannot go unnoticed.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// A file that keeps changing is read after this time.
pub const MAX_SETTLE_TIME: Duration = Duration::from_millis(500);

/// A file counts as removed when two scans this far apart miss it. Some editors move the old file away before
/// the new one exists.
const REMOVAL_DELAY: Duration = Duration::from_millis(100);

/// Subdirectories can appear before their parent is watched. Then the scan is repeated, up to this many
/// times.
const MAX_SCAN_ROUNDS: usize = 8;

/// What the loader knows of the config directory.
pub struct Catalog {
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    /// Makes what resolves the users of one scan.
    accounts: fn() -> Accounts,
    evaluator: Evaluator,
    hints: Hints,
    polls: bool,
    sink: Box<dyn Fn(FileChange) + Send>,
    files: BTreeMap<String, Tracked>,
    modules: BTreeMap<String, TrackedModule>,
    unsettled: BTreeMap<String, Unsettled>,
    /// The paths that the last scan found inaccessible, with the reported errors.
    inaccessible: BTreeMap<String, String>,
    warnings: BTreeSet<(PathBuf, String)>,
    /// The directories that the last scans found, and which these were.
    directories: BTreeMap<PathBuf, DirectoryId>,
    /// The host's name at the last scan.
    hostname: String,
    first_scan_done: bool,
}

/// A file that the last scan found.
#[derive(Default)]
struct Tracked {
    /// The stamp of the text. `None`: the file must be read again.
    stamp: Option<Stamp>,
    /// The text that was loaded or tried last.
    text: Option<Arc<str>>,
    /// The modules that the file imports.
    modules: BTreeSet<String>,
    error: Option<LoadError>,
    /// The reported warnings.
    warnings: Vec<String>,
    /// The time of the first scan that missed the file.
    absent_since: Option<Instant>,
    /// Whether the file registered watches or services when it was loaded last.
    has_watches: bool,
}

impl Tracked {
    /// Whether the last error was temporary, such as an unknown user or a timeout.
    fn may_recover(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.transient)
    }
}

struct TrackedModule {
    stamp: Option<Stamp>,
    source: ModuleSource,
}

impl TrackedModule {
    fn read(root: &Root, name: &str) -> Self {
        // The stamp comes first, so that the next scan notices a later change.
        let stamp = module_stamp(root, name);
        Self { stamp, source: read_module(root, name).map(Arc::from) }
    }
}

/// Returns what shows whether a module changed. Of one that may not be looked at, such as a link that leads
/// out of the config directory, it is the stamp of the name itself: what is refused may change as well.
fn module_stamp(root: &Root, name: &str) -> Option<Stamp> {
    let name = Path::new(name);
    let stat = root.look(name).ok().or_else(|| {
        root.look(name.parent()?).ok()?;
        lstat(&root.path_of(name)).ok()
    });
    stat.map(|stat| Stamp::of(&stat))
}

/// A file that changed, and may still change.
struct Unsettled {
    stamp: Option<Stamp>,
    same_since: Instant,
    since: Instant,
}

impl Catalog {
    pub fn new(
        root: PathBuf,
        trust: Trust,
        (stores, accounts): (StoreNames, fn() -> Accounts),
        evaluator: Evaluator,
        hints: Hints,
        sink: Box<dyn Fn(FileChange) + Send>,
    ) -> Self {
        Self {
            root,
            trust,
            stores,
            accounts,
            evaluator,
            hints,
            polls: false,
            sink,
            files: BTreeMap::new(),
            modules: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            inaccessible: BTreeMap::new(),
            warnings: BTreeSet::new(),
            directories: BTreeMap::new(),
            hostname: hostname(),
            first_scan_done: false,
        }
    }

    /// Reports that hints fail, so that the directory must be polled.
    fn start_polling(&mut self, error: &io::Error) {
        self.polls = true;
        let root = self.root.display();
        self.emit(FileChange::Degraded(format!(
            "{root}: cannot follow changes ({error}), so polling it; {}",
            inotify_remedy(error.raw_os_error())
        )));
    }

    /// Reports that hints come again.
    fn stop_polling(&mut self) {
        if std::mem::take(&mut self.polls) {
            self.emit(FileChange::Followed);
        }
    }

    /// Whether the directory must be polled, because hints fail.
    pub fn polls(&self) -> bool {
        self.polls
    }

    /// Whether the last scan missed a part of the directory. Its reason may end without a hint: a limit of
    /// the system, or the owner of a directory above.
    pub fn is_partial(&self) -> bool {
        !self.inaccessible.is_empty()
    }

    /// Scans the directory and gives the changes to the sink. Returns the delay until the next scan, if a
    /// change must be confirmed by a second scan. A `full` pass also retries files with temporary errors.
    pub fn pass(&mut self, full: bool) -> Option<Duration> {
        let (root, mut tree) = self.scan();
        self.find_covered(&mut tree);
        self.report_inaccessible(&tree);
        self.report_warnings(&tree);
        let again = self.find_removed(&tree);
        match root {
            Some(root) => self.look_at_files(&root, &tree, full),
            None => self.unsettled.clear(),
        }
        let used: BTreeSet<&String> = self.files.values().flat_map(|file| &file.modules).collect();
        self.modules.retain(|name, _| used.contains(name));
        self.unsettled.retain(|name, _| tree.files.contains_key(name) || self.modules.contains_key(name));
        if self.unsettled.is_empty() && !self.first_scan_done {
            self.first_scan_done = true;
            self.emit(FileChange::FirstScanDone);
        }
        self.evaluator.stop_child();
        if self.unsettled.is_empty() { again } else { Some(SETTLE_TIME) }
    }

    fn scan(&mut self) -> (Option<Root>, ConfigTree) {
        for _ in 0..MAX_SCAN_ROUNDS {
            let (root, mut tree) = scan(&self.root, self.trust);
            // A module can be behind a link, or in a directory that is not scanned.
            tree.links.extend(self.modules.keys().map(|name| self.root.join(name)));
            match self.hints.follow(&tree) {
                Ok(Followed::New) => continue,
                Ok(Followed::Same) if !tree.directories.is_empty() => self.stop_polling(),
                Err(error) if !self.polls => self.start_polling(&error),
                Ok(Followed::Same) | Err(_) => {}
            }
            return (root, tree);
        }
        scan(&self.root, self.trust)
    }

    fn look_at_files(&mut self, root: &Root, tree: &ConfigTree, full: bool) {
        let changed_modules = self.refresh_modules(root, full);
        self.check_hostname();
        let mut accounts = (self.accounts)();
        // Files that failed for a temporary reason come last, because such a reason can be a timeout.
        let (slow, quick): (Vec<_>, Vec<_>) =
            tree.files.iter().partition(|(name, _)| self.files.get(*name).is_some_and(Tracked::may_recover));
        for (name, found) in quick.into_iter().chain(slow) {
            let tracked = self.files.entry(name.clone()).or_default();
            tracked.absent_since = None;
            let stamp = match &found.seen {
                Ok(stamp) => *stamp,
                Err(reason) => {
                    self.report_untrusted(name, found, reason);
                    continue;
                }
            };
            let touched = tracked.stamp != Some(stamp);
            let anew = !tracked.modules.is_disjoint(&changed_modules);
            let forced = anew || full && tracked.may_recover();
            // An editor may have truncated the file, and write it next.
            let is_emptied = stamp.is_of_empty_file() && tracked.has_watches;
            if touched && !self.settled(name, Some(stamp), is_emptied) {
                continue;
            }
            if touched || forced {
                self.load(root, name, found, stamp, (forced, anew), &mut accounts);
            }
        }
    }

    /// Finds directories that were replaced by one without configs: the file system was unmounted, or a link
    /// leads elsewhere, or nowhere. Whoever wants to remove configs removes the files.
    fn find_covered(&mut self, tree: &mut ConfigTree) {
        let has_files_below =
            |path: &PathBuf| self.files.keys().any(|name| self.root.join(name).starts_with(path));
        let lost = tree.dangling.iter().filter(|(path, _)| has_files_below(path));
        let lost: Vec<_> = lost.map(|(path, reason)| (path.clone(), reason.clone())).collect();
        tree.inaccessible.extend(lost);
        let mut known = std::mem::take(&mut self.directories);
        known.retain(|path, _| tree.directories.contains_key(path) || tree.is_inaccessible(path));
        for (path, id) in &tree.directories {
            let before = *known.entry(path.clone()).or_insert(*id);
            // Below the config directory, tools make a directory again and fill it later.
            let is_another = if *path == self.root { before != *id } else { before.0 != id.0 };
            let below = |name: &String| self.root.join(name).starts_with(path);
            if is_another && self.files.keys().any(below) && !tree.files.keys().any(below) {
                let reason = "another directory than before, and empty; mount it, or restart the daemon to \
                              drop its watches";
                tree.inaccessible.insert(path.clone(), reason.to_owned());
            } else {
                known.insert(path.clone(), *id);
            }
        }
        self.directories = known;
    }

    fn report_inaccessible(&mut self, tree: &ConfigTree) {
        let described = |(path, reason): (&PathBuf, &String)| {
            (display_path(&self.root, path), format!("{}: {reason}", path.display()))
        };
        let inaccessible: BTreeMap<String, String> = tree.inaccessible.iter().map(described).collect();
        let before = std::mem::replace(&mut self.inaccessible, inaccessible.clone());
        for path in before.keys().filter(|path| !inaccessible.contains_key(*path)) {
            self.emit(FileChange::Accessible { path: path.clone() });
        }
        for (path, error) in inaccessible {
            if before.get(&path) != Some(&error) {
                self.emit(FileChange::Inaccessible { path, error });
            }
        }
    }

    fn report_warnings(&mut self, tree: &ConfigTree) {
        let before = std::mem::replace(&mut self.warnings, tree.warnings.clone());
        for (path, warning) in tree.warnings.difference(&before) {
            let shown = display_path(&self.root, path);
            let is_directory = tree.directories.contains_key(path);
            let path = shown.strip_suffix('/').filter(|_| !is_directory).unwrap_or(&shown).to_owned();
            self.emit(FileChange::Warning { path, warning: warning.clone() });
        }
    }

    /// Reads the modules that changed, and returns their names.
    fn refresh_modules(&mut self, root: &Root, full: bool) -> BTreeSet<String> {
        let names: Vec<String> = self.modules.keys().cloned().collect();
        let mut changed = BTreeSet::new();
        for name in names {
            let stamp = module_stamp(root, &name);
            let module = &self.modules[&name];
            let touched = module.stamp != stamp;
            let retry = full && module.source.is_err();
            if (touched && self.settled(&name, stamp, false)) || (retry && !touched) {
                let fresh = TrackedModule::read(root, &name);
                let old = self.modules.insert(name.clone(), fresh);
                if old.is_none_or(|old| old.source != self.modules[&name].source) {
                    changed.insert(name);
                }
            }
        }
        changed
    }

    /// Lets every file load again if the host has a new name, because each file may have asked for the name.
    fn check_hostname(&mut self) {
        let hostname = hostname();
        if hostname != self.hostname {
            self.hostname = hostname;
            for tracked in self.files.values_mut() {
                (tracked.stamp, tracked.text) = (None, None);
                // A file may register watches only on a host with a certain name.
                tracked.has_watches = false;
            }
        }
    }

    fn find_removed(&mut self, tree: &ConfigTree) -> Option<Duration> {
        let now = Instant::now();
        let mut again = None;
        let mut removed = Vec::new();
        for (name, tracked) in &mut self.files {
            if tree.files.contains_key(name) || tree.is_inaccessible(&self.root.join(name)) {
                continue;
            }
            let since = *tracked.absent_since.get_or_insert(now);
            if now.duration_since(since) >= REMOVAL_DELAY {
                removed.push(name.clone());
            } else {
                again = Some(REMOVAL_DELAY);
            }
        }
        for name in removed {
            self.files.remove(&name);
            self.emit(FileChange::Removed { file: name });
        }
        again
    }

    /// Records the stamp. Returns whether the file may be read now: the stamp settled, or the file has
    /// changed for too long. With `is_doubtful`, only the latter counts.
    fn settled(&mut self, name: &str, stamp: Option<Stamp>, is_doubtful: bool) -> bool {
        let now = Instant::now();
        let entry =
            self.unsettled.entry(name.to_owned()).or_insert(Unsettled { stamp, same_since: now, since: now });
        if entry.stamp != stamp {
            (entry.stamp, entry.same_since) = (stamp, now);
        }
        let settled = !is_doubtful && now.duration_since(entry.same_since) >= SETTLE_TIME
            || now.duration_since(entry.since) >= MAX_SETTLE_TIME;
        if settled {
            self.unsettled.remove(name);
        }
        settled
    }

    /// Reports that a file is not trusted, if this persists.
    fn report_untrusted(&mut self, name: &str, found: &ScannedFile, reason: &str) {
        let message = format!("{}: {reason}", found.path.display());
        let Some(tracked) = self.files.get_mut(name) else { return };
        tracked.stamp = None;
        if tracked.error.as_ref().is_some_and(|error| error.message == message) {
            self.unsettled.remove(name);
        } else if self.settled(name, None, false) {
            self.report_load(name, None, false, Err(LoadError { message, transient: true }));
        }
    }

    fn load(
        &mut self,
        root: &Root,
        name: &str,
        found: &ScannedFile,
        seen: Stamp,
        (forced, anew): (bool, bool),
        accounts: &mut Accounts,
    ) {
        let (text, stamp, warning): (Arc<str>, _, _) = match read(root, Path::new(name)) {
            Ok(Some(ConfigText { text, stamp, warning })) => (text.into(), stamp, warning),
            Ok(None) => {
                self.settled(name, None, false);
                return;
            }
            Err(error) => {
                if let Some(tracked) = self.files.get_mut(name) {
                    tracked.stamp = Some(seen);
                }
                let error = LoadError { message: error.at(&found.path), transient: true };
                return self.report_load(name, None, false, Err(error));
            }
        };
        let Some(tracked) = self.files.get_mut(name) else { return };
        tracked.stamp = Some(stamp);
        // Skip a file whose text was already tried, unless the last attempt failed temporarily.
        if tracked.text.as_ref() == Some(&text) && !forced && !tracked.may_recover() {
            return;
        }
        let is_retry = !anew && tracked.text.as_ref() == Some(&text);
        tracked.text = Some(text.clone());
        let source = Source { path: found.path.clone(), name: name.into(), text };
        let modules = &mut self.modules;
        let mut module_source = |module: &str| {
            let tracked =
                modules.entry(module.to_owned()).or_insert_with(|| TrackedModule::read(root, module));
            tracked.source.clone()
        };
        let Loaded { result, modules } =
            load(source, &mut self.evaluator, accounts, Some(&self.stores), &mut module_source);
        if let Some(tracked) = self.files.get_mut(name) {
            tracked.modules = modules.into_keys().collect();
        }
        self.report_load(name, warning, is_retry, result);
    }

    /// `is_retry`: the same text was loaded before.
    fn report_load(
        &mut self,
        name: &str,
        warning: Option<String>,
        is_retry: bool,
        result: Result<Watches, LoadError>,
    ) {
        let path = self.root.join(name);
        let tracked = self.files.entry(name.to_owned()).or_default();
        let file = name.to_owned();
        let result = match result {
            // A full disk, a template without its data or a slip of an editor leaves such a file.
            Ok(Watches { specs, services, left_out: None, .. })
                if specs.is_empty() && services.is_empty() && tracked.has_watches =>
            {
                let message = format!(
                    "{}: registers no watch any more; to remove its watches, remove the file",
                    path.display()
                );
                Err(LoadError { message, transient: false })
            }
            result => result,
        };
        match result {
            Ok(Watches { specs, services, locations: _, mut warnings, doubts, left_out, complaints: _ }) => {
                tracked.has_watches = !specs.is_empty() || !services.is_empty() || left_out.is_some();
                warnings.extend(doubts);
                warnings.extend(warning);
                let said = std::mem::replace(&mut tracked.warnings, warnings.clone());
                warnings.retain(|warning| !said.contains(warning));
                let error =
                    left_out.as_ref().map(|it| LoadError { message: it.error.clone(), transient: true });
                let before = std::mem::replace(&mut tracked.error, error);
                // A repeated attempt that finds the same users missing changes nothing.
                if !is_retry || left_out.is_none() || before != tracked.error {
                    self.emit(FileChange::Loaded { file, watches: specs, services, warnings, left_out });
                }
            }
            Err(error) => {
                let said = tracked.error.replace(error.clone());
                if said.is_none_or(|said| said.message != error.message) {
                    self.emit(FileChange::Failed { file, error: error.message });
                }
            }
        }
    }

    pub fn emit(&self, change: FileChange) {
        (self.sink)(change);
    }
}

/// Returns the path below the config directory, with a slash at its end, as operators see it.
fn display_path(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    if below.is_empty() { "./".to_owned() } else { format!("{below}/") }
}
