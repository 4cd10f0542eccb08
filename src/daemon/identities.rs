//! Who the users of actions are at the moment.
//!
//! A user can be made anew with another number, and the old number can become another user's. So who an
//! action runs as is looked up again: before a start if the local files have changed, and every minute for
//! the sake of directory services. A lookup can take as long as such a service likes, so each has a thread
//! of its own, and the start waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::runs::PendingStart;
use super::waiting_starts::WaitingStarts;
use crate::config::accounts::{AccountsStamp, Lookup, look_up};
use crate::model::{Identity, RunAs};
use crate::report::Reporter;
use crate::watch::RunId;

/// The time between two lookups of all users. Configs are scanned as often.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// How long a start waits for a lookup. After that it is tried again later.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Identities {
    log: Reporter,
    /// The last answers.
    known: HashMap<Arc<RunAs>, Known>,
    /// The lookups that are under way.
    asked: HashSet<Arc<RunAs>>,
    /// Whether the lookup of all is under way.
    refreshing: bool,
    next_refresh: Instant,
    /// The starts that wait for a lookup.
    waiting: WaitingStarts,
    answer_sender: UnboundedSender<Answer>,
    answers: UnboundedReceiver<Answer>,
}

struct Known {
    identity: Result<Arc<Identity>, String>,
    lookup: Lookup,
}

/// What a lookup found.
pub enum Answer {
    Found(Arc<RunAs>, Box<Lookup>),
    AllFound,
}

/// Who an action may be started as.
pub enum Verdict {
    Known(Arc<Identity>),
    /// There is no such user, or it cannot be looked up.
    Unknown(String),
    /// A lookup is under way. [`Identities::next`] returns its answer.
    Asked,
}

impl Identities {
    pub fn new(log: Reporter) -> Self {
        let (answer_sender, answers) = unbounded_channel();
        Self {
            log,
            known: HashMap::new(),
            asked: HashSet::new(),
            refreshing: false,
            next_refresh: Instant::now() + REFRESH_INTERVAL,
            waiting: WaitingStarts::default(),
            answer_sender,
            answers,
        }
    }

    /// Says who actions with `run_as` may be started as now, `stamp` being the state of the local files.
    pub fn verdict(&mut self, run_as: &Arc<RunAs>, stamp: AccountsStamp) -> Verdict {
        match self.known.get(run_as) {
            Some(known) if known.lookup.stamp == stamp => match &known.identity {
                Ok(identity) => Verdict::Known(identity.clone()),
                Err(why) => Verdict::Unknown(why.clone()),
            },
            Some(_) | None => match self.ask(run_as) {
                Ok(()) => Verdict::Asked,
                Err(why) => Verdict::Unknown(why),
            },
        }
    }

    fn ask(&mut self, run_as: &Arc<RunAs>) -> Result<(), String> {
        if self.asked.contains(run_as) {
            return Ok(());
        }
        let known = self.known.get(run_as).map(|known| known.lookup.clone());
        let (answers, key) = (self.answer_sender.clone(), run_as.clone());
        thread(move || {
            let lookup = look_up(&key, known.as_ref());
            // The daemon may have stopped by now.
            let _ = answers.send(Answer::Found(key, lookup.into()));
        })?;
        self.asked.insert(run_as.clone());
        Ok(())
    }

    /// Looks up all users of watches, unless that is under way.
    pub fn refresh(&mut self, in_use: HashSet<Arc<RunAs>>) {
        self.next_refresh = Instant::now() + REFRESH_INTERVAL;
        let unused = self.known.extract_if(|run_as, _| !in_use.contains(run_as));
        unused.for_each(|(run_as, _)| self.log.recovered(&run_as.to_string()));
        if self.refreshing {
            // A directory service does not answer for one of them. That must not keep those waiting that are
            // said to be unknown. There is one thread for each at most.
            let unknown: Vec<_> = in_use.into_iter().filter(|run_as| self.is_unknown(run_as)).collect();
            unknown.iter().for_each(|run_as| drop(self.ask(run_as)));
            return;
        }
        let known = |run_as: Arc<RunAs>| {
            let last = self.known.get(&run_as).map(|known| known.lookup.clone());
            (run_as, last)
        };
        let all: Vec<_> = in_use.into_iter().map(known).collect();
        let answers = self.answer_sender.clone();
        let started = thread(move || {
            for (run_as, last) in all {
                let lookup = look_up(&run_as, last.as_ref());
                let _ = answers.send(Answer::Found(run_as, lookup.into()));
            }
            let _ = answers.send(Answer::AllFound);
        });
        // Without a thread the next refresh does it.
        self.refreshing = started.is_ok();
    }

    /// Whether there is no such user.
    pub fn is_unknown(&self, run_as: &Arc<RunAs>) -> bool {
        self.known.get(run_as).is_some_and(|known| known.identity.is_err())
    }

    pub fn is_refresh_due(&self) -> bool {
        Instant::now() >= self.next_refresh
    }

    /// The next answer; none if [`Self::refresh`] or [`Self::take_overdue`] is due before. Can be dropped at
    /// any time.
    pub async fn next(&mut self) -> Option<Answer> {
        let due = self.waiting.due().map_or(self.next_refresh, |due| due.min(self.next_refresh));
        tokio::select! {
            answer = self.answers.recv() => answer,
            () = sleep_until(due) => None,
        }
    }

    /// Takes an answer. Returns what it is about.
    pub fn take(&mut self, answer: Answer) -> Option<Arc<RunAs>> {
        let Answer::Found(run_as, lookup) = answer else {
            self.refreshing = false;
            return None;
        };
        self.asked.remove(&run_as);
        let identity = match &lookup.found {
            Ok(found) => Ok(self
                .known(&run_as)
                .filter(|before| ***before == *found)
                .cloned()
                .unwrap_or_else(|| found.clone().into())),
            Err(why) => Err(why.clone()),
        };
        match &identity {
            Ok(_) => self.log.recovered(&run_as.to_string()),
            Err(why) => self.log.degraded(
                run_as.to_string(),
                format!("{why}; its actions wait, and run as soon as it exists"),
            ),
        }
        self.known.insert(run_as.clone(), Known { identity, lookup: *lookup });
        self.waiting.answer(&run_as);
        Some(run_as)
    }

    /// The answer of the last lookup; none if there was no such user.
    pub fn known(&self, run_as: &Arc<RunAs>) -> Option<&Arc<Identity>> {
        self.known.get(run_as).and_then(|known| known.identity.as_ref().ok())
    }

    // Starts that wait.

    pub fn wait(&mut self, start: PendingStart, run_as: Arc<RunAs>) {
        self.waiting.add(start, run_as, Instant::now() + LOOKUP_TIMEOUT);
    }

    /// How many starts wait, with those that [`Self::next_answered`] returns.
    pub fn waiting(&self) -> usize {
        self.waiting.count()
    }

    pub fn has_answered(&self) -> bool {
        self.waiting.has_answered()
    }

    /// The oldest start whose lookup was answered.
    pub fn next_answered(&mut self) -> Option<PendingStart> {
        self.waiting.next_answered()
    }

    /// Takes back a start that waits.
    pub fn cancel(&mut self, run: RunId) -> Option<PendingStart> {
        self.waiting.remove(run)
    }

    /// The starts that have waited too long.
    pub fn take_overdue(&mut self) -> Vec<PendingStart> {
        let now = Instant::now();
        std::iter::from_fn(|| self.waiting.next_overdue(now)).collect()
    }
}

/// Starts a thread for a lookup.
fn thread(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = std::thread::Builder::new().name("accounts".into()).spawn(work);
    started.map(drop).map_err(|error| format!("its user cannot be looked up: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fixtures::{block_on, reporter};
    use crate::model::Account;

    // The thread that looks up all users hangs, because a directory service does not answer for one of them.
    #[test]
    fn while_the_lookup_of_all_hangs_unknown_users_are_looked_up_and_unused_ones_forgotten() {
        block_on(async {
            let mut identities = Identities::new(reporter());
            let root = Arc::new(RunAs { uid: Some(Account::Id(0)), gid: None });
            let stamp = AccountsStamp::now();
            let unknown = Lookup { stamp, found: Err("unknown user".to_owned()) };
            identities.take(Answer::Found(root.clone(), unknown.into()));
            assert!(identities.is_unknown(&root));
            identities.refreshing = true;
            identities.refresh(HashSet::from([root.clone()]));
            let answer = identities.next().await.expect("an answer");
            assert_eq!(identities.take(answer), Some(root.clone()));
            assert!(matches!(identities.verdict(&root, stamp), Verdict::Known(_)));
            identities.refresh(HashSet::new());
            assert!(identities.known.is_empty());
        });
    }
}
