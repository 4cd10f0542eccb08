//! Looks again at what the daemon takes once, at its start: its pid file, its state directory and
//! `twitcher.toml`. Others can remove, replace or edit these while it runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::locks::PidFile;
use crate::ledger::DirInUse;
use crate::report::Reporter;
use crate::settings;
use crate::trust::Trust;

/// The time between two looks. Configs are scanned as often.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks every minute, on a thread of its own, until the process ends.
pub struct Upkeep {
    /// `None` if there is none, or if it is gone because the daemon ends.
    pub pid_file: Option<Weak<PidFile>>,
    pub state_dir: PathBuf,
    /// Whether another state directory was there at the last look. The ledger, too, looks only now and then,
    /// and makes a removed one again.
    pub was_moved: bool,
    pub config_path: PathBuf,
    /// What the settings said at the start; `None` if there were none.
    pub applied: Option<Vec<u8>>,
}

impl Upkeep {
    pub fn new(pid_file: Option<&Arc<PidFile>>, state_dir: &Path, config_path: &Path) -> Self {
        Self {
            pid_file: pid_file.map(Arc::downgrade),
            state_dir: state_dir.to_owned(),
            was_moved: false,
            config_path: config_path.to_owned(),
            applied: settings::text(config_path, Trust::Anyone).ok().flatten(),
        }
    }

    /// `in_use` is the state directory that the ledger uses.
    pub fn start(mut self, log: Reporter, in_use: DirInUse) {
        let look = move || {
            loop {
                thread::sleep(INTERVAL);
                self.look(&log, &in_use);
            }
        };
        // Without this thread nothing is noticed, and nothing else is lost.
        let _ = thread::Builder::new().name("upkeep".into()).spawn(look);
    }

    fn look(&mut self, log: &Reporter, in_use: &DirInUse) {
        let problem = |part: &'static str, problem: Option<String>, how: &str| match problem {
            Some(what) => log.degraded(part, what),
            None => log.recovered_as(part, how),
        };
        if let Some(pid_file) = self.pid_file.as_ref().and_then(Weak::upgrade) {
            problem("pid file", pid_file.renew().err(), "is written again");
        }
        let path = self.state_dir.display();
        let is_moved = in_use.is_not_at(&self.state_dir);
        let stays_moved = std::mem::replace(&mut self.was_moved, is_moved) && is_moved;
        problem(
            "state directory",
            stays_moved.then(|| {
                format!("{path} was removed or replaced; restart the daemon, which then uses the new one")
            }),
            "is there again",
        );
        let path = self.config_path.join("twitcher.toml");
        let changed = match settings::text(&self.config_path, Trust::Anyone) {
            Ok(text) if text == self.applied => None,
            Ok(_) => Some(format!(
                "{} has changed since the start; restart the daemon to apply it",
                path.display()
            )),
            Err(error) => Some(format!("{error}; the daemon could not start again")),
        };
        problem("settings", changed, "are as at the start again");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::ledger::Ledger;
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
        let log =
            Reporter::new(Log::start(Target::Stream(stream), Level::Debug).unwrap().0, Arc::new(Uncounted));
        fs::create_dir(path("state")).unwrap();
        fs::write(path("twitcher.toml"), "1").unwrap();
        let pid_file = Arc::new(PidFile::lock(path("pid")).unwrap());
        pid_file.write().unwrap();
        let mut upkeep = Upkeep::new(Some(&pid_file), &path("state"), directory.path());
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
        fs::write(path("twitcher.toml"), "2").unwrap();
        fs::remove_dir_all(path("state")).unwrap();
        assert_eq!(found(), ["pid file", "settings"], "the ledger may not have looked");
        assert_eq!(found(), ["pid file", "settings", "state directory"]);
        ledger.maintain();
        assert_eq!(found(), ["pid file", "settings"], "the ledger has made it again");
        // Nobody writes to this pipe, and whoever opens it must not wait.
        fs::remove_file(path("twitcher.toml")).unwrap();
        nix::unistd::mkfifo(&path("twitcher.toml"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(found(), ["pid file", "settings"]);
        fs::remove_file(path("twitcher.toml")).unwrap();
        fs::write(path("twitcher.toml"), "1").unwrap();
        assert_eq!(found(), ["pid file"]);
        fs::rename(path("old"), path("pid")).unwrap();
        assert_eq!(found(), [""; 0]);
        fs::rename(path("pid"), path("old")).unwrap();
        fs::write(path("pid"), "another's").unwrap();
        drop(upkeep);
        drop(pid_file);
        assert_eq!(fs::read_to_string(path("pid")).unwrap(), "another's", "it is not ours to remove");
    }
}
