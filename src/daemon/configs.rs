//! The configs: which files cannot be loaded, which were there at the start, and who waits for a reload.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::config::files::Loader;
use crate::control::status::ConfigError;
use crate::control::{CommandResult, ReplySender, RequestError};
use crate::report::{Report, Reporter};
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

/// What a load changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
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

    pub fn warn(&self, warning: &str) {
        self.log.report(&Report::ConfigWarning { warning });
    }

    pub fn loaded(&mut self, file: &str, changes: Changes) {
        self.missing.remove(file);
        self.failing.remove(file);
        let Changes { added, changed, removed } = changes;
        self.log.report(&Report::ConfigLoaded { file, added, changed, removed });
    }

    pub fn removed(&mut self, file: &str, changes: Changes) {
        self.failing.remove(file);
        self.log.report(&Report::ConfigRemoved { file, watches: changes.removed });
    }

    pub fn failed(&mut self, file: String, error: String) {
        self.log.report(&Report::ConfigFailed { error: &error });
        if !self.is_scanned {
            self.missing.insert(file.clone());
        }
        self.failing.insert(file, error);
    }

    pub fn inaccessible(&mut self, directory: String, error: String) {
        self.log.report(&Report::ConfigFailed { error: &error });
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
    pub fn reload(&mut self, requested_by: &str, reply: Option<ReloadReply>) {
        self.log.report(&Report::ConfigReload { requested_by });
        self.reloads.push_back(reply);
        self.loader.rescan();
    }

    /// This many rescans are done, the oldest first: answers those who asked for them. `watches` are
    /// registered now.
    pub fn reloaded(&mut self, rescans: usize, watches: usize) {
        let rescans = rescans.min(self.reloads.len());
        for reply in self.reloads.drain(..rescans).flatten() {
            // The operator may have left.
            let _ = reply.send(result(&self.failing, watches));
        }
    }
}

/// The result of a reload, in the operator's words.
fn result(failing: &BTreeMap<String, String>, watches: usize) -> Result<CommandResult, RequestError> {
    let errors: Vec<&str> = failing.values().map(String::as_str).collect();
    match errors.is_empty() {
        true => Ok(CommandResult { watch: None, done: format!("{} loaded", count(watches as u64, "watch")) }),
        false => Err(RequestError::Conflict(format!(
            "{}\nnot loaded: what these files registered before stays",
            errors.join("\n")
        ))),
    }
}
