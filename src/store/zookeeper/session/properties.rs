//! Properties: whatever a server replies, and however long it takes, each followed node is soon up to date
//! once the server is honest, or the session has ended.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
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

const PATHS: [&str; 4] = ["/a", "/b", "/b/c", "/b/d"];
const TIMEOUT: Duration = Duration::from_secs(10);

/// Twice the longest time between two comparisons of a node, and the longest pause between two tries.
const LONGEST_RESYNC: Duration = Duration::from_secs(2 * 300 + 30);

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

#[derive(Clone, Debug, Default)]
struct Node {
    created: i64,
    changed: i64,
    children_changed: i64,
    acl_changes: i32,
    is_locked: bool,
}

/// A model of a server, and of one connection to it.
#[derive(Default)]
struct Server {
    nodes: BTreeMap<&'static str, Node>,
    last_transaction: i64,
    watches: HashSet<(String, bool)>,
    /// What the client has sent and the server has not read.
    input: Vec<u8>,
    output: VecDeque<u8>,
    loses_event: bool,
}

impl Server {
    fn set(&mut self, path: &'static str) {
        self.last_transaction += 1;
        let now = self.last_transaction;
        let parent = parent(path);
        if parent.is_some_and(|parent| !self.nodes.contains_key(parent)) {
            return;
        }
        let is_new = !self.nodes.contains_key(path);
        let node = self.nodes.entry(path).or_default();
        node.changed = now;
        if is_new {
            (node.created, node.children_changed) = (now, now);
            self.touch_parent(path);
        }
        self.fire(path, false, if is_new { 1 } else { 3 });
    }

    fn remove(&mut self, path: &'static str) {
        if PATHS.iter().any(|other| parent(other) == Some(path) && self.nodes.contains_key(other)) {
            return;
        }
        if self.nodes.remove(path).is_some() {
            self.last_transaction += 1;
            // One event, also for somebody who watches both.
            let both = [false, true].map(|kind| self.watches.contains(&(path.to_owned(), kind)));
            if both == [true, true] {
                self.watches.remove(&(path.to_owned(), true));
            }
            self.fire(path, false, 2);
            self.fire(path, true, 2);
            self.touch_parent(path);
        }
    }

    fn touch_parent(&mut self, path: &str) {
        let Some(parent) = parent(path) else { return };
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children_changed = self.last_transaction;
        }
        self.fire(parent, true, 4);
    }

    /// A server does not announce to somebody without rights, and forgets the watch.
    fn fire(&mut self, path: &str, is_on_children: bool, kind: u8) {
        let is_locked = self.nodes.get(path).is_some_and(|node| node.is_locked);
        if self.watches.remove(&(path.to_owned(), is_on_children))
            && !is_locked
            && !std::mem::take(&mut self.loses_event)
        {
            self.event(path, kind);
        }
    }

    fn event(&mut self, path: &str, kind: u8) {
        let length = [0, 0, 0, path.len() as u8];
        self.reply(-1, 0, &[&[0, 0, 0, kind, 0, 0, 0, 3], &length[..], path.as_bytes()].concat());
    }

    fn reply(&mut self, xid: i32, code: i32, body: &[u8]) {
        let header = [&xid.to_be_bytes()[..], &[0; 8], &code.to_be_bytes()].concat();
        let length = (header.len() + body.len()) as u32;
        self.output.extend(length.to_be_bytes().into_iter().chain(header).chain(body.iter().copied()));
    }

    /// Reads the next request and replies to it. Returns false if there is none.
    fn serve(&mut self, lie: Option<Lie>) -> bool {
        let Some(length) = self.input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
            return false;
        };
        let request: Vec<u8> = self.input.drain(..4 + length).skip(4).collect();
        let number = |at: usize| i32::from_be_bytes(request[at..at + 4].try_into().unwrap());
        let (xid, operation) = (number(0), number(4));
        if operation == 11 {
            self.reply(-2, 0, &[]);
            return true;
        }
        let end = 12 + number(8) as usize;
        let path = String::from_utf8(request[12..end].to_vec()).unwrap();
        if operation == 18 {
            let was_there = self.watches.remove(&(path, number(end) == 1));
            self.reply(xid, if was_there { 0 } else { -121 }, &[]);
            return true;
        }
        let is_watched = request[end] == 1;
        let node = self.nodes.get(&*path).cloned();
        let (code, body) = match (operation, &node) {
            (3, Some(node)) => (0, stat(node, 0)),
            (4 | 12, Some(Node { is_locked: true, .. })) => (-102, Vec::new()),
            (4, Some(node)) => (0, [&[0; 4][..], &stat(node, 0)].concat()),
            (12, Some(node)) => (0, [&[0; 4][..], &stat(node, 0)].concat()),
            (_, None) => (-101, Vec::new()),
            (other, _) => panic!("operation {other}"),
        };
        if is_watched && (code == 0 || (code == -101 && operation == 3)) {
            self.watches.insert((path.clone(), operation == 12));
        }
        match (lie, &node) {
            (None, _) => self.reply(xid, code, &body),
            (Some(Lie::Overtaken), _) => {
                self.set(PATHS.into_iter().find(|other| *other == path).expect("a path of ours"));
                self.reply(xid, code, &body);
            }
            (Some(Lie::WrongXid), _) => self.reply(xid + 1, code, &body),
            (Some(Lie::Twice), _) => (0..2).for_each(|_| self.reply(xid, code, &body)),
            (Some(Lie::Code(code)), _) => self.reply(xid, code.into(), &[]),
            (Some(Lie::Old), Some(node)) => {
                let old = [&body[..body.len().saturating_sub(68)], &stat(node, 1)].concat();
                self.reply(xid, code, if code == 0 { &old } else { &body });
            }
            (Some(Lie::Garbage(byte)), _) => self.output.extend([byte; 40]),
            (Some(_), _) => {}
        }
        true
    }
}

fn parent(path: &str) -> Option<&'static str> {
    PATHS.into_iter().find(|parent| path.rsplit_once('/').is_some_and(|(above, _)| above == *parent))
}

/// The stat of a node, or of how it might have been before.
fn stat(node: &Node, before: i64) -> Vec<u8> {
    let large = |number: i64| (number - before).to_be_bytes();
    let ids = [node.created.to_be_bytes(), large(node.changed)].concat();
    let acl = node.acl_changes.to_be_bytes();
    [&ids[..], &[0; 24], &acl, &[0; 16], &large(node.children_changed)].concat()
}

/// A client of the server, with what it has reported.
struct World {
    now: Instant,
    server: Server,
    session: Session<()>,
    followed: HashSet<NodeSubject>,
    reported: HashMap<NodeSubject, Option<(i64, i64)>>,
    sessions: usize,
}

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
        };
        (0..2 * PATHS.len()).for_each(|number| world.command(NodeCommand::Follow(subject(number))));
        world
    }

    fn command(&mut self, command: NodeCommand) {
        match &command {
            NodeCommand::Follow(subject) => drop(self.followed.insert(subject.clone())),
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
        self.sessions += 1;
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

    fn check(&self) {
        for subject in &self.followed {
            let truth = self.server.nodes.get(subject.path.as_str()).map(|node| match subject.facet {
                NodeFacet::Data => (node.created, node.changed),
                NodeFacet::Children => (node.created, node.children_changed),
            });
            assert_eq!(self.reported.get(subject), Some(&truth), "{subject:?}");
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
