//! Properties: whatever a server replies, and however long it takes, each followed node is soon up to date
//! once the server is honest, or the session has ended.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::{Output, Session};
use crate::model::{NodeFacet, NodePath, NodeSubject};
use crate::store::backend::{NodeCommand, Observation};
use crate::store::zookeeper::protocol::{Ended, Protocol};
use crate::store::zookeeper::table::Table;
use crate::store::zookeeper::window::Window;
use crate::store::zookeeper::wire::Frames;

mod server;

use server::Server;

const PATHS: [&str; 4] = ["/a", "/b", "/b/c", "/b/d"];
const TIMEOUT: Duration = Duration::from_secs(10);

/// Twice the longest time between two comparisons of a node, and the longest pause between two tries.
const LONGEST_RESYNC: Duration = Duration::from_secs(2 * 300 + 30);

/// How long an answer may take: a whole timeout, and a clock that ticks once a second is late.
const ANSWER: Duration = Duration::from_secs(10 + 1);

/// How long a session takes at most to notice that it hears nothing, or to read again what has changed: it
/// asks at least three times within a timeout, and two answers follow.
const LONGEST_DOUBT: Duration = Duration::from_secs(10 / 3 + 1 + 2 * ANSWER.as_secs());

/// What the world does next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    Set(usize),
    Remove(usize),
    Follow(usize),
    Leave(usize),
    Refresh(usize),
    /// The server replies to the oldest request.
    Serve,
    Lie(Lie),
    /// Some of what the server sent arrives.
    Deliver(usize),
    Sleep(u64),
    Cut,
    /// Forbids to read the node, or allows it.
    Lock(usize, bool),
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    Silence,
    /// The node changes after it is read, and the event overtakes the reply.
    Overtaken,
    WrongXid,
    Twice,
    Garbage(u8),
    Unasked,
    Event(usize, u8),
    Code(i8),
    Old,
    /// The next event is not sent.
    LostEvent,
}

fn moves(with_hidden_lies: bool) -> impl Strategy<Value = Vec<Move>> {
    let subjects = 2 * PATHS.len();
    let open = prop_oneof![
        Just(Lie::Silence),
        Just(Lie::Overtaken),
        Just(Lie::WrongXid),
        Just(Lie::Twice),
        any::<u8>().prop_map(Lie::Garbage),
        Just(Lie::Unasked),
        (0..PATHS.len(), 1..5u8).prop_map(|(path, kind)| Lie::Event(path, kind)),
    ];
    let hidden = prop_oneof![
        prop_oneof![Just(-101_i8), Just(-102), Just(-4), Just(-9), Just(-127)].prop_map(Lie::Code),
        Just(Lie::Old),
        Just(Lie::LostEvent),
    ];
    let lie = prop_oneof![1 => open, 3 => hidden];
    let one = prop_oneof![
        8 => (0..PATHS.len()).prop_map(Move::Set),
        3 => (0..PATHS.len()).prop_map(Move::Remove),
        2 => (0..subjects).prop_map(Move::Follow),
        1 => (0..subjects).prop_map(Move::Leave),
        1 => (0..subjects).prop_map(Move::Refresh),
        24 => Just(Move::Serve),
        2 => lie.prop_map(Move::Lie),
        24 => (0..200usize).prop_map(Move::Deliver),
        6 => (0..3000u64).prop_map(Move::Sleep),
        1 => Just(Move::Cut),
        3 => (0..PATHS.len(), any::<bool>()).prop_map(|(path, lock)| Move::Lock(path, lock)),
    ];
    proptest::collection::vec(one, 0..200).prop_map(move |mut moves| {
        moves.retain(|step| with_hidden_lies || !step.is_hidden());
        moves
    })
}

impl Move {
    /// Whether no client can see that something is wrong, or wait for it to be right again.
    fn is_hidden(&self) -> bool {
        matches!(self, Self::Lie(Lie::Code(_) | Lie::Old | Lie::LostEvent) | Self::Lock(..))
    }
}

/// A client of the server, with what it has reported.
struct World {
    now: Instant,
    server: Server,
    session: Session<()>,
    followed: HashSet<NodeSubject>,
    reported: HashMap<NodeSubject, Option<(i64, i64)>>,
    sessions: usize,
    /// Since when there is this session, and since when each node is followed.
    since: Instant,
    followed_since: HashMap<NodeSubject, Instant>,
    /// What was true of all nodes, and from when on.
    history: Vec<(Instant, HashMap<NodeSubject, Truth>)>,
}

/// The transactions that a report on a node has as its version; `None` if there is no such node.
type Truth = Option<(i64, i64)>;

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            server: Server::default(),
            session: session(Table::new(now), now),
            followed: HashSet::new(),
            reported: HashMap::new(),
            sessions: 0,
            since: now,
            followed_since: HashMap::new(),
            history: Vec::new(),
        };
        (0..2 * PATHS.len()).for_each(|number| world.command(NodeCommand::Follow(subject(number))));
        world
    }

    fn command(&mut self, command: NodeCommand) {
        match &command {
            NodeCommand::Follow(subject) => {
                if self.followed.insert(subject.clone()) {
                    self.followed_since.insert(subject.clone(), self.now);
                }
            }
            NodeCommand::Leave(subject) => {
                self.followed.remove(subject);
                self.reported.remove(subject);
            }
            NodeCommand::Refresh(_) => {}
        }
        self.session.take_command(command);
    }

    /// A new connection and a new session.
    fn reconnect(&mut self) {
        let before = std::mem::replace(&mut self.session, session(Table::new(self.now), self.now));
        self.session = session(before.into_table(), self.now);
        (self.server.watches, self.server.loses_event) = (HashSet::new(), false);
        (self.server.input, self.server.output) = (Vec::new(), VecDeque::new());
        (self.sessions, self.since) = (self.sessions + 1, self.now);
    }

    fn deliver(&mut self, bytes: usize) {
        let some: Vec<u8> = self.server.output.drain(..bytes.min(self.server.output.len())).collect();
        if !some.is_empty() {
            self.session.protocol.receive(&some, self.now);
        }
        let delivered = self.take_arrived();
        self.settle(delivered);
    }

    fn take_arrived(&mut self) -> Result<(), Ended> {
        while let Some(incoming) = self.session.protocol.next(self.now)? {
            for output in self.session.take(incoming, self.now)? {
                let Output::Report { subject, observation, .. } = output else { continue };
                if !self.followed.contains(&subject) {
                    continue;
                }
                match observation {
                    Observation::Absent => drop(self.reported.insert(subject, None)),
                    Observation::Present { version, .. } => {
                        self.reported.insert(subject, Some((version.incarnation, version.revision)));
                    }
                    Observation::Unreadable(_) => {}
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        if self.session.due(self.now).is_some_and(|due| due <= self.now) {
            let ticked = self.session.tick(self.now);
            self.settle(ticked);
        } else {
            self.settle(Ok(()));
        }
    }

    /// Sends what is to be sent, or reconnects.
    fn settle(&mut self, result: Result<(), Ended>) {
        if result.is_err() {
            self.reconnect();
        }
        while self.session.wants_slot() {
            self.session.read((), self.now);
        }
        self.session.remove_watches(self.now);
        let sent = self.session.protocol.output().len();
        self.server.input.extend(self.session.protocol.output());
        self.session.protocol.sent(sent);
    }

    fn perform(&mut self, step: Move) {
        match step {
            Move::Set(path) => self.server.set(PATHS[path]),
            Move::Remove(path) => self.server.remove(PATHS[path]),
            Move::Follow(number) => self.command(NodeCommand::Follow(subject(number))),
            Move::Leave(number) => self.command(NodeCommand::Leave(subject(number))),
            Move::Refresh(number) => self.command(NodeCommand::Refresh(subject(number))),
            Move::Serve => drop(self.server.serve(None)),
            Move::Lie(Lie::Unasked) => self.server.reply(4711, 0, &[]),
            Move::Lie(Lie::Event(path, kind)) => self.server.event(PATHS[path], kind),
            Move::Lie(Lie::LostEvent) => self.server.loses_event = true,
            Move::Lie(lie) => drop(self.server.serve(Some(lie))),
            Move::Deliver(bytes) => self.deliver(bytes),
            Move::Sleep(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Move::Cut => self.reconnect(),
            Move::Lock(path, lock) => {
                if let Some(node) = self.server.nodes.get_mut(PATHS[path]) {
                    (node.is_locked, node.acl_changes) = (lock, node.acl_changes + 1);
                }
            }
        }
        self.tick();
    }

    /// Has the server be honest and quick for this long.
    fn be_honest(&mut self, length: Duration) {
        self.server.loses_event = false;
        self.server.nodes.values_mut().for_each(|node| node.is_locked = false);
        let end = self.now + length;
        loop {
            self.tick();
            while self.server.serve(None) || !self.server.output.is_empty() {
                self.deliver(usize::MAX);
                self.tick();
            }
            match self.session.due(self.now) {
                Some(due) if due <= end => self.now = due.max(self.now),
                _ => return,
            }
        }
    }

    fn truth(&self, subject: &NodeSubject) -> Truth {
        self.server.nodes.get(subject.path.as_str()).map(|node| match subject.facet {
            NodeFacet::Data => (node.created, node.changed),
            NodeFacet::Children => (node.created, node.children_changed),
        })
    }

    fn check(&self) {
        for subject in &self.followed {
            assert_eq!(self.reported.get(subject), Some(&self.truth(subject)), "{subject:?}");
        }
    }

    /// Notes what is true now. While this session lasts, which is what "connected" means, what was reported
    /// of a node must have been true not long ago.
    fn check_that_nothing_is_deaf(&mut self) {
        let truths = (0..2 * PATHS.len()).map(subject).map(|subject| (subject.clone(), self.truth(&subject)));
        self.history.push((self.now, truths.collect()));
        let Some(start) = self.now.checked_sub(LONGEST_DOUBT).filter(|start| self.since <= *start) else {
            return;
        };
        let first = self.history.partition_point(|(from, _)| *from <= start).saturating_sub(1);
        for subject in self.followed.iter().filter(|subject| self.followed_since[*subject] <= start) {
            let reported = self.reported.get(subject);
            // What is read and what is watched differ where the node comes or goes in between, so that one
            // more answer is needed, and perhaps the next one differs again.
            let exists = |(_, truths): &(Instant, HashMap<NodeSubject, Truth>)| truths[subject].is_some();
            let comes_and_goes =
                self.history[first..].windows(2).any(|pair| exists(&pair[0]) != exists(&pair[1]));
            if comes_and_goes && reported.is_none() {
                continue;
            }
            let was_true = self.history[first..].iter().any(|(_, truths)| truths.get(subject) == reported);
            assert!(was_true, "{subject:?} is {:?} and said to be {reported:?}", self.truth(subject));
        }
    }
}

fn session(table: Table, now: Instant) -> Session<()> {
    let protocol = Protocol::new(Frames::default(), Some(TIMEOUT), now);
    let root = NodePath::parse("/").unwrap();
    Session::new(protocol, TIMEOUT, Window::new(), root, table, now)
}

fn subject(number: usize) -> NodeSubject {
    let facet = if number < PATHS.len() { NodeFacet::Data } else { NodeFacet::Children };
    NodeSubject { path: NodePath::parse(PATHS[number % PATHS.len()]).unwrap(), facet }
}

proptest! {
    // Cuts, delays, silence, and lies that show: one session timeout is enough.
    #[test]
    fn nodes_are_up_to_date_one_timeout_after_the_server_is_honest(moves in moves(false)) {
        let mut world = World::new();
        for step in moves {
            world.perform(step);
        }
        world.be_honest(TIMEOUT);
        world.check();
    }

    // "Each node is either up to date, or the store says that it is not connected": whatever is going on, and
    // however slowly.
    #[test]
    fn a_session_that_lasts_is_not_deaf(moves in moves(false)) {
        let mut world = World::new();
        for step in moves {
            match step {
                Move::Sleep(milliseconds) => {
                    for _ in 0..12 {
                        world.perform(Move::Sleep(milliseconds / 3));
                        world.check_that_nothing_is_deaf();
                    }
                }
                step => {
                    world.perform(step);
                    world.check_that_nothing_is_deaf();
                }
            }
        }
    }

    // Lies that do not show: the node is wrong until it is compared with what was reported of it.
    #[test]
    fn nodes_are_up_to_date_after_the_next_honest_comparison(moves in moves(true)) {
        let mut world = World::new();
        for step in moves {
            world.perform(step);
        }
        world.be_honest(LONGEST_RESYNC);
        world.check();
        // A server that is honest loses nothing, and no session.
        let sessions = world.sessions;
        for path in PATHS {
            world.server.set(path);
            world.be_honest(Duration::ZERO);
            world.check();
        }
        prop_assert_eq!(world.sessions, sessions);
    }
}

/// The comparison cannot see that anything happened, and the server has forgotten the watch.
#[test]
fn a_missing_node_that_came_and_went_unannounced_is_watched_again() {
    let mut world = World::new();
    world.be_honest(TIMEOUT);
    for step in [Move::Lie(Lie::LostEvent), Move::Set(0), Move::Remove(0)] {
        world.perform(step);
    }
    world.be_honest(LONGEST_RESYNC);
    world.server.set(PATHS[0]);
    world.be_honest(Duration::ZERO);
    world.check();
}
