//! How long to wait before the next half, and what people are told. No IO.

use std::io;
use std::time::Duration;

use super::liveness::START_TIMEOUT;
use super::remedy::explained;
use crate::store::backoff::Backoff;

/// The pauses before a half is started again: at most what the contract promises for a store that is away.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A half that lived so long with a connection has done its work.
const GOOD_LIFE: Duration = Duration::from_secs(60);

/// After so many halves that ended for one reason without a good life, somebody must do something.
const MAX_ENDS: u32 = 5;

/// What is added then, and what helps.
const AGAIN: &str = "; this happened again and again, and is still tried";
const MORE_MEMORY: &str = "; if it needs more memory, raise `store_memory` in twitcher.toml; otherwise \
                           report this";
const MORE_TIME: &str = "; look whether its file system hangs or this host is overloaded, or raise \
                         `session_timeout`";

/// Why there is no half.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) blame: Blame,
}

impl Trouble {
    pub(super) fn cannot_start(error: &io::Error) -> Self {
        let reason = format!("the process of this store cannot be started: {}", explained(error));
        Self { reason, blame: Blame::Daemon }
    }

    /// The start hangs, and is waited for.
    pub(super) fn overdue() -> Self {
        let reason = format!(
            "the process of this store did not start within {} s, which is waited for; look whether the file \
             system of its directory or of this program hangs",
            START_TIMEOUT.as_secs()
        );
        Self { reason, blame: Blame::Daemon }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It ended, or broke the rules.
    Half,
    /// It does not answer.
    Silence,
    /// This process, or its host. The reason says what helps.
    Daemon,
}

/// What to say of a half that ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The store is away now.
    Disconnected,
    /// The store is still away, and this is another reason.
    Refused,
    /// It was said already.
    Silent,
}

/// How many reasons are reported in one outage.
const MAX_REASONS: usize = 10;

pub(super) struct Misfortune {
    backoff: Backoff,
    was_connected: bool,
    /// How many halves in a row had no good life.
    ends: u32,
    /// What was reported in this outage.
    reported: Vec<String>,
}

impl Misfortune {
    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::new(MIN_PAUSE, MAX_PAUSE),
            was_connected: false,
            ends: 0,
            reported: Vec::new(),
        }
    }

    /// The present half has a connection.
    pub(super) fn connected(&mut self) {
        self.was_connected = true;
        self.reported.clear();
    }

    /// A half has ended that lived so long.
    pub(super) fn ended(&mut self, lived: Duration) {
        if std::mem::take(&mut self.was_connected) && lived >= GOOD_LIFE {
            *self = Self::new();
        }
    }

    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next()
    }

    /// Decides what is said of a half that ended for `reason`, or could not be started, and with which words.
    /// `is_news`: the daemon does not know yet that the store is away.
    pub(super) fn next(&mut self, is_news: bool, trouble: Trouble) -> (Next, String) {
        let Trouble { mut reason, blame } = trouble;
        self.ends += 1;
        if self.ends >= MAX_ENDS {
            reason += AGAIN;
            reason += match blame {
                Blame::Half => MORE_MEMORY,
                Blame::Silence => MORE_TIME,
                Blame::Daemon => "",
            };
        }
        if is_news {
            self.reported = vec![reason.clone()];
            return (Next::Disconnected, reason);
        }
        if self.reported.contains(&reason) || self.reported.len() >= MAX_REASONS {
            return (Next::Silent, reason);
        }
        self.reported.push(reason.clone());
        (Next::Refused, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_said_once_and_after_five_ends_what_helps() {
        let trouble = |reason: &str, blame| Trouble { reason: reason.to_owned(), blame };
        let mut misfortune = Misfortune::new();
        let mut say = |is_news: bool, reason: &str| {
            let (next, words) = misfortune.next(is_news, trouble(reason, Blame::Half));
            misfortune.ended(Duration::from_secs(1));
            (next, words.contains("store_memory"))
        };
        assert_eq!(say(true, "it ended by SIGSEGV"), (Next::Disconnected, false));
        assert_eq!(say(false, "it ended by SIGSEGV"), (Next::Silent, false));
        assert_eq!(say(false, "it cannot be started"), (Next::Refused, false));
        assert_eq!(say(false, "it ended by SIGSEGV"), (Next::Silent, false));
        assert_eq!(say(false, "it ended by SIGSEGV"), (Next::Refused, true));
        assert_eq!(say(false, "it ended by SIGSEGV"), (Next::Silent, true));
        assert_eq!(say(true, "it ended by SIGSEGV"), (Next::Disconnected, true));
        assert!(misfortune.pause() <= MIN_PAUSE);
        for _ in 0..20 {
            let _ = misfortune.pause();
        }
        assert!(misfortune.pause() >= MAX_PAUSE / 2);
        misfortune.connected();
        misfortune.ended(GOOD_LIFE);
        assert!(misfortune.pause() <= MIN_PAUSE);
        let new = || trouble("new", Blame::Half);
        assert_eq!(misfortune.next(true, new()), (Next::Disconnected, "new".to_owned()));
    }

    #[test]
    fn only_the_half_is_blamed_for_what_it_did() {
        for (blame, remedy) in [
            (Blame::Half, Some("report this")),
            (Blame::Silence, Some("session_timeout")),
            (Blame::Daemon, None),
        ] {
            let mut misfortune = Misfortune::new();
            let mut next = || misfortune.next(true, Trouble { reason: "x".to_owned(), blame }).1;
            let words = (0..MAX_ENDS).map(|_| next()).last().unwrap_or_default();
            assert!(words.contains("again and again"), "{words}");
            for other in ["report this", "session_timeout"] {
                assert_eq!(words.contains(other), Some(other) == remedy, "{blame:?}: {words}");
            }
        }
    }
}
