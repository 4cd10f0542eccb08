//! What clients may have the server keep in memory: the bodies that they send, and replies that they have not
//! read yet. Both have a bound for all connections together.
//!
//! Each request has a [`Share`]. Its first bytes are [free](FREE), so that small requests are answered
//! however many large ones there are; the rest is taken from a budget. What a reply takes while it is made is
//! taken from another one, which no client can keep. If a budget is used up, a request waits, for a while at
//! most, and the newest one gets it first: an old one may be of a client that is slow or gone. A client that
//! others wait for is dropped: the one for which the server has waited longest, if that was longer than
//! [`GRACE`].

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What each request may keep without asking.
pub const FREE: usize = 64 << 10;

/// What the requests of clients that may use the server keep together, beside what is free.
const BUDGET: usize = 80 << 20;

/// What those of strangers keep together, beside what is free: the forms of people whose session has ended.
/// Nobody else waits for them.
const STRANGERS_BUDGET: usize = 16 << 20;

/// What replies take together while they are made. That takes milliseconds, and no client has a part in it.
const WORK: usize = 32 << 20;

/// How often a reply is made at most that is larger each time.
const MAX_TRIES: usize = 4;

/// How long the server waits for a client while another one needs the memory.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long a request waits for memory. Within this time, slow clients are dropped twice.
const WAIT: Duration = Duration::from_secs(5);

/// There is no memory for a request now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("too many large requests and replies at once; try again in a moment")]
pub struct Busy;

/// The budgets of a server.
pub struct Memory {
    for_clients: Arc<Budget>,
    for_strangers: Arc<Budget>,
    for_work: Arc<Budget>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            for_clients: Budget::new(BUDGET),
            for_strangers: Budget::new(STRANGERS_BUDGET),
            for_work: Budget::new(WORK),
        }
    }
}

impl Memory {
    /// Returns the share of a request. `leave` ends its connection.
    pub fn share(&self, is_stranger: bool, leave: Arc<Notify>) -> Arc<Share> {
        let budget = if is_stranger { &self.for_strangers } else { &self.for_clients };
        Arc::new(Share { kept: Part::new(budget, leave), for_work: Arc::clone(&self.for_work) })
    }
}

/// What some requests keep together.
struct Budget {
    state: Mutex<State>,
    has_changed: Notify,
}

impl Budget {
    fn new(bytes: usize) -> Arc<Self> {
        let state = State { free: bytes, holders: HashMap::new(), last: 0 };
        Arc::new(Self { state: Mutex::new(state), has_changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request keeps. It is given back when this is dropped.
pub struct Share {
    kept: Part,
    for_work: Arc<Budget>,
}

impl Share {
    /// Changes how much the request keeps. Waits for more if that is needed.
    pub async fn resize(&self, bytes: usize) -> Result<(), Busy> {
        self.kept.resize(bytes.saturating_sub(FREE)).await
    }

    /// Has something made that the client gets, which takes up to `work` meanwhile, and keeps as much as it
    /// has in the end. If there is no memory for that, it is made once more when there is.
    pub async fn make<T, E, F>(
        &self,
        work: usize,
        make: impl Fn() -> F,
        size: impl Fn(&T) -> usize,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: From<Busy>,
    {
        for _ in 0..MAX_TRIES {
            let part = Part::new(&self.for_work, Arc::default());
            part.resize(work).await?;
            let made = make().await?;
            let size = size(&made);
            if self.kept.try_resize(size.saturating_sub(FREE)) {
                return Ok(made);
            }
            drop((made, part));
            self.resize(size).await?;
        }
        Err(Busy.into())
    }

    /// Notes that the server waits for the client from now on: for what it sends, or until it has read.
    pub fn waits_for_client(&self) {
        self.kept.waits(Some(Instant::now()));
    }

    /// Notes that the client has nothing to do now.
    pub fn works(&self) {
        self.kept.waits(None);
    }
}

/// A part of a budget.
struct Part {
    budget: Arc<Budget>,
    id: u64,
}

impl Part {
    fn new(budget: &Arc<Budget>, leave: Arc<Notify>) -> Self {
        let id = budget.state().add(leave);
        Self { budget: Arc::clone(budget), id }
    }

    fn waits(&self, since: Option<Instant>) {
        self.budget.state().wait(self.id, since);
    }

    /// Changes the size if that needs no waiting.
    fn try_resize(&self, bytes: usize) -> bool {
        let resized = self.budget.state().resize(self.id, bytes, Instant::now());
        match resized {
            Resized::Done { gave_back } => {
                if gave_back {
                    self.budget.has_changed.notify_waiters();
                }
                true
            }
            Resized::NotNow { .. } => false,
        }
    }

    async fn resize(&self, bytes: usize) -> Result<(), Busy> {
        let deadline = Instant::now() + WAIT;
        loop {
            let mut changed = pin!(self.budget.has_changed.notified());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            let now = Instant::now();
            let again = match self.budget.state().resize(self.id, bytes, now) {
                Resized::Done { gave_back } => {
                    if gave_back {
                        self.budget.has_changed.notify_waiters();
                    }
                    return Ok(());
                }
                Resized::NotNow { again } => again,
            };
            if deadline <= now {
                self.budget.state().give_up(self.id);
                self.budget.has_changed.notify_waiters();
                return Err(Busy);
            }
            let until = again.map_or(deadline, |again| again.min(deadline));
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.budget.state().remove(self.id);
        self.budget.has_changed.notify_waiters();
    }
}

/// Who keeps how much. It reads no clock.
struct State {
    free: usize,
    holders: HashMap<u64, Holder>,
    last: u64,
}

struct Holder {
    bytes: usize,
    /// How much more the request waits for.
    wants: usize,
    /// Since when the server waits for the client. `None` while it does not.
    waits_since: Option<Instant>,
    is_dropped: bool,
    leave: Arc<Notify>,
}

#[derive(Debug, PartialEq, Eq)]
enum Resized {
    Done {
        gave_back: bool,
    },
    /// It may be possible when something has changed, or at this time.
    NotNow {
        again: Option<Instant>,
    },
}

impl State {
    fn add(&mut self, leave: Arc<Notify>) -> u64 {
        self.last += 1;
        self.holders
            .insert(self.last, Holder { bytes: 0, wants: 0, waits_since: None, is_dropped: false, leave });
        self.last
    }

    fn remove(&mut self, id: u64) {
        self.free += self.holders.remove(&id).map_or(0, |holder| holder.bytes);
    }

    fn wait(&mut self, id: u64, since: Option<Instant>) {
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.waits_since = since;
        }
    }

    fn resize(&mut self, id: u64, bytes: usize, now: Instant) -> Resized {
        let newer = self.holders.iter().filter(|(other, _)| **other > id);
        let before_us: usize = newer.map(|(_, newer)| newer.wants).sum();
        let Some(holder) = self.holders.get_mut(&id) else { return Resized::Done { gave_back: false } };
        let more = bytes.saturating_sub(holder.bytes);
        if more == 0 || more + before_us <= self.free {
            let gave_back = bytes < holder.bytes;
            self.free = self.free + holder.bytes - bytes;
            (holder.bytes, holder.wants) = (bytes, 0);
            return Resized::Done { gave_back };
        }
        holder.wants = more;
        Resized::NotNow { again: self.make_room(id, more + before_us, now) }
    }

    fn give_up(&mut self, id: u64) {
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.wants = 0;
        }
    }

    /// Drops clients that the server has waited for, until there will be so much. Returns when another one
    /// may be dropped.
    fn make_room(&mut self, id: u64, needed: usize, now: Instant) -> Option<Instant> {
        // What is dropped gives its memory back soon.
        let dropped = self.holders.values().filter(|holder| holder.is_dropped);
        let mut coming = self.free + dropped.map(|holder| holder.bytes).sum::<usize>();
        while coming < needed {
            let others = self.holders.iter_mut().filter(|(other, _)| **other != id).map(|(_, holder)| holder);
            let slow = others.filter(|holder| !holder.is_dropped && holder.bytes > 0);
            let slow = slow.filter_map(|holder| Some((holder.waits_since? + GRACE, holder)));
            let (end, slowest) = slow.min_by_key(|(end, _)| *end)?;
            if now < end {
                return Some(end);
            }
            slowest.is_dropped = true;
            slowest.leave.notify_one();
            coming += slowest.bytes;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;
    const DONE: Resized = Resized::Done { gave_back: false };

    fn was_dropped(leave: &Notify) -> bool {
        leave.notified().now_or_never().is_some()
    }

    fn part(budget: &Arc<Budget>) -> Part {
        Part::new(budget, Arc::default())
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_those_who_wait() {
        let budget = Budget::new(4 * MIB);
        let (large, small, next) = (part(&budget), part(&budget), part(&budget));
        large.resize(4 * MIB).await.unwrap();
        let mut waits = pin!(next.resize(MIB));
        assert_eq!(waits.as_mut().now_or_never(), None);
        large.resize(3 * MIB).await.unwrap();
        assert_eq!(waits.await, Ok(()));
        let mut waits = pin!(small.resize(3 * MIB));
        assert_eq!(waits.as_mut().now_or_never(), None);
        drop(large);
        assert_eq!(waits.await, Ok(()));
        assert_eq!(budget.state().free, 0);
        for part in [&small, &next] {
            part.resize(0).await.unwrap();
        }
        assert_eq!(budget.state().free, 4 * MIB);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let budget = Budget::new(MIB);
        let (large, next) = (part(&budget), part(&budget));
        large.resize(1).await.unwrap();
        assert_eq!(next.resize(MIB).await, Err(Busy));
        assert_eq!(next.resize(MIB - 1).await, Ok(()));
    }

    #[tokio::test]
    async fn what_is_small_is_made_at_once_and_what_is_large_once_more_when_there_is_room() {
        let memory = Memory::default();
        let share = || memory.share(false, Arc::default());
        let full = share();
        full.resize(FREE + BUDGET).await.unwrap();
        let made = std::cell::Cell::new(0);
        let make = |bytes: usize| {
            let made = &made;
            move || {
                made.set(made.get() + 1);
                async move { Ok::<_, Busy>(vec![0_u8; bytes]) }
            }
        };
        let small = share();
        let done = small.make(WORK, make(FREE), Vec::len).now_or_never();
        assert_eq!(done.map(|done| done.map(|made| made.len())), Some(Ok(FREE)));
        let large = share();
        let mut waits = pin!(large.make(WORK, make(MIB), Vec::len));
        assert_eq!(waits.as_mut().now_or_never(), None);
        assert_eq!(memory.for_work.state().free, WORK, "nobody works on it");
        drop(full);
        assert_eq!(waits.await.map(|made| made.len()), Ok(MIB));
        assert_eq!(made.get(), 3);
        assert_eq!(memory.for_clients.state().free, BUDGET - (MIB - FREE));
    }

    #[test]
    fn the_newest_request_goes_first() {
        let mut state = State { free: 4 * MIB, holders: HashMap::new(), last: 0 };
        let [large, old, new] = [(); 3].map(|()| state.add(Arc::default()));
        let (now, not_now) = (Instant::now(), Resized::NotNow { again: None });
        assert_eq!(state.resize(large, 4 * MIB, now), DONE);
        for waiting in [old, new] {
            assert_eq!(state.resize(waiting, 2 * MIB, now), not_now);
        }
        assert_eq!(state.resize(large, 2 * MIB, now), Resized::Done { gave_back: true });
        assert_eq!(state.resize(old, 2 * MIB, now), not_now, "it would take what the new one waits for");
        assert_eq!(state.resize(old, 0, now), DONE);
        assert_eq!(state.resize(new, 2 * MIB, now), DONE);
        assert_eq!(state.resize(old, 2 * MIB, now), not_now);
        state.remove(new);
        assert_eq!(state.resize(old, 2 * MIB, now), DONE);
        // Nobody waits for what nobody wants any more.
        let newest = state.add(Arc::default());
        assert_eq!(state.resize(newest, MIB, now), not_now);
        state.give_up(newest);
        state.remove(large);
        assert_eq!(state.resize(old, 4 * MIB, now), DONE);
    }

    #[test]
    fn the_slowest_client_is_dropped_for_one_that_needs_its_memory_and_none_without_need() {
        let mut state = State { free: 3 * MIB, holders: HashMap::new(), last: 0 };
        let leaves: [Arc<Notify>; 6] = Default::default();
        let [working, first, second, idle, next, last] = leaves.clone().map(|leave| state.add(leave));
        let began = Instant::now();
        for (id, since) in [(working, None), (first, Some(began)), (second, Some(began + GRACE / 2))] {
            assert_eq!(state.resize(id, MIB, began), DONE);
            state.wait(id, since);
        }
        // It keeps nothing that anybody needs.
        state.wait(idle, Some(began));
        let again = Some(began + GRACE);
        assert_eq!(state.resize(next, MIB, began + GRACE / 2), Resized::NotNow { again });
        assert_eq!(state.resize(next, MIB, began + 2 * GRACE), Resized::NotNow { again: None });
        assert_eq!(state.resize(next, MIB, began + 2 * GRACE), Resized::NotNow { again: None });
        let dropped = leaves.each_ref().map(|leave| was_dropped(leave));
        assert_eq!(dropped, [false, true, false, false, false, false], "one is enough");
        state.remove(first);
        assert_eq!(state.resize(next, MIB, began + 2 * GRACE), DONE);
        // It has made progress, and has its time once more.
        state.wait(second, Some(began + 2 * GRACE));
        let again = Some(began + 3 * GRACE);
        assert_eq!(state.resize(last, MIB, began + 2 * GRACE), Resized::NotNow { again });
        assert_eq!(state.resize(last, 2 * MIB, began + 3 * GRACE), Resized::NotNow { again: None });
        assert!(was_dropped(&leaves[2]), "also if it is not enough");
        state.remove(second);
        assert_eq!(state.resize(next, 0, began), Resized::Done { gave_back: true });
        assert_eq!(state.resize(last, 2 * MIB, began), DONE);
        assert!(!was_dropped(&leaves[0]) && !was_dropped(&leaves[3]));
    }

    #[tokio::test]
    async fn strangers_take_nothing_from_others() {
        let memory = Memory::default();
        let stranger = memory.share(true, Arc::default());
        stranger.resize(FREE + STRANGERS_BUDGET).await.unwrap();
        let other = memory.share(true, Arc::default());
        assert_eq!(other.resize(FREE + 1).now_or_never(), None);
        let client = memory.share(false, Arc::default());
        assert_eq!(client.resize(FREE + BUDGET).now_or_never(), Some(Ok(())));
    }
}
