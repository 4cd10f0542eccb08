//! Decides what is read and written so that members are there. It does no IO and reads no clock.
//!
//! A node is read before anything is decided about it, and each write says what it expects to find: if
//! somebody else was faster, or if nobody knows whether a write was done, the node is read again. So nothing
//! depends on a reply that is lost. What was left by one of our former owners, a *ghost*, is replaced in one
//! step, so that no reader misses the member. What another owner holds is watched and left alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{KeeperEvent, KeeperOrder, Member};
use crate::model::{MemberAcl, NodePath};

/// The first and the longest pause before a write that was refused is tried again.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often others may be faster in a row before there is a pause.
const MAX_TRIES: u32 = 10;

/// How often every member is looked at without a reason. Nothing should ever be found. A login of etcd of 300
/// s is kept alive by it.
const AUDIT_INTERVAL: Duration = Duration::from_secs(120);

/// How many former owners are remembered. One that is older than a few session timeouts has left nothing.
const MAX_FORMER: usize = 256;

/// The most data of a member. ZooKeeper closes the connection on a request of more than 1 MiB.
pub const MAX_DATA: usize = 1_000_000;

/// What tells two states of a node apart: the version on ZooKeeper, the revision of its last change on etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Stamp(pub(in crate::store) i64);

/// A node as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Found {
    /// `None` if the node stays when its creator goes.
    pub(in crate::store) owner: Option<String>,
    /// Whether the owner is known to be gone, so that the node is nobody's.
    pub(in crate::store) is_left: bool,
    pub(in crate::store) stamp: Stamp,
    /// `None` if it cannot be read.
    pub(in crate::store) data: Option<Vec<u8>>,
}

/// What is to be performed. The result goes to [`Presence::read`] and [`Presence::wrote`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Effect {
    /// Reads a node, and watches it: [`Presence::changed`] must follow its next change. If `is_fresh`, what
    /// others have done so far must be seen.
    Read {
        path: NodePath,
        is_fresh: bool,
    },
    Write {
        path: NodePath,
        write: Write,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Write {
    /// Creates the nodes above it, which stay.
    Parents,
    /// Creates a node that does not exist.
    Create(Arc<Member>),
    /// Replaces a node that is like this by one of ours, in one step.
    Replace(Stamp, Arc<Member>),
    /// Replaces the data of our node that is like this.
    Set(Stamp, Arc<Member>),
    /// Removes a node that is like this.
    Delete(Stamp),
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Wrote {
    Done,
    /// The node is not as it was expected to be.
    Thwarted,
    /// There is nothing above it.
    NoParent,
    /// Our own node cannot be written to.
    Fixed,
    /// The store refuses it, for this reason.
    Refused(String),
}

struct Owner {
    name: String,
    is_recorded: bool,
}

struct Place {
    /// `None` if the member is to go.
    wanted: Option<Arc<Member>>,
    stage: Stage,
    /// What was told last.
    told: Option<Told>,
    /// The ACL with which the present owner has created the node, if we know.
    acl: Option<MemberAcl>,
    /// How often others were faster, and how often the store refused, since it was last at rest.
    tries: u32,
    refusals: u32,
}

#[derive(Debug)]
enum Stage {
    /// Nobody knows what is there.
    Unread,
    /// If `again`, it has changed since the read began.
    Reading {
        again: bool,
    },
    Writing(Write),
    /// It is there as wanted.
    Held(Stamp),
    /// Another owner holds it.
    Taken,
    /// It is tried again at this time, or not before it is announced anew.
    Waiting(Option<Instant>),
}

#[derive(PartialEq, Eq)]
enum Told {
    Announced,
    Conflict(Option<String>),
    Waiting(String),
}

/// All members of one keeper.
#[derive(Default)]
pub(in crate::store) struct Presence {
    owner: Option<Owner>,
    is_connected: bool,
    /// Whether the owner has just been opened, so that it has left nothing.
    is_new: bool,
    former: VecDeque<String>,
    places: BTreeMap<NodePath, Place>,
    effects: VecDeque<Effect>,
    events: VecDeque<KeeperEvent>,
    audit_at: Option<Instant>,
}

impl Presence {
    pub(in crate::store) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(in crate::store) fn next_event(&mut self) -> Option<KeeperEvent> {
        self.events.pop_front()
    }

    pub(in crate::store) fn take(&mut self, order: KeeperOrder, now: Instant) {
        match order {
            KeeperOrder::Announce(member) => self.announce(member, now),
            KeeperOrder::Withdraw(path) => self.withdraw(path, now),
            KeeperOrder::Recorded { owner, former } => self.recorded(&owner, former, now),
        }
    }

    fn announce(&mut self, member: Member, now: Instant) {
        let (path, member) = (member.path.clone(), Arc::new(member));
        let is_ready = self.is_ready();
        let Some(place) = self.places.get_mut(&path) else {
            self.places.insert(path.clone(), Place::new(Some(Arc::clone(&member))));
            if is_ready {
                // Most names are free, and a read would take another round trip.
                self.write(path, Write::Create(member), now);
            }
            return;
        };
        let before = place.wanted.replace(Arc::clone(&member));
        match place.stage {
            Stage::Held(stamp) => {
                let before = before.as_ref();
                if before.is_some_and(|before| before.acl != member.acl) {
                    self.write(path, Write::Replace(stamp, member), now);
                } else if before.is_some_and(|before| before.data != member.data) {
                    self.write(path, Write::Set(stamp, member), now);
                } else {
                    self.events.push_back(KeeperEvent::Announced { path });
                }
            }
            Stage::Waiting(_) if is_ready => {
                (place.tries, place.refusals) = (0, 0);
                self.look(path, false);
            }
            // What is under way, or next, ends in a decision.
            Stage::Unread | Stage::Reading { .. } | Stage::Writing(_) | Stage::Waiting(_) => {
                place.told = None;
            }
            Stage::Taken => {}
        }
    }

    fn withdraw(&mut self, path: NodePath, now: Instant) {
        let is_ready = self.is_ready();
        let place = self.places.entry(path.clone()).or_insert_with(|| Place::new(None));
        place.wanted = None;
        match place.stage {
            Stage::Held(stamp) => self.write(path, Write::Delete(stamp), now),
            Stage::Taken => self.gone(path),
            Stage::Unread | Stage::Waiting(_) if is_ready => self.look(path, false),
            Stage::Unread | Stage::Waiting(_) | Stage::Reading { .. } | Stage::Writing(_) => {}
        }
    }

    fn recorded(&mut self, owner: &str, former: Vec<String>, now: Instant) {
        let Some(present) = self.owner.as_mut().filter(|present| present.name == *owner) else { return };
        present.is_recorded = true;
        for name in former.into_iter().filter(|name| name != owner) {
            self.remember(name);
        }
        if self.is_connected {
            self.begin(now);
        }
    }

    fn remember(&mut self, name: String) {
        self.former.retain(|known| *known != name);
        self.former.push_back(name);
        if self.former.len() > MAX_FORMER {
            self.former.pop_front();
        }
    }

    /// Takes a connection with this owner, which may be the same as before.
    pub(in crate::store) fn opened(&mut self, name: String, now: Instant) {
        self.is_connected = true;
        self.is_new = self.owner.as_ref().is_none_or(|owner| owner.name != name);
        self.audit_at = Some(now + AUDIT_INTERVAL);
        match self.owner.take() {
            Some(owner) if owner.name == name => self.owner = Some(owner),
            before => {
                // One that was never on record has created nothing.
                if let Some(before) = before.filter(|before| before.is_recorded) {
                    self.remember(before.name);
                }
                self.former.retain(|known| *known != name);
                self.places.values_mut().for_each(|place| place.acl = None);
                self.events.push_back(KeeperEvent::Opened { owner: name.clone() });
                self.owner = Some(Owner { name, is_recorded: false });
            }
        }
        if self.is_ready() {
            self.begin(now);
        }
    }

    /// The connection is lost. Nobody knows what becomes of writes that were under way, or of the owner.
    pub(in crate::store) fn lost(&mut self) {
        self.is_connected = false;
        self.audit_at = None;
        self.effects.clear();
        for place in self.places.values_mut() {
            (place.stage, place.told) = (Stage::Unread, None);
        }
    }

    fn is_ready(&self) -> bool {
        self.is_connected && self.owner.as_ref().is_some_and(|owner| owner.is_recorded)
    }

    /// Looks at all members of which nothing is known, or which others hold.
    fn begin(&mut self, now: Instant) {
        // Then most names are free, and a read would take another round trip.
        let is_new = self.is_new && self.former.is_empty();
        let begun = self.places.iter().filter_map(|(path, place)| match place.stage {
            Stage::Unread => Some((path.clone(), place.wanted.clone().filter(|_| is_new))),
            Stage::Taken => Some((path.clone(), None)),
            Stage::Reading { .. } | Stage::Writing(_) | Stage::Held(_) | Stage::Waiting(_) => None,
        });
        for (path, wanted) in begun.collect::<Vec<_>>() {
            match wanted {
                Some(member) => self.write(path, Write::Create(member), now),
                None => self.look(path, false),
            }
        }
    }

    fn look(&mut self, path: NodePath, is_fresh: bool) {
        if let Some(place) = self.places.get_mut(&path) {
            place.stage = Stage::Reading { again: false };
            self.effects.push_back(Effect::Read { path, is_fresh });
        }
    }

    fn write(&mut self, path: NodePath, write: Write, now: Instant) {
        let size = match &write {
            Write::Create(member) | Write::Replace(_, member) | Write::Set(_, member) => member.data.len(),
            Write::Parents | Write::Delete(_) => 0,
        };
        if size > MAX_DATA {
            let reason = format!("its data has {size} bytes, and a member has at most {MAX_DATA}");
            self.wait(path.clone(), reason, now);
            if let Some(place) = self.places.get_mut(&path) {
                place.stage = Stage::Waiting(None);
            }
            return;
        }
        if let Some(place) = self.places.get_mut(&path) {
            place.stage = Stage::Writing(write.clone());
            self.effects.push_back(Effect::Write { path, write });
        }
    }

    /// Tries again later.
    fn wait(&mut self, path: NodePath, reason: String, now: Instant) {
        let Some(place) = self.places.get_mut(&path) else { return };
        let pause = MIN_PAUSE.saturating_mul(1 << place.refusals.min(8)).min(MAX_PAUSE);
        place.refusals += 1;
        place.tries = 0;
        place.stage = Stage::Waiting(Some(now + pause));
        let told = Told::Waiting(reason.clone());
        if place.told.as_ref() != Some(&told) {
            place.told = Some(told);
            self.events.push_back(KeeperEvent::Waiting { path, reason });
        }
    }

    /// Takes what was read of a node, or why it cannot be read.
    pub(in crate::store) fn read(
        &mut self,
        path: &NodePath,
        found: Result<Option<Found>, String>,
        now: Instant,
    ) {
        let Some(place) = self.places.get(path) else { return };
        let Stage::Reading { again } = place.stage else { return };
        match found {
            Ok(found) => self.decide(path.clone(), found, now),
            Err(reason) => self.wait(path.clone(), reason, now),
        }
        if again {
            self.changed(path);
        }
    }

    fn decide(&mut self, path: NodePath, found: Option<Found>, now: Instant) {
        let Some(place) = self.places.get_mut(&path) else { return };
        let wanted = place.wanted.clone();
        let Some(found) = found else {
            return match wanted {
                Some(member) => self.write(path, Write::Create(member), now),
                None => self.gone(path),
            };
        };
        let is_present = self.owner.as_ref().is_some_and(|owner| Some(&owner.name) == found.owner.as_ref());
        let is_ghost = found.is_left || found.owner.as_ref().is_some_and(|owner| self.former.contains(owner));
        match wanted {
            None if is_present || is_ghost => self.write(path, Write::Delete(found.stamp), now),
            None => self.gone(path),
            // Whoever writes over a key of etcd takes it away from its lease. Nobody holds it then.
            Some(member) if is_ghost || (found.owner.is_none() && place.told == Some(Told::Announced)) => {
                self.write(path, Write::Replace(found.stamp, member), now);
            }
            Some(member) if is_present => {
                if place.acl.is_some_and(|acl| acl != member.acl) {
                    self.write(path, Write::Replace(found.stamp, member), now);
                } else if found.data.is_some_and(|data| data != member.data) {
                    self.write(path, Write::Set(found.stamp, member), now);
                } else {
                    (place.stage, place.tries, place.refusals) = (Stage::Held(found.stamp), 0, 0);
                    if place.told != Some(Told::Announced) {
                        place.told = Some(Told::Announced);
                        self.events.push_back(KeeperEvent::Announced { path });
                    }
                }
            }
            Some(_) => {
                (place.stage, place.tries, place.refusals) = (Stage::Taken, 0, 0);
                let told = Told::Conflict(found.owner.clone());
                if place.told.as_ref() != Some(&told) {
                    place.told = Some(told);
                    self.events.push_back(KeeperEvent::Conflict { path, holder: found.owner });
                }
            }
        }
    }

    /// The member is not there, as it should be.
    fn gone(&mut self, path: NodePath) {
        self.places.remove(&path);
        self.events.push_back(KeeperEvent::Withdrawn { path });
    }

    /// Takes what became of a write.
    pub(in crate::store) fn wrote(&mut self, path: &NodePath, result: Wrote, now: Instant) {
        let Some(place) = self.places.get_mut(path) else { return };
        let Stage::Writing(write) = &place.stage else { return };
        let (write, path) = (write.clone(), path.clone());
        match (result, write) {
            (Wrote::Done, Write::Create(member) | Write::Replace(_, member)) => {
                place.acl = Some(member.acl);
                self.written(path, &member);
            }
            (Wrote::Done, Write::Set(_, member)) => self.written(path, &member),
            (Wrote::Done, Write::Parents | Write::Delete(_)) => self.decide(path, None, now),
            (Wrote::NoParent, Write::Create(_)) if place.tries < MAX_TRIES => {
                place.tries += 1;
                self.write(path, Write::Parents, now);
            }
            (Wrote::Fixed, Write::Set(stamp, member)) => {
                self.write(path, Write::Replace(stamp, member), now);
            }
            (Wrote::Refused(reason), _) => self.wait(path, reason, now),
            (Wrote::Thwarted | Wrote::NoParent | Wrote::Fixed, _) => {
                place.tries += 1;
                if place.tries > MAX_TRIES {
                    self.wait(path, "others change it all the time".to_owned(), now);
                } else {
                    self.look(path, true);
                }
            }
        }
    }

    /// The member was written. It is read in order to be watched.
    fn written(&mut self, path: NodePath, member: &Arc<Member>) {
        let Some(place) = self.places.get_mut(&path) else { return };
        if place.wanted.as_ref() == Some(member) {
            place.told = Some(Told::Announced);
            self.events.push_back(KeeperEvent::Announced { path: path.clone() });
        }
        self.look(path, false);
    }

    /// A node has changed.
    pub(in crate::store) fn changed(&mut self, path: &NodePath) {
        let Some(place) = self.places.get_mut(path) else { return };
        match &mut place.stage {
            Stage::Reading { again } => *again = true,
            Stage::Held(_) | Stage::Taken | Stage::Waiting(Some(_)) => self.look(path.clone(), false),
            // It is read after the write, or when it is announced anew.
            Stage::Unread | Stage::Writing(_) | Stage::Waiting(None) => {}
        }
    }

    /// When [`Self::tick`] has something to do.
    pub(in crate::store) fn due(&self) -> Option<Instant> {
        let waiting = self.places.values().filter_map(|place| match place.stage {
            Stage::Waiting(until) => until,
            Stage::Unread | Stage::Reading { .. } | Stage::Writing(_) | Stage::Held(_) | Stage::Taken => None,
        });
        self.audit_at.into_iter().chain(waiting).min()
    }

    /// Does what is due.
    pub(in crate::store) fn tick(&mut self, now: Instant) {
        let is_audit = self.audit_at.is_some_and(|at| at <= now);
        if is_audit {
            self.audit_at = Some(now + AUDIT_INTERVAL);
        }
        let looked_at = self.places.iter().filter(|(_, place)| match place.stage {
            Stage::Waiting(Some(until)) => until <= now,
            Stage::Held(_) | Stage::Taken => is_audit,
            Stage::Unread | Stage::Reading { .. } | Stage::Writing(_) | Stage::Waiting(None) => false,
        });
        for path in looked_at.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            self.look(path, true);
        }
    }
}

impl Place {
    fn new(wanted: Option<Arc<Member>>) -> Self {
        Self { wanted, stage: Stage::Unread, told: None, acl: None, tries: 0, refusals: 0 }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
