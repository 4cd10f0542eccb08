//! What a half says, made into what the daemon hears.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::budget::Budget;
use super::conduct::Violation;
use super::followed::Followed;
use super::message::{FromHalf, Id};
use super::room::Room;
use crate::model::{Blob, NodePath, Subject, Tree};
use crate::store::encoding::{ContentHeader, StateHeader};
use crate::store::message::{Exposure, HalfStarted, StoreEvent};
use crate::text::printable;

/// How many pieces of news may come at once, and how often one more: of a half itself and its connection, and
/// as many about nodes, with two more for each followed subject.
///
/// A half that is steered by somebody must not fill the log or the disk, so each message counts that has the
/// daemon write a line although nobody had to change a node for it. That is what the half says of itself and
/// of its connection, and that a node was changed unseen: while that is too much, nothing more is heard. And
/// it is that a node cannot be read, and can be read again, which is paid for at once: while that is too
/// much, the last reason of each node waits, and everything else is heard. Every subject of an honest half
/// can become unreadable and readable once at the same time. What repeats itself is no news.
///
/// States do not count. A burst of them must reach the actions undelayed, and what they can cost is bounded
/// elsewhere: whoever changes a node costs the daemon as much, run modes and `max_actions` bound the runs,
/// and other tasks have their turn however much is said.
const MAX_NEWS: usize = 64;
const NEWS_INTERVAL: Duration = Duration::from_millis(200);

/// How many reasons may wait, of 4 KiB each. While there are more, nothing is heard.
const MAX_HELD: usize = 1024;

/// How often a half can say what is to be looked at by somebody. An honest one says few of these once.
const MAX_DEGRADED: u32 = 8;

/// How many nodes of one store are reported that others can change. A half names some, and the next ones may
/// name others.
const MAX_WRITABLE_NODES: usize = 16;

/// The longest index of a tree that is decoded on the daemon's own thread: that takes a millisecond at most.
const MAX_INDEX_HERE: u64 = 64 << 10;

/// What all halves of a store have said.
pub(super) struct Hearing {
    pub(super) followed: Followed,
    /// What the contents may take that the daemon holds.
    pub(super) room: Room,
    /// What a half may still say of itself and of its connection.
    own: Budget,
    /// What it may still say about nodes.
    of_nodes: Budget,
    /// Why nodes cannot be read, as far as that could not be said yet.
    held: BTreeMap<Id, String>,
    /// The node of which the last of these was said.
    last_held: Id,
    /// How often the present half said what is to be looked at.
    degraded: u32,
    /// What was reported of who can read or change what the store has.
    exposures: Vec<Exposure>,
    /// Whether the present half has ended. What it said is read without a pause, and news is left out that it
    /// may not say.
    pub(super) has_ended: bool,
    /// A half that knew its keys could find two reasons that seem to be one.
    hasher: RandomState,
}

/// What a message comes to.
pub(super) enum Heard {
    Nothing,
    Event(StoreEvent),
    NeedsLogin,
    Remember(String),
    Moved,
}

impl Hearing {
    pub(super) fn new(followed: Followed, room: Room) -> Self {
        let now = Instant::now();
        Self {
            followed,
            room,
            own: Budget::new(NEWS_INTERVAL, now),
            of_nodes: Budget::new(NEWS_INTERVAL, now),
            held: BTreeMap::new(),
            last_held: 0,
            degraded: 0,
            exposures: Vec::new(),
            has_ended: false,
            hasher: RandomState::new(),
        }
    }

    /// Prepares to hear another half, which reports everything anew.
    pub(super) fn restart(&mut self) {
        self.followed.restart();
        self.held.clear();
        self.room.restart();
        (self.degraded, self.has_ended) = (0, false);
    }

    /// Returns how long nothing more is heard.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let own = self.own.wait(now, MAX_NEWS);
        if self.held.len() < MAX_HELD { own } else { own.max(self.pause_of_nodes(now)) }
    }

    fn pause_of_nodes(&mut self, now: Instant) -> Duration {
        self.of_nodes.wait(now, MAX_NEWS + 2 * self.followed.len())
    }

    /// Returns how long it takes until [`Self::release`] has something; `None` if nothing waits.
    pub(super) fn pause_of_held(&mut self, now: Instant) -> Option<Duration> {
        (!self.held.is_empty()).then(|| self.pause_of_nodes(now))
    }

    /// Takes one of the reasons that wait, if it may be said now. The nodes take turns.
    pub(super) fn release(&mut self, now: Instant) -> Option<StoreEvent> {
        if !self.pause_of_nodes(now).is_zero() {
            return None;
        }
        let next = self.held.range(self.last_held + 1..).next().or_else(|| self.held.first_key_value());
        self.last_held = *next?.0;
        let reason = self.held.remove(&self.last_held)?;
        self.unreadable(self.last_held, reason, now)
    }

    /// Makes the event that a node cannot be read. Returns `None` if that has to wait.
    fn unreadable(&mut self, id: Id, reason: String, now: Instant) -> Option<StoreEvent> {
        let subject = self.followed.subject(id)?.clone();
        let failure = NonZeroU64::new(self.hasher.hash_one(&reason)).unwrap_or(NonZeroU64::MIN);
        let former = self.followed.failure(id);
        if former != Some(failure) {
            if !self.pause_of_nodes(now).is_zero() {
                self.held.insert(id, reason);
                return None;
            }
            // That it can be read again is paid for as well.
            (0..1 + u32::from(former.is_none())).for_each(|_| self.of_nodes.spend(now));
            self.followed.failed(id, Some(failure));
        }
        Some(StoreEvent::Unreadable { subject, reason: printable(reason.as_bytes()) })
    }

    /// Takes a message that was judged, of the half with this number, which is this user.
    pub(super) async fn take(
        &mut self,
        message: FromHalf,
        body: Blob,
        pid: Pid,
        user: &str,
    ) -> Result<Heard, Violation> {
        let text = |text: String| printable(text.as_bytes());
        let subject = |id| self.followed.subject(id).cloned();
        let now = Instant::now();
        // The next half may never have heard of a root that was missing.
        let may_be_left_out = message != FromHalf::RootFound;
        let event = match message {
            FromHalf::More | FromHalf::Pong => return Ok(Heard::Nothing),
            FromHalf::Remember { memory } => return Ok(Heard::Remember(memory)),
            FromHalf::Moved => return Ok(Heard::Moved),
            FromHalf::NeedsLogin => return Ok(Heard::NeedsLogin),
            FromHalf::Gone { id } => {
                self.followed.gone(id);
                return Ok(Heard::Nothing);
            }
            FromHalf::Ready { confinement } => {
                let confinement = Some(format!("as {user}, {}", text(confinement)));
                StoreEvent::HalfStarted(HalfStarted { pid: pid.as_raw().cast_unsigned(), confinement })
            }
            FromHalf::Observed { id, state } => {
                // It was left meanwhile.
                let Some(subject) = subject(id) else { return Ok(Heard::Nothing) };
                self.held.remove(&id);
                let index = index_len(&state, &body);
                let (body, counted) = match self.room.take(id, body, index, self.followed.index_len(id), now)
                {
                    Ok(taken) => taken,
                    Err(reason) => {
                        return Ok(self.unreadable(id, reason, now).map_or(Heard::Nothing, Heard::Event));
                    }
                };
                self.followed.failed(id, None);
                let body = matches!(state, StateHeader::Present { .. }).then_some(body);
                let encoded = StoreEvent::Observed { subject, state };
                let before = self.followed.last_tree(id);
                return match decoded(encoded, body, before, index).await.map_err(Violation::State)? {
                    StoreEvent::Observed { subject, state } => {
                        let state = self.followed.continued(id, state, counted);
                        Ok(Heard::Event(StoreEvent::Observed { subject, state }))
                    }
                    event => Ok(Heard::Event(event)),
                };
            }
            FromHalf::Unreadable { id, reason } => {
                self.held.remove(&id);
                return Ok(self.unreadable(id, reason, now).map_or(Heard::Nothing, Heard::Event));
            }
            FromHalf::MissedChange { id } => {
                let Some(subject) = subject(id) else { return Ok(Heard::Nothing) };
                StoreEvent::MissedChange { subject }
            }
            FromHalf::Connected { what, identity } => StoreEvent::Connected { what: text(what), identity },
            FromHalf::Disconnected { reason } => StoreEvent::Disconnected { reason: text(reason) },
            FromHalf::Refused { reason } => StoreEvent::Refused { reason: text(reason) },
            FromHalf::RootMissing { reason } => StoreEvent::RootMissing { reason: text(reason) },
            FromHalf::RootFound => StoreEvent::RootFound,
            FromHalf::Degraded { reason } => {
                self.degraded += 1;
                if self.degraded > MAX_DEGRADED {
                    return Ok(Heard::Nothing);
                }
                StoreEvent::Degraded { reason: text(reason) }
            }
            FromHalf::Plaintext { server, with_credentials } => {
                StoreEvent::Exposed(Exposure::Plaintext { server: text(server), with_credentials })
            }
            FromHalf::Writable { path, facet } => {
                let path = NodePath::parse(&path).map_err(|_| Violation::Text)?;
                // It was left meanwhile, or nobody asked for it.
                if !self.followed.has_path(&path) {
                    return Ok(Heard::Nothing);
                }
                StoreEvent::Exposed(Exposure::Writable(Subject { path, facet }))
            }
            FromHalf::MoreWritable => StoreEvent::Exposed(Exposure::MoreWritable),
        };
        if let StoreEvent::Exposed(exposure) = &event
            && !self.is_new(exposure)
        {
            return Ok(Heard::Nothing);
        }
        if self.has_ended && may_be_left_out && !self.own.wait(now, MAX_NEWS).is_zero() {
            return Ok(Heard::Nothing);
        }
        self.own.spend(now);
        Ok(Heard::Event(event))
    }

    /// Notes who can read or change what the store has. Returns whether that is new: each next half finds it
    /// as well.
    fn is_new(&mut self, exposure: &Exposure) -> bool {
        let known = &mut self.exposures;
        let credentials = |known: &Exposure| match known {
            Exposure::Plaintext { with_credentials, .. } => Some(*with_credentials),
            Exposure::Writable(_) | Exposure::MoreWritable => None,
        };
        let is_known = match exposure {
            // That credentials are sent is news after a report that none are.
            Exposure::Plaintext { .. } => known.iter().filter_map(credentials).max() >= credentials(exposure),
            Exposure::Writable(_) => known.contains(exposure) || known.contains(&Exposure::MoreWritable),
            Exposure::MoreWritable => known.contains(exposure),
        };
        // What a half says of nodes must not keep a later one from saying something else.
        let is_writable = |exposure: &Exposure| matches!(exposure, Exposure::Writable(_));
        let has_room = !is_writable(exposure)
            || known.iter().filter(|known| is_writable(known)).count() < MAX_WRITABLE_NODES;
        let is_new = !is_known && has_room;
        if is_new {
            known.push(exposure.clone());
        }
        is_new
    }
}

/// Returns how long the index of a tree is.
fn index_len(state: &StateHeader, body: &Blob) -> u64 {
    match state {
        StateHeader::Present { content: ContentHeader::Tree { index, .. }, .. } => {
            body.len().saturating_sub(*index)
        }
        StateHeader::Present {
            content: ContentHeader::Data | ContentHeader::Children { .. } | ContentHeader::Members { .. },
            ..
        }
        | StateHeader::Absent => 0,
    }
}

/// Decodes a state, which can be one of ten thousand nodes with long paths. That takes long, so it is done on
/// another thread, and the daemon goes on meanwhile.
async fn decoded(
    event: StoreEvent<StateHeader>,
    body: Option<Blob>,
    before: Option<Arc<Tree>>,
    index: u64,
) -> Result<StoreEvent, String> {
    let decode = move || event.decode(body, before.as_deref()).map_err(|error| error.to_string());
    if index <= MAX_INDEX_HERE {
        return decode();
    }
    spawn_blocking(decode).await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Facet;

    const FORGED: &str = "x\nFORGED 2026-11-27 INFO done\r\u{1b}[2J\u{7}\u{202e}\0\u{85}\u{2028}";

    #[test]
    fn every_text_of_a_half_is_printable_before_anybody_gets_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut followed = Followed::new(true);
        let subject = Subject { path: NodePath::parse("/n").unwrap(), facet: Facet::Data };
        followed.take(crate::store::StoreCommand::Follow(subject));
        let mut hearing = Hearing::new(followed, Room::new(None));
        let text = || FORGED.to_owned();
        for message in [
            FromHalf::Ready { confinement: text() },
            FromHalf::Connected { what: text(), identity: "dir:/nodes".to_owned() },
            FromHalf::Disconnected { reason: text() },
            FromHalf::Refused { reason: text() },
            FromHalf::RootMissing { reason: text() },
            FromHalf::Degraded { reason: text() },
            FromHalf::Plaintext { server: text(), with_credentials: true },
            FromHalf::Unreadable { id: 0, reason: text() },
        ] {
            let name = format!("{message:?}");
            let heard = hearing.take(message, Blob::default(), Pid::from_raw(7), "nobody");
            let Ok(Heard::Event(event)) = runtime.block_on(heard) else { panic!("{name}") };
            let said = match &event {
                StoreEvent::HalfStarted(half) => half.confinement.as_deref().unwrap(),
                StoreEvent::Connected { what, .. } => what,
                StoreEvent::Exposed(Exposure::Plaintext { server, .. }) => server,
                StoreEvent::Disconnected { reason }
                | StoreEvent::Refused { reason }
                | StoreEvent::RootMissing { reason }
                | StoreEvent::Degraded { reason }
                | StoreEvent::Unreadable { reason, .. } => reason,
                other => panic!("{other:?}"),
            };
            assert!(said.ends_with(&printable(FORGED.as_bytes())), "{said:?} of {name}");
            assert!(!said.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{said:?}");
        }
    }

    // A half that somebody steered may have said it first.
    #[test]
    fn what_one_half_said_of_others_hides_nothing_worse_that_the_next_one_says() {
        let mut hearing = Hearing::new(Followed::new(true), Room::new(None));
        let plaintext = |server: &str, with_credentials| {
            let server = server.to_owned();
            Exposure::Plaintext { server, with_credentials }
        };
        let writable = |number: usize| {
            let path = NodePath::parse(&format!("/{number}")).unwrap();
            Exposure::Writable(Subject { path, facet: Facet::Data })
        };
        for number in 0..MAX_WRITABLE_NODES {
            assert!(hearing.is_new(&writable(number)) && !hearing.is_new(&writable(number)));
        }
        assert!(!hearing.is_new(&writable(MAX_WRITABLE_NODES)), "there is an end of them");
        assert!(hearing.is_new(&Exposure::MoreWritable) && !hearing.is_new(&Exposure::MoreWritable));
        assert!(hearing.is_new(&plaintext("a", false)) && !hearing.is_new(&plaintext("b", false)));
        assert!(hearing.is_new(&plaintext("b", true)) && !hearing.is_new(&plaintext("c", true)));
        assert!(!hearing.is_new(&plaintext("c", false)));
    }
}
