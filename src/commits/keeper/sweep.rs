//! Going over all keys, a bounded part of them at a time.

use futures_util::future::join;

use super::connection::Keeper;
use super::error::PublishError;
use super::settle::{BATCH_BYTES, Fate, Head, Settled};
use crate::commits::commit::FullCommit;
use crate::commits::journal::{Heads, Journal, Page};
use crate::commits::key::Key;
use crate::store::Seen;
use crate::value::commit::decode;

/// How many keys are looked at together. It bounds how long a save waits that comes meanwhile.
const PAGE: usize = 2000;

/// How many differences are listed. More are only counted.
const MAX_LISTED: usize = 10_000;

/// How a journal and the store compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many keys were compared: those of the journal, also removed ones, and others that the store has.
    pub checked: u64,
    /// The first ones, in the order of keys. Those that only the store has come last.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differing: u64,
    /// How many of them are gone now.
    pub repaired: u64,
    /// How many of them only the store has.
    pub strangers: u64,
    /// One of those.
    pub stranger: Option<String>,
}

/// Why a node that only the store has stays.
const STAYS: &str = "the journal knows nothing of this key, so its node stays; `twitcher rm` removes it";

/// A key for which the store had something else than the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub key: String,
    /// The version of the journal's newest commit. `None` if the journal has none.
    pub journal: Option<i64>,
    /// The version of the commit in the store. `None` if there is no node, or one that is no commit.
    pub store: Option<i64>,
    /// What the store had that no journal has published, for people.
    pub intruder: Option<String>,
    /// Why it stays different although it was to be repaired.
    pub failure: Option<String>,
    pub is_repaired: bool,
}

/// A walk over all keys that has begun.
pub struct Sweep {
    repairs: bool,
    /// The names of all nodes when it began, sorted, and which of them were met in the journal. A commit is
    /// in the journal before it is in the store, so what is not met is nobody's.
    names: Vec<String>,
    met: Vec<bool>,
    /// The heads that are compared next. They are read while those before are compared, so that the database
    /// and the store work at the same time. What is saved meanwhile is found all the same: see
    /// [`settle`](super::settle). `None` at the end.
    next: Option<Heads>,
    comparison: Comparison,
}

impl Keeper {
    /// Begins to go over all keys.
    pub async fn sweep(&self, journal: &dyn Journal, repairs: bool) -> Result<Sweep, PublishError> {
        let mut names = self.names().await?;
        names.sort_unstable();
        let met = vec![false; names.len()];
        let next = Some(journal.heads(&page(None)).await?);
        Ok(Sweep { repairs, names, met, next, comparison: Comparison::default() })
    }
}

/// The heads after this key that are looked at together.
fn page(after: Option<Key>) -> Page {
    Page { after, limit: PAGE, bytes: BATCH_BYTES, with_removed: true, with_payloads: true }
}

impl Sweep {
    /// Goes on with the next keys. Returns false at the end. An error ends the walk.
    pub async fn step(
        &mut self,
        keeper: &Keeper,
        journal: &dyn Journal,
        note: &mut dyn FnMut(&Settled),
    ) -> Result<bool, PublishError> {
        let Some(found) = self.next.take() else { return Ok(false) };
        let keys = found.commits.iter().map(|commit| &commit.header.key);
        for key in keys.chain(found.corrupt.iter().map(|corrupt| &corrupt.key)) {
            if let Ok(index) = self.names.binary_search(key) {
                self.met[index] = true;
            }
        }
        for corrupt in &found.corrupt {
            self.comparison.add(Settled::corrupt(corrupt), note);
        }
        let head = |commit: FullCommit| Key::parse(&commit.header.key).ok().map(|key| Head { key, commit });
        let heads: Vec<Head> = found.commits.into_iter().filter_map(head).collect();
        let last = heads.last().map(|head| head.key.clone()).filter(|_| found.has_more);
        let comparison = &mut self.comparison;
        let mut add = |settled| comparison.add(settled, note);
        let read_on = async {
            match last {
                Some(last) => journal.heads(&page(Some(last))).await.map(Some),
                None => Ok(None),
            }
        };
        let (settled, next) = join(keeper.settle(journal, heads, self.repairs, &mut add), read_on).await;
        settled?;
        self.next = next?;
        if self.next.is_none() {
            self.look_at_strangers(keeper).await?;
        }
        Ok(self.next.is_some())
    }

    /// Adds the nodes of which the journal knows nothing. They are never removed: perhaps the journal is the
    /// wrong one, and they are all that is left of another.
    async fn look_at_strangers(&mut self, keeper: &Keeper) -> Result<(), PublishError> {
        let unmet = self.names.iter().zip(&self.met).filter(|(_, is_met)| !**is_met);
        let strangers: Vec<&String> = unmet.map(|(name, _)| name).collect();
        self.comparison.checked += strangers.len() as u64;
        self.comparison.differing += strangers.len() as u64;
        self.comparison.strangers = strangers.len() as u64;
        self.comparison.stranger = strangers.first().map(|name| (*name).clone());
        let room = MAX_LISTED.saturating_sub(self.comparison.differences.len());
        let listed = &strangers[..room.min(strangers.len())];
        let nodes: Vec<_> = listed.iter().map(|name| keeper.path.child(name)).collect();
        let mut versions = vec![None; nodes.len()];
        keeper
            .client
            .see_all(&nodes, &mut |index, seen| {
                if let Seen::Data(data, _) = seen {
                    versions[index] = decode(data, listed[index]).ok().map(|(header, _)| header.version);
                }
            })
            .await?;
        let differences = listed.iter().zip(versions).map(|(key, store)| Difference {
            key: (*key).clone(),
            journal: None,
            store,
            intruder: Some("a node of which the journal knows nothing".to_owned()),
            failure: self.repairs.then(|| STAYS.to_owned()),
            is_repaired: false,
        });
        self.comparison.differences.extend(differences);
        Ok(())
    }

    pub fn into_comparison(self) -> Comparison {
        self.comparison
    }
}

impl Comparison {
    fn add(&mut self, settled: Settled, note: &mut dyn FnMut(&Settled)) {
        note(&settled);
        let Settled { key, journal, store, intruder, fate } = settled;
        self.checked += 1;
        let (is_repaired, failure) = match fate {
            Fate::Same => return,
            Fate::Differs => (false, None),
            Fate::Repaired => (true, None),
            Fate::Failed(why) => (false, Some(why)),
        };
        self.differing += 1;
        self.repaired += u64::from(is_repaired);
        if self.differences.len() < MAX_LISTED {
            let intruder = intruder.map(|intruder| intruder.to_string());
            self.differences.push(Difference { key, journal, store, intruder, failure, is_repaired });
        }
    }
}
