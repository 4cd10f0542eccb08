//! Tests of how the loader follows a directory.

mod changes;
mod trouble;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use twitcher::config::files::{FileChange, Loader, start_with};
use twitcher::model::{StoreName, StoreNames};
use twitcher::trust::Trust;

use super::{DEADLINE, TWITCHER, set_umask};

/// No test waits for it.
const RESCAN_INTERVAL: Duration = Duration::from_secs(3600);

/// A loader on a directory of its own, and what it says.
struct Follower {
    loader: Loader,
    root: PathBuf,
    changes: Receiver<FileChange>,
    _directory: tempfile::TempDir,
}

fn stores() -> StoreNames {
    StoreNames::from([StoreName::default()])
}

impl Follower {
    /// Follows links that lead out of the directory, too: most of these tests are not about trust.
    fn new(files: &[(&str, &str)]) -> Self {
        Self::trusting(Trust::Anyone, files)
    }

    fn trusting(trust: Trust, files: &[(&str, &str)]) -> Self {
        set_umask();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("twitcher");
        fs::create_dir(&root).unwrap();
        for (name, text) in files {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        let (sender, changes) = mpsc::channel();
        let sink = move |change| drop(sender.send(change));
        let loader =
            start_with(root.clone(), trust, stores(), RESCAN_INTERVAL, TWITCHER.into(), sink).unwrap();
        Self { loader, root, changes, _directory: directory }
    }

    /// Returns after the first scan.
    fn ready(files: &[(&str, &str)]) -> Self {
        let follower = Self::new(files);
        while !matches!(follower.next(), FileChange::FirstScanDone) {}
        follower
    }

    /// Waits for the next change. The answer to a rescan is not one.
    fn next(&self) -> FileChange {
        let mut changes = std::iter::from_fn(|| self.changes.recv_timeout(DEADLINE).ok());
        changes.find(|change| !is_answer(change)).expect("a change")
    }

    /// Waits until this many rescans are answered, and returns the changes until then, as [`short`] puts
    /// them.
    fn until_answered(&self, rescans: usize) -> Vec<String> {
        let mut said = Vec::new();
        let (mut open, end) = (rescans, Instant::now() + DEADLINE);
        while open > 0 {
            let left = end.saturating_duration_since(Instant::now());
            match self.changes.recv_timeout(left).expect("an answer") {
                FileChange::Rescanned { requests } => open -= requests,
                change => said.push(short(&change)),
            }
        }
        said
    }

    /// Waits until no scan is under way. Panics if anything has changed.
    fn rest(&self) {
        self.loader.rescan();
        self.loader.rescan();
        assert_eq!(self.until_answered(2), [""; 0]);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.root.join(name), text).unwrap();
    }

    /// Waits for the next change, and returns it as [`short`] puts it.
    fn short(&self) -> String {
        short(&self.next())
    }

    /// Panics if anything changes in a time in which any change would have been seen: that nothing happens is
    /// no condition that could be waited for.
    fn quiet(&self) {
        let end = Instant::now() + Duration::from_millis(1200);
        while let Ok(change) = self.changes.recv_timeout(end.saturating_duration_since(Instant::now())) {
            assert!(is_answer(&change), "unexpected {change:?}");
        }
    }
}

/// `a.twc: /x,/y`, `a.twc failed`, `a.twc removed` and the like.
fn short(change: &FileChange) -> String {
    match change {
        FileChange::Loaded { file, watches, .. } => {
            let nodes: Vec<&str> = watches.iter().map(|watch| watch.subject.path.as_str()).collect();
            format!("{file}: {}", nodes.join(","))
        }
        FileChange::Failed { file, .. } => format!("{file} failed"),
        FileChange::Removed { file } => format!("{file} removed"),
        FileChange::Inaccessible { path, error } => format!("{path} closed: {error}"),
        FileChange::Accessible { path } => format!("{path} opened"),
        FileChange::Warning { path, warning } => format!("warning of {path}: {warning}"),
        FileChange::Degraded(trouble) => format!("trouble: {trouble}"),
        FileChange::Followed => "followed".into(),
        FileChange::FirstScanDone => "done".into(),
        FileChange::Rescanned { requests } => format!("{requests} rescanned"),
    }
}

fn is_answer(change: &FileChange) -> bool {
    matches!(change, FileChange::Rescanned { .. })
}
