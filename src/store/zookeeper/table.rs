//! All nodes that are followed, on one session after another, and what is to be done about each. It does no
//! IO.
//!
//! Each node is unread, being read, armed, or failing. A node is armed by the read itself: the server then
//! announces the next change, once. The announcement and the replies come in one order, so that whatever was
//! announced while a node was being read may be newer than what is read: then it is read once more.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::stamp::{Stamp, may_be_untold_for_want_of_rights};
use super::wire::EventKind;
use crate::model::{NodeContent, NodeFacet, NodePath, NodeSubject, Origin, Shrink};
use crate::store::backend::{NodeCommand, Observation};
use crate::store::backoff::{Backoff, jittered};

/// The shortest and the longest time between two comparisons of a node with what was last reported of it. A
/// living session rarely loses a watch, but there are cases: if a node changes while its watcher may not read
/// it, the server announces nothing and forgets the watch all the same (ZooKeeper 3.8.4, and Debian's 3.8.0
/// since it has the same patch).
const RESYNC: RangeInclusive<Duration> = Duration::from_secs(20)..=Duration::from_secs(300);

/// How many nodes are compared in a second, within the limits of [`RESYNC`]. This is no load for a server,
/// even where a hundred hosts do it.
const RESYNC_RATE: u32 = 10;

/// Comparisons that are due within this time of one another are made together, so that many nodes do not wake
/// the process up for each of them.
const RESYNC_STEP: Duration = Duration::from_secs(1);

/// The pauses before a node that could not be read is tried again: short at first, because most failures
/// pass, and at most what the contract promises.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);

/// How often in a row a node may be missing for one request and there for the next one.
const MAX_CROSSINGS: u8 = 8;

/// It outlives sessions, so that the nodes are listed once.
pub(super) struct Table {
    nodes: HashMap<NodeSubject, Node>,
    /// The nodes to read next. It may have some that need no reading any more.
    unread: VecDeque<NodeSubject>,
    /// The armed nodes by when they are compared, and the failing ones by when they are tried again.
    schedule: BTreeSet<(Instant, NodeSubject)>,
    /// Watches that nobody may need any more.
    abandoned: VecDeque<(NodePath, WatchKind)>,
    last_ticket: u64,
    epoch: Instant,
}

struct Node {
    state: State,
    /// The number of the latest request about it. An answer to another one does not matter any more.
    ticket: u64,
    /// Whether a change was found that no watch had announced, although it should have.
    is_missed: bool,
    failures: Option<Box<Failures>>,
}

impl Node {
    const UNREAD: Self = Self { state: State::Unread, ticket: 0, is_missed: false, failures: None };
}

#[derive(Clone, Copy)]
enum State {
    Unread,
    Reading {
        request: ReadRequest,
        crossings: u8,
        /// Whether it must be read once more.
        again: bool,
    },
    /// `stamp` is `None` where the node is absent. `due` is `None` while the node is being compared.
    Armed {
        watch: WatchKind,
        stamp: Option<Stamp>,
        due: Option<ResyncStep>,
    },
    Failing {
        due: Instant,
    },
}

/// The server's two kinds of watches. A watch on the data also announces creation and deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchKind {
    Data,
    Children,
}

/// What is asked about a node that is read. Both set a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadRequest {
    /// The facet's content.
    Content,
    /// Whether the node exists. Asked of a node that has no content, because only this watches a missing one.
    Existence,
}

/// The present series of failures to read a node.
struct Failures {
    count: u32,
    is_reported: bool,
    backoff: Backoff,
}

/// Names one request about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) subject: NodeSubject,
    number: u64,
}

/// Why a node could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    NoNode,
    /// The next try may succeed, so this is worth mentioning only when it does not.
    Transient(String),
    /// The error stays until somebody does something about it.
    Refused(String),
    /// There is no room for it now. It is read again as soon as there is.
    Crowded,
}

/// What a read has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Content(NodeContent, Stamp, Origin),
    /// The node exists.
    Existence,
}

/// What follows from the answer to a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// This is to be asked next, with the same ticket.
    Ask(ReadRequest),
    Report {
        observation: Observation,
        /// Whether no watch had announced it, although one should have.
        is_missed: bool,
    },
    /// There is nothing to report.
    Nothing,
}

impl Table {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            nodes: HashMap::new(),
            unread: VecDeque::new(),
            schedule: BTreeSet::new(),
            abandoned: VecDeque::new(),
            last_ticket: 0,
            epoch: now,
        }
    }

    /// Begins anew on another session, which knows nothing of the nodes.
    pub(super) fn restart(&mut self, now: Instant) {
        self.schedule.clear();
        self.abandoned.clear();
        self.epoch = now;
        self.nodes.values_mut().for_each(|node| *node = Node::UNREAD);
        self.unread = self.nodes.keys().cloned().collect();
    }

    /// Takes a command. Returns the subject whose last report is not true any more, if there is one.
    pub(super) fn take(&mut self, command: NodeCommand) -> Option<NodeSubject> {
        match command {
            NodeCommand::Follow(subject) => self.follow(subject),
            NodeCommand::Leave(subject) => self.leave(&subject),
            NodeCommand::Refresh(subject) => return self.refresh(&subject),
        }
        None
    }

    pub(super) fn follow(&mut self, subject: NodeSubject) {
        if self.nodes.contains_key(&subject) {
            return;
        }
        self.nodes.insert(subject.clone(), Node::UNREAD);
        self.unread.push_back(subject);
    }

    fn leave(&mut self, subject: &NodeSubject) {
        let Some(node) = self.nodes.remove(subject) else { return };
        self.nodes.shrink_if_sparse();
        unschedule(&mut self.schedule, self.epoch, subject, node.state);
        if let State::Armed { watch, .. } = node.state {
            self.abandoned.push_back((subject.path.clone(), watch));
        }
    }

    /// Returns the next watch to remove from the server.
    pub(super) fn next_abandoned(&mut self) -> Option<(NodePath, WatchKind)> {
        while let Some((path, kind)) = self.abandoned.pop_front() {
            let is_needed = [NodeFacet::Data, NodeFacet::Children].into_iter().any(|facet| {
                let node = self.nodes.get(&NodeSubject { path: path.clone(), facet });
                match node.map(|node| node.state) {
                    Some(State::Armed { watch, .. }) => watch == kind,
                    // It may be setting this watch just now.
                    Some(State::Reading { .. }) => true,
                    Some(State::Unread | State::Failing { .. }) | None => false,
                }
            });
            if !is_needed {
                return Some((path, kind));
            }
        }
        self.abandoned.shrink_if_sparse();
        None
    }

    /// Has a followed node reported once more, also if it is known to be unreadable.
    fn refresh(&mut self, subject: &NodeSubject) -> Option<NodeSubject> {
        let node = self.nodes.get_mut(subject)?;
        if let Some(failures) = &mut node.failures {
            failures.is_reported = false;
        }
        self.read_again(subject)
    }

    /// Takes in an event. Returns the subjects whose last report is not true any more.
    pub(super) fn announced(&mut self, path: &NodePath, kind: EventKind) -> [Option<NodeSubject>; 2] {
        [NodeFacet::Data, NodeFacet::Children].map(|facet| {
            let subject = NodeSubject { path: path.clone(), facet };
            let node = self.nodes.get(&subject)?;
            let watch = match node.state {
                State::Armed { watch, .. } => watch,
                State::Reading { request: ReadRequest::Existence, .. } => WatchKind::Data,
                State::Reading { request: ReadRequest::Content, .. } => WatchKind::of(facet),
                // It will be read anyway.
                State::Unread | State::Failing { .. } => return None,
            };
            if watch.announces(kind) { self.read_again(&subject) } else { None }
        })
    }

    /// Has a node read as soon as possible. Returns it, if it was armed.
    fn read_again(&mut self, subject: &NodeSubject) -> Option<NodeSubject> {
        let node = self.nodes.get_mut(subject)?;
        match &mut node.state {
            State::Unread => None,
            State::Reading { again, .. } => {
                *again = true;
                None
            }
            State::Armed { .. } | State::Failing { .. } => {
                let was_armed = matches!(node.state, State::Armed { .. });
                unschedule(&mut self.schedule, self.epoch, subject, node.state);
                (node.state, node.ticket) = (State::Unread, 0);
                self.unread.push_back(subject.clone());
                was_armed.then(|| subject.clone())
            }
        }
    }

    /// Whether [`Self::next_read`] may have something.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Returns the next node to read: its content is to be asked for.
    pub(super) fn next_read(&mut self) -> Option<Ticket> {
        while let Some(subject) = self.unread.pop_front() {
            if let Some(node) = self.nodes.get_mut(&subject)
                && let State::Unread = node.state
            {
                node.state = State::Reading { request: ReadRequest::Content, crossings: 0, again: false };
                self.last_ticket += 1;
                node.ticket = self.last_ticket;
                return Some(Ticket { subject, number: node.ticket });
            }
        }
        self.unread.shrink_to(0);
        None
    }

    /// When [`Self::next_comparison`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.schedule.first().map(|(due, _)| *due)
    }

    /// Makes nodes that are due to be tried again unread, and returns the next one that is due to be
    /// compared: whether it exists is to be asked, with a watch if it has one on its data. A missing node
    /// that came and went is missing as before, so that only a new watch makes up for a lost one.
    pub(super) fn next_comparison(&mut self, now: Instant) -> Option<(Ticket, WatchKind)> {
        while self.due().is_some_and(|due| due <= now) {
            let (_, subject) = self.schedule.pop_first()?;
            let Some(node) = self.nodes.get_mut(&subject) else { continue };
            match &mut node.state {
                State::Armed { due, watch, .. } => {
                    *due = None;
                    self.last_ticket += 1;
                    node.ticket = self.last_ticket;
                    return Some((Ticket { subject, number: node.ticket }, *watch));
                }
                State::Failing { .. } => {
                    node.state = State::Unread;
                    self.unread.push_back(subject);
                }
                State::Unread | State::Reading { .. } => {}
            }
        }
        None
    }

    /// Takes the answer to a read.
    pub(super) fn read(
        &mut self,
        ticket: &Ticket,
        answer: Result<Found, ReadError>,
        now: Instant,
    ) -> Conclusion {
        let resync = self.resync();
        let subject = &ticket.subject;
        let Some(node) = self.nodes.get_mut(subject).filter(|node| node.ticket == ticket.number) else {
            // It is followed no more, and its watch was set all the same.
            let kinds = [WatchKind::Data, WatchKind::of(subject.facet)];
            self.abandoned.extend(kinds.map(|kind| (subject.path.clone(), kind)));
            return Conclusion::Nothing;
        };
        let State::Reading { request, crossings, again } = node.state else { return Conclusion::Nothing };
        let (observation, stamp, watch) = match (request, answer) {
            (_, Ok(Found::Content(content, stamp, origin))) => {
                let observation = Observation::Present { version: stamp.version(), origin, content };
                (observation, Some(stamp), WatchKind::of(subject.facet))
            }
            (ReadRequest::Existence, Err(ReadError::NoNode)) => (Observation::Absent, None, WatchKind::Data),
            (ReadRequest::Content, Err(ReadError::NoNode)) => {
                node.state = State::Reading { request: ReadRequest::Existence, crossings, again };
                return Conclusion::Ask(ReadRequest::Existence);
            }
            // It was created in between.
            (_, Ok(Found::Existence)) if crossings < MAX_CROSSINGS => {
                let crossings = crossings + 1;
                node.state = State::Reading { request: ReadRequest::Content, crossings, again };
                return Conclusion::Ask(ReadRequest::Content);
            }
            (_, Ok(Found::Existence)) => {
                let error = ReadError::Transient("it comes and goes all the time".to_owned());
                return self.failed(subject, error, now);
            }
            (_, Err(ReadError::Crowded)) => {
                (node.state, node.ticket) = (State::Unread, 0);
                self.unread.push_back(subject.clone());
                return Conclusion::Nothing;
            }
            (_, Err(error)) => return self.failed(subject, error, now),
        };
        node.failures = None;
        let is_missed = std::mem::take(&mut node.is_missed);
        let due = ResyncStep::at(now + jittered(resync), self.epoch);
        node.state = State::Armed { watch, stamp, due: Some(due) };
        self.schedule.insert((due.instant(self.epoch), subject.clone()));
        if again {
            self.read_again(subject);
        }
        Conclusion::Report { observation, is_missed }
    }

    fn failed(&mut self, subject: &NodeSubject, error: ReadError, now: Instant) -> Conclusion {
        let Some(node) = self.nodes.get_mut(subject) else { return Conclusion::Nothing };
        // What the server does not tell for want of rights is no missed change.
        node.is_missed = false;
        let failures = node.failures.get_or_insert_with(|| {
            let backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
            Box::new(Failures { count: 0, is_reported: false, backoff })
        });
        failures.count += 1;
        let reason = match error {
            ReadError::NoNode | ReadError::Crowded => None,
            ReadError::Transient(reason) => Some(reason).filter(|_| failures.count > 1),
            ReadError::Refused(reason) => Some(reason),
        };
        let reason = reason.filter(|_| !failures.is_reported);
        failures.is_reported |= reason.is_some();
        let asked_again = matches!(node.state, State::Reading { again: true, .. });
        let due = if asked_again { now } else { now + failures.backoff.next() };
        node.state = State::Failing { due };
        self.schedule.insert((due, subject.clone()));
        match reason {
            Some(reason) => {
                Conclusion::Report { observation: Observation::Unreadable(reason), is_missed: false }
            }
            None => Conclusion::Nothing,
        }
    }

    /// Takes the answer to a comparison: the stamp of the node now, `None` if it is absent. Returns the
    /// subject if its last report is not true any more.
    pub(super) fn compared(
        &mut self,
        ticket: &Ticket,
        answer: Result<Option<Stamp>, ReadError>,
        now: Instant,
    ) -> Option<NodeSubject> {
        let resync = self.resync();
        let subject = &ticket.subject;
        let node = self.nodes.get_mut(subject).filter(|node| node.ticket == ticket.number)?;
        let State::Armed { stamp: before, due, .. } = &mut node.state else { return None };
        match answer {
            Ok(stamp) if stamp != *before => {
                // The server announces a change before it answers, so a watch that works has fired by now,
                // and then the node would have another ticket.
                node.is_missed = !may_be_untold_for_want_of_rights(*before, stamp);
                self.read_again(subject)
            }
            // A server that refuses this may have forgotten the watch.
            Err(ReadError::Refused(_)) => self.read_again(subject),
            // The watch is still set, and the next comparison is not far.
            Ok(_) | Err(ReadError::NoNode | ReadError::Transient(_) | ReadError::Crowded) => {
                let next = ResyncStep::at(now + jittered(resync), self.epoch);
                *due = Some(next);
                self.schedule.insert((next.instant(self.epoch), subject.clone()));
                None
            }
        }
    }

    fn resync(&self) -> Duration {
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let all = Duration::from_secs(1) * nodes / RESYNC_RATE;
        all.clamp(*RESYNC.start(), *RESYNC.end())
    }
}

fn unschedule(
    schedule: &mut BTreeSet<(Instant, NodeSubject)>,
    epoch: Instant,
    subject: &NodeSubject,
    state: State,
) {
    let due = match state {
        State::Armed { due, .. } => due.map(|due| due.instant(epoch)),
        State::Failing { due } => Some(due),
        State::Unread | State::Reading { .. } => None,
    };
    if let Some(due) = due {
        schedule.remove(&(due, subject.clone()));
    }
}

/// When a node is compared, as the number of [`RESYNC_STEP`]s since the session began. Each node has one.
#[derive(Clone, Copy)]
struct ResyncStep(NonZero<u32>);

impl ResyncStep {
    /// Returns the first step that is not before `due`.
    fn at(due: Instant, epoch: Instant) -> Self {
        let steps = due.saturating_duration_since(epoch).as_secs();
        Self(NonZero::<u32>::MIN.saturating_add(steps.try_into().unwrap_or(u32::MAX)))
    }

    fn instant(self, epoch: Instant) -> Instant {
        epoch + RESYNC_STEP * self.0.get()
    }
}

impl WatchKind {
    /// Returns the kind of watch that reading this facet sets.
    fn of(facet: NodeFacet) -> Self {
        match facet {
            NodeFacet::Data => Self::Data,
            NodeFacet::Children => Self::Children,
        }
    }

    fn announces(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Created | EventKind::DataChanged => self == Self::Data,
            EventKind::Deleted => true,
            EventKind::ChildrenChanged => self == Self::Children,
        }
    }
}
