//! Looks again at what the daemon takes once, at its start: its pid file, its state directory and
//! `twitcher.toml`. Others can remove, replace or edit these while it runs.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::locks::{LockedFile, PidFile};
use super::path_lock::{PathLock, TakenPath};
use super::settings_file::AppliedSettings;
use crate::ledger::DirInUse;
use crate::report::{Reporter, SETTINGS, SETTINGS_FILE};
use crate::trust::Trust;

/// The time between two looks, each of which is some ten system calls. The ledger looks at its directory as
/// often.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a reload waits for a look. It is over at once unless a file system hangs.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// What to look at, on a thread of its own, until the process ends.
pub struct Upkeep {
    /// `None` if there is none, or if it is gone because the daemon ends.
    pub pid_file: Option<Weak<PidFile>>,
    pub state_dir: PathBuf,
    /// `None` if it could not even be opened.
    pub state_lock: Option<Arc<LockedFile>>,
    /// Whether another state directory was there at the last look. The ledger, too, looks only now and then,
    /// and makes a removed one again.
    pub was_moved: bool,
    pub settings: AppliedSettings,
    pub configs: ConfigsLock,
}

/// The lock that tells of another daemon with the same configs and the same store. It keeps no daemon away.
pub struct ConfigsLock {
    config_path: PathBuf,
    store: String,
    held: Result<Option<PathLock>, TakenPath>,
}

impl ConfigsLock {
    pub fn new(config_path: &Path, store: String) -> Self {
        let held = PathLock::of_configs(config_path, &store);
        Self { config_path: config_path.to_owned(), store, held }
    }

    /// Returns the problem that another daemon has the lock.
    fn look(&mut self) -> Option<String> {
        if self.held.is_err() {
            self.held = PathLock::of_configs(&self.config_path, &self.store);
        }
        match &self.held {
            Ok(lock) => {
                lock.iter().for_each(PathLock::tidy);
                None
            }
            Err(TakenPath { pid }) => Some(format!(
                "another twitcher{} runs the configs in {} on {}, so actions run twice; stop one of them",
                pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
                self.config_path.display(),
                self.store
            )),
        }
    }
}

/// Has the thread look at once.
#[derive(Clone)]
pub struct Looks(Sender<SyncSender<()>>);

impl Looks {
    /// Waits until the thread has looked, so that what it found is reported.
    pub fn look(&self) {
        let (done, is_done) = sync_channel(1);
        if self.0.send(done).is_ok() {
            // The thread may hang on a file system, and reports what it finds later.
            let _ = is_done.recv_timeout(MAX_WAIT);
        }
    }
}

impl Upkeep {
    pub fn new(
        pid_file: Option<&Arc<PidFile>>,
        (state_dir, state_lock): (&Path, Option<Arc<LockedFile>>),
        (config_path, trust): (&Path, Trust),
        store: String,
    ) -> Self {
        Self {
            pid_file: pid_file.map(Arc::downgrade),
            state_dir: state_dir.to_owned(),
            state_lock,
            was_moved: false,
            settings: AppliedSettings::new(config_path, trust),
            configs: ConfigsLock::new(config_path, store),
        }
    }

    /// Lets the next daemon see the calling process as the holder of the locks on paths.
    pub fn claim(&self) {
        let state = self.state_lock.iter().filter_map(|lock| lock.path());
        state.chain(self.configs.held.iter().flatten()).for_each(PathLock::claim);
    }

    /// `in_use` is the state directory that the ledger uses.
    pub fn start(mut self, log: Reporter, in_use: DirInUse) -> Looks {
        let (ask, asked) = channel();
        self.look_at_locks(&log);
        // Without this thread nothing is noticed, and nothing else is lost.
        let _ = thread::Builder::new()
            .name("upkeep".into())
            .spawn(move || self.look_again(&log, &in_use, &asked));
        Looks(ask)
    }

    fn look_again(&mut self, log: &Reporter, in_use: &DirInUse, asked: &Receiver<SyncSender<()>>) {
        let mut next = Instant::now() + INTERVAL;
        loop {
            match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(done) => {
                    self.look_at_files(log);
                    // The reload may wait no longer.
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look(log, in_use);
                    next = Instant::now() + INTERVAL;
                }
                // The daemon has ended.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self, log: &Reporter, in_use: &DirInUse) {
        self.look_at_files(log);
        self.look_at_locks(log);
        let path = self.state_dir.display();
        let is_moved = in_use.is_not_at(&self.state_dir);
        let stays_moved = std::mem::replace(&mut self.was_moved, is_moved) && is_moved;
        report(
            log,
            "state directory",
            stays_moved.then(|| {
                format!("{path} was removed or replaced; restart the daemon, which then uses the new one")
            }),
            "is there again",
        );
    }

    /// Looks at what an operator may have changed before a reload.
    fn look_at_files(&mut self, log: &Reporter) {
        if let Some(pid_file) = self.pid_file.as_ref().and_then(Weak::upgrade) {
            report(log, "pid file", pid_file.renew().err(), "is written again");
        }
        let found = self.settings.look();
        if found.is_broken_anew {
            // Only the first reason would be logged.
            log.recovered_as(SETTINGS_FILE, "has changed");
        }
        report(log, SETTINGS_FILE, found.broken, "can be used again");
        if let Some(changed) = found.changed {
            report(log, SETTINGS, changed, "are as at the start again");
        }
    }

    fn look_at_locks(&mut self, log: &Reporter) {
        if let Some(lock) = &self.state_lock {
            lock.path().into_iter().for_each(PathLock::tidy);
        }
        report(log, "second daemon", self.configs.look(), "has ended");
    }
}

fn report(log: &Reporter, part: &'static str, problem: Option<String>, how: &str) {
    match problem {
        Some(what) => log.degraded(part, what),
        None => log.recovered_as(part, how),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::ledger::Ledger;
    use crate::model::LogFormat;
    use crate::report::log::Target;
    use crate::report::stream::LogStream;
    use crate::report::{Count, Level, Log, Report};

    struct Uncounted;

    impl Count for Uncounted {
        fn count(&self, _: &Report<'_>) {}
    }

    #[test]
    fn what_was_removed_replaced_or_edited_is_told_of_and_the_pid_file_is_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let stream = LogStream::open(&path("log")).unwrap();
        let log = Reporter::new(
            Log::start(Target::Stream(stream), Level::Debug, LogFormat::Text).unwrap().0,
            Arc::new(Uncounted),
        );
        fs::create_dir(path("state")).unwrap();
        fs::write(path("twitcher.toml"), "session_timeout = 1").unwrap();
        let pid_file = Arc::new(PidFile::lock(path("pid")).unwrap());
        pid_file.write().unwrap();
        let at = (&*path("state"), None);
        let from = (directory.path(), Trust::of_this_process(true));
        let mut upkeep = Upkeep::new(Some(&pid_file), at, from, "zk://one".into());
        let mut ledger = Ledger::open(&path("state")).unwrap();
        let in_use = ledger.dir_in_use();
        let mut found = || {
            upkeep.look(&log, &in_use);
            log.all_degraded().into_iter().map(|part| part.part).collect::<Vec<_>>()
        };
        assert_eq!(found(), [""; 0]);

        let pid = fs::read_to_string(path("pid")).unwrap();
        for damage in [true, false] {
            match damage {
                true => fs::write(path("pid"), "1 and more").unwrap(),
                false => fs::remove_file(path("pid")).unwrap(),
            }
            assert_eq!(found(), [""; 0]);
            assert_eq!(fs::read_to_string(path("pid")).unwrap(), pid);
        }
        fs::rename(path("pid"), path("old")).unwrap();
        fs::write(path("pid"), "another's").unwrap();
        fs::write(path("twitcher.toml"), "session_timeout = 2").unwrap();
        fs::remove_dir_all(path("state")).unwrap();
        assert_eq!(found(), ["pid file", "settings"], "the ledger may not have looked");
        assert_eq!(found(), ["pid file", "settings", "state directory"]);
        ledger.maintain();
        assert_eq!(found(), ["pid file", "settings"], "the ledger has made it again");
        // Nobody writes to this pipe, and whoever opens it must not wait.
        fs::remove_file(path("twitcher.toml")).unwrap();
        nix::unistd::mkfifo(&path("twitcher.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(found(), ["pid file", "settings", "settings file"]);
        fs::remove_file(path("twitcher.toml")).unwrap();
        fs::write(path("twitcher.toml"), "session_timeout = 1").unwrap();
        assert_eq!(found(), ["pid file"]);
        fs::rename(path("old"), path("pid")).unwrap();
        assert_eq!(found(), [""; 0]);
        fs::rename(path("pid"), path("old")).unwrap();
        fs::write(path("pid"), "another's").unwrap();
        let second = ConfigsLock::new(directory.path(), "zk://one".into());
        assert!(second.held.is_err(), "the first has the lock");
        upkeep.configs = second;
        let mut upkeep = upkeep;
        upkeep.look_at_locks(&log);
        assert_eq!(log.all_degraded(), [], "its end is noticed");
        drop(upkeep);
        drop(pid_file);
        assert_eq!(fs::read_to_string(path("pid")).unwrap(), "another's", "it is not ours to remove");
    }
}
