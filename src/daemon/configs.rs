//! The configs: which files cannot be loaded, which were there at the start, and who waits for a reload.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::config::files::Loader;
use crate::control::status::ConfigError;
use crate::control::{CommandResult, ReplySender, RequestError};
use crate::report::{Degraded, ReloadCause, Report, Reporter, SETTINGS, SETTINGS_FILE};
use crate::text::count;

/// Where the result of a reload goes.
pub type ReloadReply = ReplySender<Result<CommandResult, RequestError>>;

pub struct Configs {
    log: Reporter,
    path: PathBuf,
    /// Whether root's daemon loads files that others can change.
    untrusted_allowed: bool,
    loader: Loader,
    /// Whether every file that was there at the start was loaded, or has failed.
    is_scanned: bool,
    /// The files that were there at the start and could not be loaded yet: a former daemon may have loaded
    /// them.
    missing: HashSet<String>,
    /// Whether a directory could not be read at the start, so that nobody knows which files are in it.
    missing_directory: bool,
    /// Files whose last load failed, and why.
    failing: BTreeMap<String, String>,
    /// The rescans that were asked for and are not done, oldest first, and who waits for each.
    reloads: VecDeque<Option<ReloadReply>>,
}

/// How many watches of an emptied file are named.
const MAX_NAMES: usize = 5;

/// What a load changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
}

impl Changes {
    /// Adds what else a load changed.
    pub fn and(self, Self { added, changed, removed }: Self) -> Self {
        Self { added: self.added + added, changed: self.changed + changed, removed: self.removed + removed }
    }
}

impl Configs {
    pub fn new(log: Reporter, path: PathBuf, untrusted_allowed: bool, loader: Loader) -> Self {
        Self {
            log,
            path,
            untrusted_allowed,
            loader,
            is_scanned: false,
            missing: HashSet::new(),
            missing_directory: false,
            failing: BTreeMap::new(),
            reloads: VecDeque::new(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn untrusted_allowed(&self) -> bool {
        self.untrusted_allowed
    }

    pub fn errors(&self) -> impl ExactSizeIterator<Item = ConfigError> {
        self.failing.iter().map(|(file, error)| ConfigError { file: file.clone(), error: error.clone() })
    }

    // What the loader says.

    pub fn warn(&self, file: &str, warning: &str) {
        self.log.report(&Report::ConfigWarning { file: Some(file), warning });
    }

    pub fn loaded(&mut self, file: &str, changes: Changes) {
        self.missing.remove(file);
        self.failing.remove(file);
        let Changes { added, changed, removed } = changes;
        self.log.report(&Report::ConfigLoaded { file, added, changed, removed });
    }

    /// Watches of the file are left out, for the reason `error`; the last good ones of these may stay. The
    /// file counts as not loaded, so that what the ledger knows of these watches is kept.
    pub fn partly_loaded(
        &mut self,
        file: String,
        changes: Changes,
        error: String,
        (has_others, keeps_watches): (bool, bool),
    ) {
        let Changes { added, changed, removed } = changes;
        self.log.report(&Report::ConfigLoaded { file: &file, added, changed, removed });
        self.note_failure(file, error, keeps_watches, has_others);
    }

    pub fn removed(&mut self, file: &str, changes: Changes) {
        self.failing.remove(file);
        self.log.report(&Report::ConfigRemoved { file, watches: changes.removed });
    }

    pub fn failed(&mut self, file: String, error: String, keeps_watches: bool) {
        self.note_failure(file, error, keeps_watches, false);
    }

    fn note_failure(&mut self, file: String, error: String, keeps_watches: bool, is_partial: bool) {
        self.log.report(&Report::ConfigFailed { file: &file, error: &error, keeps_watches, is_partial });
        if !self.is_scanned {
            self.missing.insert(file.clone());
        }
        self.failing.insert(file, error);
    }

    /// A file that registers nothing was there at the start, and a former daemon ran `watches` of it. Nobody
    /// knows their definitions any more, but what the ledger knows of them is kept until the file is mended.
    pub fn emptied(&mut self, file: String, watches: &[String]) {
        let (path, count) = (self.path.join(&file), count(watches.len() as u64, "watch"));
        let names =
            watches.iter().take(MAX_NAMES).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let more = if watches.len() > MAX_NAMES { ", ..." } else { "" };
        let error = format!(
            "{}: registers no watch, but the last daemon ran {count} of it ({names}{more}), which do not \
             run now; restore the file, or remove it if they are to go",
            path.display()
        );
        self.failed(file, error, false);
    }

    pub fn inaccessible(&mut self, directory: String, error: String, keeps_watches: bool) {
        self.log.report(&Report::ConfigFailed {
            file: &directory,
            error: &error,
            keeps_watches,
            is_partial: false,
        });
        self.missing_directory |= !self.is_scanned;
        self.failing.insert(directory, error);
    }

    pub fn accessible(&mut self, directory: &str) {
        self.failing.remove(directory);
    }

    // The first scan.

    pub fn is_scanned(&self) -> bool {
        self.is_scanned
    }

    pub fn first_scan_done(&mut self) {
        self.is_scanned = true;
    }

    /// Whether the file was there at the start and has not been loaded yet.
    pub fn is_missing(&self, file: &str) -> bool {
        self.missing_directory || self.missing.contains(file)
    }

    /// Whether what the file registers next may have been registered before this daemon started.
    pub fn may_be_older(&self, file: &str) -> bool {
        !self.is_scanned || self.is_missing(file)
    }

    // Reloads.

    /// Has all files read again. `reply` is answered when that is done.
    pub fn reload(&mut self, cause: ReloadCause<'_>, reply: Option<ReloadReply>) {
        self.log.report(&Report::ConfigReload { cause });
        self.reloads.push_back(reply);
        self.loader.rescan();
    }

    /// This many rescans are done, the oldest first: answers those who asked for them. `watches` are
    /// registered now.
    pub fn reloaded(&mut self, rescans: usize, watches: usize) {
        let rescans = rescans.min(self.reloads.len());
        for reply in self.reloads.drain(..rescans).flatten() {
            // The operator may have left.
            let _ = reply.send(result(&self.failing, &self.log.all_degraded(), watches));
        }
    }
}

/// The result of a reload, in the operator's words.
fn result(
    failing: &BTreeMap<String, String>,
    degraded: &[Degraded],
    watches: usize,
) -> Result<CommandResult, RequestError> {
    let why = |part: &str| degraded.iter().find(|degraded| degraded.part == part).map(|found| &*found.what);
    let mut errors: Vec<&str> = failing.values().map(String::as_str).collect();
    if !errors.is_empty() {
        errors.push("not loaded: what these files registered before stays");
    }
    errors.extend(why(SETTINGS_FILE));
    if !errors.is_empty() {
        return Err(RequestError::Conflict(errors.join("\n")));
    }
    let mut done = format!("{} loaded", count(watches as u64, "watch"));
    if let Some(changed) = why(SETTINGS) {
        done += &format!("; {changed}");
    }
    Ok(CommandResult { watch: None, done })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::config::files;
    use crate::config::resolve::Accounts;
    use crate::daemon::fixtures::reporter;
    use crate::model::StoreNames;
    use crate::trust::Trust;

    fn configs() -> Configs {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let trust = Trust::of_this_process(true);
        let loader = files::start(
            path.clone(),
            trust,
            StoreNames::new(),
            Duration::from_secs(60),
            Accounts::default,
            drop,
        )
        .unwrap();
        Configs::new(reporter(), path, false, loader)
    }

    #[test]
    fn only_a_file_that_was_there_at_the_start_and_failed_may_be_older_later_on() {
        let mut configs = configs();
        assert!(configs.may_be_older("good") && configs.may_be_older("bad"));
        configs.loaded("good", Changes::default());
        configs.failed("bad".into(), "why".into(), false);
        configs.first_scan_done();
        configs.failed("new".into(), "why".into(), false);
        assert_eq!(["good", "bad", "new"].map(|file| configs.may_be_older(file)), [false, true, false]);
        configs.loaded("bad", Changes::default());
        assert!(!configs.may_be_older("bad"));
    }

    #[test]
    fn a_directory_that_is_closed_at_the_start_may_hold_any_file() {
        let mut configs = configs();
        configs.inaccessible("./".into(), "closed".into(), false);
        configs.first_scan_done();
        configs.accessible("./");
        assert!(configs.is_missing("any") && configs.errors().len() == 0);
    }

    #[test]
    fn reloads_are_answered_in_turn_with_what_fails_then() {
        let mut configs = configs();
        let [first, second] = [0, 1].map(|_| {
            let (reply, answer) = oneshot::channel();
            configs.reload(ReloadCause::Operator(None), Some(reply));
            answer
        });
        configs.reload(ReloadCause::Signal("SIGHUP"), None);
        configs.reloaded(1, 3);
        let mut answers = [first, second].map(|mut answer| move || answer.try_recv().ok());
        assert_eq!(answers[0](), Some(Ok(CommandResult { watch: None, done: "3 watches loaded".into() })));
        assert_eq!(answers[1](), None);
        configs.failed("bad".into(), "bad: broken".into(), true);
        configs.reloaded(9, 3);
        assert!(
            matches!(answers[1](), Some(Err(RequestError::Conflict(why))) if why.contains("bad: broken"))
        );
    }

    #[test]
    fn a_reload_tells_of_settings_that_it_does_not_apply() {
        let degraded = |part| [Degraded { part, what: "why".into(), since: std::time::UNIX_EPOCH }];
        let answer = |part: &'static str| result(&BTreeMap::new(), &degraded(part.into()), 1);
        assert_eq!(answer("other").unwrap().done, "1 watch loaded");
        assert_eq!(answer(SETTINGS).unwrap().done, "1 watch loaded; why");
        assert_eq!(answer(SETTINGS_FILE), Err(RequestError::Conflict("why".into())));
    }
}
