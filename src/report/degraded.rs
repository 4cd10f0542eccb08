//! Parts of the daemon that have failed while it runs on.
//!
//! A part that fails calls [`Reporter::degraded`](super::Reporter::degraded), and
//! [`Reporter::recovered`](super::Reporter::recovered) once it works again; both may be called as often as is
//! convenient. That is all it takes: the failure is logged once, fails `twitcher status --check`, and is in
//! `twitcher status`, on the control socket and in the metrics until it is over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The name of a part that can fail, as operators see it: `metrics`, `control socket`, `log`.
pub type Part = Cow<'static, str>;

/// The part that is degraded while `twitcher.toml` says something else than at the start.
pub const SETTINGS: &str = "settings";

/// The part that is degraded while no daemon could start with `twitcher.toml`.
pub const SETTINGS_FILE: &str = "settings file";

/// A part that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    pub part: Part,
    /// What does not work, why, and the remedy.
    pub what: String,
    pub since: SystemTime,
}

/// The parts that do not work. A clone is the same collection; all threads of the daemon share one.
#[derive(Clone, Debug, Default)]
pub struct Degradations(Arc<Mutex<BTreeMap<Part, Degraded>>>);

impl Degradations {
    /// Notes that a part does not work. Returns whether it worked before. A later reason replaces an earlier
    /// one, and the time stays.
    pub fn add(&self, part: impl Into<Part>, what: impl Into<String>) -> bool {
        let (part, what) = (part.into(), what.into());
        let mut parts = self.lock();
        if let Some(degraded) = parts.get_mut(&part) {
            degraded.what = what;
            return false;
        }
        parts.insert(part.clone(), Degraded { part, what, since: SystemTime::now() });
        true
    }

    /// Notes that a part works. Returns what did not work before.
    pub fn remove(&self, part: &str) -> Option<Degraded> {
        self.lock().remove(part)
    }

    /// All parts that do not work, by name.
    pub fn all(&self) -> Vec<Degraded> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Part, Degraded>> {
        // No caller panics while it holds the lock, and the map would be whole even then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_degraded_once_until_it_has_recovered() {
        let parts = Degradations::default();
        assert!(parts.add("log", "no space") && !parts.add("log", "no directory"));
        assert!(parts.add("store eu".to_owned(), "slow"));
        let all: Vec<_> = parts.all().into_iter().map(|found| (found.part, found.what)).collect();
        assert_eq!(all, [("log".into(), "no directory".into()), ("store eu".into(), "slow".into())]);
        assert!(parts.remove("log").is_some() && parts.remove("log").is_none());
        assert!(parts.add("log", "no space"));
    }
}
