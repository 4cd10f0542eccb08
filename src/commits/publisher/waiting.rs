//! The keys that were saved and are not published yet. It reads no clock.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::commits::key::Key;

/// How many keys are kept. If more wait, all keys are gone over instead.
const MAX_KEYS: usize = 100_000;

/// Keys that wait, each once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    keys: HashMap<Key, Entry>,
    /// Grows with each save.
    saves: u64,
    /// Since when there are keys that are not kept here, and the last save among them.
    overflow: Option<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When its oldest save came that is not published.
    since: Instant,
    /// The number of its last save.
    save: u64,
    /// Not tried before, because the last try failed.
    next: Option<Instant>,
}

/// A key with the number of its last save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) key: Key,
    save: u64,
}

impl Waiting {
    /// Adds a key that was saved.
    pub(super) fn add(&mut self, key: &Key, now: Instant) {
        self.saves += 1;
        let save = self.saves;
        if let Some(entry) = self.keys.get_mut(key) {
            (entry.save, entry.next) = (save, None);
        } else if self.keys.len() < MAX_KEYS {
            self.keys.insert(key.clone(), Entry { since: now, save, next: None });
        } else {
            let since = self.overflow.map_or(now, |(since, _)| since);
            self.overflow = Some((since, save));
        }
    }

    /// Returns keys that can be tried now. They wait until they are [settled](Self::settled).
    pub(super) fn due(&self, now: Instant, most: usize) -> Vec<Waiter> {
        let due = self.keys.iter().filter(|(_, entry)| entry.next.is_none_or(|next| next <= now));
        due.take(most).map(|(key, entry)| Waiter { key: key.clone(), save: entry.save }).collect()
    }

    /// Returns when there will be a key to be tried.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.keys.values().map(|entry| entry.next.unwrap_or(now)).min()
    }

    /// Removes a key that is published, unless it was saved once more since it was taken.
    pub(super) fn settled(&mut self, waiter: &Waiter) {
        if self.keys.get(&waiter.key).is_some_and(|entry| entry.save == waiter.save) {
            self.keys.remove(&waiter.key);
        }
    }

    /// Has a key that cannot be published wait until then, or until it is saved again.
    pub(super) fn failed(&mut self, waiter: &Waiter, next: Instant) {
        if let Some(entry) = self.keys.get_mut(&waiter.key).filter(|entry| entry.save == waiter.save) {
            entry.next = Some(next);
        }
    }

    /// Whether all keys must be gone over. Returns what [`Self::all_settled`] takes.
    pub(super) fn overflow(&self) -> Option<u64> {
        self.overflow.map(|(_, last)| last)
    }

    /// Notes that all keys were gone over, which began after this save.
    pub(super) fn all_settled(&mut self, save: u64) {
        self.overflow = self.overflow.filter(|(_, last)| *last > save);
    }

    /// When the oldest save came that is not published.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.keys.values().map(|entry| entry.since).chain(self.overflow.map(|(since, _)| since)).min()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> Key {
        Key::parse(name).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_key_waits_once_and_its_oldest_save_counts() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        assert_eq!((waiting.oldest(), waiting.next(now)), (None, None));
        waiting.add(&key("a"), now);
        waiting.add(&key("a"), now + seconds(1));
        waiting.add(&key("b"), now + seconds(2));
        assert_eq!((waiting.len(), waiting.oldest()), (2, Some(now)));
        for waiter in waiting.due(now, 9) {
            waiting.settled(&waiter);
        }
        assert_eq!((waiting.len(), waiting.oldest()), (0, None));
    }

    #[test]
    fn a_save_that_comes_while_the_key_is_published_is_published_too() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.add(&key("a"), now);
        let taken = waiting.due(now, 9);
        waiting.add(&key("a"), now + seconds(1));
        waiting.settled(&taken[0]);
        waiting.failed(&taken[0], now + seconds(9));
        assert_eq!(waiting.next(now), Some(now));
        let taken = waiting.due(now, 9);
        waiting.settled(&taken[0]);
        assert_eq!(waiting.next(now), None);
    }

    #[test]
    fn a_key_that_fails_rests_until_its_time_or_the_next_save() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.add(&key("a"), now);
        waiting.failed(&waiting.due(now, 9)[0].clone(), now + seconds(30));
        assert_eq!((waiting.due(now, 9), waiting.next(now)), (vec![], Some(now + seconds(30))));
        assert_eq!(waiting.due(now + seconds(30), 9).len(), 1);
        assert_eq!(waiting.oldest(), Some(now), "it is not published");
        waiting.add(&key("a"), now + seconds(1));
        assert_eq!(waiting.due(now + seconds(1), 9).len(), 1);
    }

    #[test]
    fn more_keys_than_are_kept_have_all_gone_over() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for number in 0..MAX_KEYS {
            waiting.add(&key(&number.to_string()), now);
        }
        assert_eq!(waiting.overflow(), None);
        waiting.add(&key("1"), now);
        assert_eq!(waiting.overflow(), None);
        waiting.add(&key("x"), now + seconds(1));
        let began = waiting.overflow().expect("one too many");
        waiting.add(&key("y"), now + seconds(2));
        waiting.all_settled(began);
        let began = waiting.overflow().expect("a save came meanwhile");
        waiting.all_settled(began);
        assert_eq!((waiting.overflow(), waiting.len()), (None, MAX_KEYS));
    }
}
