//! What is known of the config directory's files, and what a look at it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::evaluate::Evaluator;
use super::facts::hostname;
use super::files::FileChange;
use super::hints::Hints;
use super::load::{LoadError, Loaded, Source, Watches, load};
use super::modules::ModuleSource;
use super::resolve::Accounts;
use super::scan::{ConfigText, ConfigTree, ScannedFile, Stamp, read, read_module, scan};
use crate::model::StoreNames;
use crate::trust::Trust;
use crate::trust::root::Root;

/// A file must look the same at two looks so far apart: whoever writes it is done, and a later write within the
/// same tick of the file system's clock (4 ms at 250 Hz) cannot be mistaken for it.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// A file that is written all the time is taken as it is after this long.
pub const MAX_SETTLE_TIME: Duration = Duration::from_millis(500);

/// A file is gone when two looks so far apart miss it: editors move the old one away before the new one is there.
const REMOVAL_DELAY: Duration = Duration::from_millis(100);

/// New directories may have got more of them before they were watched.
const MAX_SCAN_ROUNDS: usize = 8;

/// Owned by the loader's thread.
pub struct Catalog {
    root: PathBuf,
    trust: Trust,
    stores: StoreNames,
    evaluator: Evaluator,
    hints: Hints,
    hints_failed: bool,
    sink: Box<dyn Fn(FileChange) + Send>,
    files: BTreeMap<String, Tracked>,
    modules: BTreeMap<String, TrackedModule>,
    unsettled: BTreeMap<String, Unsettled>,
    /// Said of the last look's tree.
    inaccessible: BTreeMap<String, String>,
    warnings: BTreeSet<String>,
    /// At the last look.
    hostname: String,
    first_scan_done: bool,
}

/// A file that was there at the last look.
#[derive(Default)]
struct Tracked {
    stamp: Option<Stamp>,
    text: Option<Arc<str>>,
    modules: BTreeSet<String>,
    error: Option<LoadError>,
    warnings: Vec<String>,
    absent_since: Option<Instant>,
}

impl Tracked {
    /// Whether the file may load another time as it is: an unknown user, or no time.
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
        // The stamp first: a change after it shows at the next look.
        let stamp = module_stamp(root, name);
        Self { stamp, source: read_module(root, name).map(Arc::from) }
    }
}

fn module_stamp(root: &Root, name: &str) -> Option<Stamp> {
    root.look(Path::new(name)).ok().map(|stat| Stamp::of(&stat))
}

struct Unsettled {
    stamp: Option<Stamp>,
    same_since: Instant,
    since: Instant,
}

impl Catalog {
    pub fn new(
        root: PathBuf,
        trust: Trust,
        stores: StoreNames,
        evaluator: Evaluator,
        hints: Hints,
        sink: Box<dyn Fn(FileChange) + Send>,
    ) -> Self {
        Self {
            root,
            trust,
            stores,
            evaluator,
            hints,
            hints_failed: false,
            sink,
            files: BTreeMap::new(),
            modules: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            inaccessible: BTreeMap::new(),
            warnings: BTreeSet::new(),
            hostname: hostname(),
            first_scan_done: false,
        }
    }

    /// Says why there are no hints.
    pub fn hints_failed(&mut self, reason: String) {
        self.hints_failed = true;
        self.emit(FileChange::Degraded(reason));
    }

    pub fn has_hints(&self) -> bool {
        !self.hints_failed
    }

    /// Looks at the directory, and gives what changed to the sink. Returns when to look again, where it saw
    /// something that it wants to see twice. `full` tries again what failed for reasons outside the files.
    pub fn pass(&mut self, full: bool) -> Option<Duration> {
        let (root, tree) = self.scan();
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
            let (root, tree) = scan(&self.root, self.trust);
            match self.hints.follow(&tree) {
                Ok(true) => {}
                Ok(false) => {
                    self.hints_failed &= tree.directories.is_empty();
                    return (root, tree);
                }
                Err(error) => {
                    if !self.hints_failed {
                        self.hints_failed(format!("cannot follow changes, so polling: {error}"));
                    }
                    return (root, tree);
                }
            }
        }
        scan(&self.root, self.trust)
    }

    fn look_at_files(&mut self, root: &Root, tree: &ConfigTree, full: bool) {
        let changed_modules = self.refresh_modules(root, full);
        self.check_hostname();
        let mut accounts = Accounts::default();
        // What took all its time before comes last, so that nobody waits for it again.
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
            let forced = !tracked.modules.is_disjoint(&changed_modules) || full && tracked.may_recover();
            if touched && !self.settled(name, Some(stamp)) {
                continue;
            }
            if touched || forced {
                self.load(root, name, found, stamp, forced, &mut accounts);
            }
        }
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
        for warning in tree.warnings.difference(&before) {
            self.emit(FileChange::Warning(warning.clone()));
        }
    }

    /// Reads again the modules that changed, and returns their names.
    fn refresh_modules(&mut self, root: &Root, full: bool) -> BTreeSet<String> {
        let names: Vec<String> = self.modules.keys().cloned().collect();
        let mut changed = BTreeSet::new();
        for name in names {
            let stamp = module_stamp(root, &name);
            let module = &self.modules[&name];
            let touched = module.stamp != stamp;
            let retry = full && module.source.is_err();
            if (touched && self.settled(&name, stamp)) || (retry && !touched) {
                let fresh = TrackedModule::read(root, &name);
                let old = self.modules.insert(name.clone(), fresh);
                if old.is_none_or(|old| old.source != self.modules[&name].source) {
                    changed.insert(name);
                }
            }
        }
        changed
    }

    /// Has every file loaded anew if the host has another name by now: any may have asked for it.
    fn check_hostname(&mut self) {
        let hostname = hostname();
        if hostname != self.hostname {
            self.hostname = hostname;
            for tracked in self.files.values_mut() {
                (tracked.stamp, tracked.text) = (None, None);
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

    /// Returns true if and only if `name` had this `stamp` for long enough.
    fn settled(&mut self, name: &str, stamp: Option<Stamp>) -> bool {
        let now = Instant::now();
        let entry =
            self.unsettled.entry(name.to_owned()).or_insert(Unsettled { stamp, same_since: now, since: now });
        if entry.stamp != stamp {
            (entry.stamp, entry.same_since) = (stamp, now);
        }
        let settled = now.duration_since(entry.same_since) >= SETTLE_TIME
            || now.duration_since(entry.since) >= MAX_SETTLE_TIME;
        if settled {
            self.unsettled.remove(name);
        }
        settled
    }

    /// What may be trusted again any moment is said when it has been so for as long as a file takes to be written.
    fn report_untrusted(&mut self, name: &str, found: &ScannedFile, reason: &str) {
        let message = format!("{}: {reason}", found.path.display());
        let Some(tracked) = self.files.get_mut(name) else { return };
        tracked.stamp = None;
        if tracked.error.as_ref().is_some_and(|error| error.message == message) {
            self.unsettled.remove(name);
        } else if self.settled(name, None) {
            self.loaded(name, None, Err(LoadError { message, transient: true }));
        }
    }

    fn load(
        &mut self,
        root: &Root,
        name: &str,
        found: &ScannedFile,
        seen: Stamp,
        forced: bool,
        accounts: &mut Accounts,
    ) {
        let path = found.path.display();
        let (text, stamp, warning): (Arc<str>, _, _) = match read(root, Path::new(name)) {
            Ok(Some(ConfigText { text, stamp, warning })) => (text.into(), stamp, warning),
            Ok(None) => {
                self.settled(name, None);
                return;
            }
            Err(reason) => {
                if let Some(tracked) = self.files.get_mut(name) {
                    tracked.stamp = Some(seen);
                }
                let error = LoadError { message: format!("{path}: {reason}"), transient: true };
                return self.loaded(name, None, Err(error));
            }
        };
        let Some(tracked) = self.files.get_mut(name) else { return };
        tracked.stamp = Some(stamp);
        // Touched, but what was last tried is still what it says. What could not be read tried nothing.
        let heals = tracked.may_recover();
        if tracked.text.as_ref() == Some(&text) && !forced && !heals {
            return;
        }
        tracked.text = Some(text.clone());
        let source = Source { path: found.path.clone(), name: name.into(), text };
        let modules = &mut self.modules;
        let mut read = |module: &str| {
            let tracked =
                modules.entry(module.to_owned()).or_insert_with(|| TrackedModule::read(root, module));
            tracked.source.clone()
        };
        let Loaded { result, modules } =
            load(source, &mut self.evaluator, accounts, Some(&self.stores), &mut read);
        if let Some(tracked) = self.files.get_mut(name) {
            tracked.modules = modules.into_keys().collect();
        }
        self.loaded(name, warning, result);
    }

    fn loaded(&mut self, name: &str, warning: Option<String>, result: Result<Watches, LoadError>) {
        let tracked = self.files.entry(name.to_owned()).or_default();
        let file = name.to_owned();
        match result {
            Ok(Watches { specs, locations: _, mut warnings }) => {
                warnings.extend(warning);
                let said = std::mem::replace(&mut tracked.warnings, warnings.clone());
                warnings.retain(|warning| !said.contains(warning));
                tracked.error = None;
                self.emit(FileChange::Loaded { file, watches: specs, warnings });
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

/// What is closed, as operators see it among the files: with a slash at its end.
fn display_path(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    if below.is_empty() { "./".to_owned() } else { format!("{below}/") }
}
