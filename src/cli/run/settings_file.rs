//! Compares `twitcher.toml` with what the daemon took from it at its start.

use std::path::{Path, PathBuf};

use toml::Table;

use crate::settings;
use crate::text::decode;
use crate::trust::Trust;

/// What the file said at the start.
pub struct AppliedSettings {
    config_path: PathBuf,
    path: PathBuf,
    trust: Trust,
    applied: Table,
    /// The last answer that was not `None`.
    broken: Option<String>,
}

/// How the file is now.
pub struct FoundSettings {
    /// Why no daemon could start with the file, and the remedy.
    pub broken: Option<String>,
    /// Whether it was broken at the last look, too, but for another reason.
    pub is_broken_anew: bool,
    /// What has changed since the start, and the remedy; `None` if nobody can tell.
    pub changed: Option<Option<String>>,
}

impl AppliedSettings {
    pub fn new(config_path: &Path, trust: Trust) -> Self {
        let path = config_path.join("twitcher.toml");
        let applied = table(config_path, trust).unwrap_or_default();
        Self { config_path: config_path.to_owned(), path, trust, applied, broken: None }
    }

    pub fn look(&mut self) -> FoundSettings {
        let broken = settings::read(&self.config_path, self.trust).err().map(|error| {
            format!("{error}; correct it: the daemon runs on as it was started, but cannot start again")
        });
        let changed = match broken {
            Some(_) => None,
            None => table(&self.config_path, self.trust).map(|found| self.changed(&found)),
        };
        let before = std::mem::replace(&mut self.broken, broken.clone());
        let is_broken_anew = broken.is_some() && before.is_some() && broken != before;
        FoundSettings { broken, is_broken_anew, changed }
    }

    fn changed(&self, found: &Table) -> Option<String> {
        let keys = self.applied.keys().chain(found.keys().filter(|key| !self.applied.contains_key(*key)));
        let changed: Vec<&str> =
            keys.filter(|key| self.applied.get(*key) != found.get(*key)).map(String::as_str).collect();
        (!changed.is_empty()).then(|| {
            format!(
                "{} has changed since the start ({}); restart the daemon to apply it",
                self.path.display(),
                changed.join(", ")
            )
        })
    }
}

/// Returns the keys and values of the file, none if it is missing, and `None` if it cannot be read.
fn table(config_path: &Path, trust: Trust) -> Option<Table> {
    match settings::text(config_path, trust) {
        Ok(Some(bytes)) => toml::from_str(&decode(bytes).ok()?).ok(),
        Ok(None) => Some(Table::new()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_broken_file_and_changed_keys_are_told_apart_from_comments() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("twitcher.toml");
        fs::write(&path, "max_actions = 3\n[control]\nmode = \"0660\"\n").unwrap();
        let mut applied = AppliedSettings::new(directory.path(), Trust::of_this_process(true));
        let mut look = |text: &str| {
            fs::write(&path, text).unwrap();
            applied.look()
        };
        let found = look("# A comment.\nmax_actions = 3\ncontrol = { mode = \"0660\" }\n");
        assert_eq!((found.broken, found.changed), (None, Some(None)));
        let found = look("max_actions = 4\nstop_timeout = 1\n");
        let why = found.changed.unwrap().unwrap();
        assert!(
            why.contains("twitcher.toml has changed") && why.contains("(control, max_actions, stop_timeout)")
        );
        let found = look("max_actions = 4\nmax_action = 5\n");
        let why = found.broken.unwrap();
        assert!(why.contains("twitcher.toml:2:1") && why.contains("correct it"), "{why}");
        assert!(found.changed.is_none() && !found.is_broken_anew);
        assert!(look("rescan_interval = 0\n").is_broken_anew);
        let found = look("max_actions = 3\n[control]\nmode = \"0660\"\n");
        assert_eq!((found.broken, found.changed, found.is_broken_anew), (None, Some(None), false));
        fs::remove_file(&path).unwrap();
        assert!(applied.look().changed.unwrap().unwrap().contains("(control, max_actions)"));
    }
}
