//! Looks again at what the daemon takes once, at its start: its pid file, its state directory and
//! `twitcher.toml`. Others can remove, replace or edit these while it runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::locks::PidFile;
use crate::report::Reporter;

/// The time between two looks. Configs are scanned as often.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks every minute, on a thread of its own, until the process ends.
pub struct Upkeep {
    /// `None` if there is none, or if it is gone because the daemon ends.
    pub pid_file: Option<Weak<PidFile>>,
    pub state_dir: PathBuf,
    pub settings: PathBuf,
}

/// A file or directory as it was at the start: device and inode; `None` if it was not there.
type Inode = Option<(u64, u64)>;

impl Upkeep {
    pub fn new(pid_file: Option<&Arc<PidFile>>, state_dir: &Path, config_path: &Path) -> Self {
        Self {
            pid_file: pid_file.map(Arc::downgrade),
            state_dir: state_dir.to_owned(),
            settings: config_path.join("twitcher.toml"),
        }
    }

    pub fn start(self, log: Reporter) {
        let (state_dir, settings) = (inode(&self.state_dir), fs::read(&self.settings).ok());
        let look = move || {
            loop {
                thread::sleep(INTERVAL);
                self.look(&log, state_dir, settings.as_deref());
            }
        };
        // Without this thread nothing is noticed, and nothing else is lost.
        let _ = thread::Builder::new().name("upkeep".into()).spawn(look);
    }

    fn look(&self, log: &Reporter, state_dir: Inode, settings: Option<&[u8]>) {
        let problem = |part: &'static str, problem: Option<String>| match problem {
            Some(what) => log.degraded(part, what),
            None => log.recovered(part),
        };
        if let Some(pid_file) = self.pid_file.as_ref().and_then(Weak::upgrade) {
            problem("pid file", pid_file.renew().err());
        }
        let path = self.state_dir.display();
        let moved = state_dir.is_some() && inode(&self.state_dir) != state_dir;
        problem(
            "state directory",
            moved.then(|| {
                format!("{path} was removed or replaced; restart the daemon, which then uses the new one")
            }),
        );
        let path = self.settings.display();
        let changed = match fs::read(&self.settings) {
            Ok(text) => Some(&*text) != settings,
            Err(error) => settings.is_some() && error.kind() == std::io::ErrorKind::NotFound,
        };
        problem(
            "settings",
            changed.then(|| format!("{path} has changed since the start; restart the daemon to apply it")),
        );
    }
}

fn inode(path: &Path) -> Inode {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
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
        let upkeep = Upkeep::new(Some(&pid_file), &path("state"), directory.path());
        let state_dir = inode(&path("state"));
        let found = || {
            upkeep.look(&log, state_dir, Some(b"1"));
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
        fs::remove_dir(path("state")).unwrap();
        assert_eq!(found(), ["pid file", "settings", "state directory"]);
        drop(upkeep);
        drop(pid_file);
        assert_eq!(fs::read_to_string(path("pid")).unwrap(), "another's", "it is not ours to remove");
    }
}
