//! Properties: what must hold of trees and members whatever a store tells of its nodes, and in whichever
//! order.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::trees::Trees;
use crate::model::{Facet, NodeContent, NodeFacet, NodePath, NodeSubject, State, Subject, Version};
use crate::store::backend::{Capabilities, NodeCommand, Observation};
use crate::store::message::{StoreCommand, StoreEvent};

mod wholes;

use wholes::{WHOLES, contents, is_part, list, truth, whole};

/// Of these the trees are made. A parent comes before its children.
const PATHS: [&str; 9] =
    ["/t", "/t/a", "/t/a-b", "/t/b", "/t/a/a", "/t/a/b", "/t/b/a", "/t/a/a/a", "/t/a/a/b"];

/// What may be watched besides.
const PLAIN: [(&str, NodeFacet); 3] =
    [("/t", NodeFacet::Data), ("/t/a", NodeFacet::Children), ("/t/a/a", NodeFacet::Data)];

/// What the world does next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    /// Creates the node with its parents, or changes it.
    Set(usize),
    /// Removes the node and all below it, leaves first.
    Remove(usize),
    /// The store gets to answer a request; the daemon's side gets to hear an answer.
    Answer(usize),
    Hear,
    Sleep(u64),
    /// A new session: all that was under way is lost, and all is read anew, beginning anywhere.
    Reconnect(usize),
    /// Takes the right to read the node, or gives it back.
    Lock(usize, bool),
    Watch(usize, bool),
    WatchPlainly(usize, bool),
    Refresh(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => (0..PATHS.len()).prop_map(Move::Set),
        3 => (0..PATHS.len()).prop_map(Move::Remove),
        16 => (0..50usize).prop_map(Move::Answer),
        16 => Just(Move::Hear),
        8 => (0..5u64).prop_map(Move::Sleep),
        1 => Just(Move::Sleep(1500)),
        1 => (0..50usize).prop_map(Move::Reconnect),
        1 => (0..PATHS.len(), any::<bool>()).prop_map(|(path, lock)| Move::Lock(path, lock)),
        2 => (0..WHOLES.len(), any::<bool>()).prop_map(|(whole, watch)| Move::Watch(whole, watch)),
        1 => (0..PLAIN.len(), any::<bool>()).prop_map(|(plain, watch)| Move::WatchPlainly(plain, watch)),
        1 => (0..WHOLES.len()).prop_map(Move::Refresh),
    ];
    proptest::collection::vec(one, 0..150)
}

/// A store's node: when it was created and changed.
type Znode = (i64, i64);

/// What a tree is made of, by path. Of members only the changes count.
type Truth = BTreeMap<String, Znode>;

enum Answer {
    /// What was read is not true any more.
    Fired,
    Read(Observation),
}

struct World {
    /// Whether what the store tells comes in the order in which it happened, and changes are announced.
    ordered: bool,
    nodes: Truth,
    /// All that ever was.
    history: Vec<Truth>,
    clock: i64,
    locked: BTreeSet<String>,
    /// What the store follows, with how often it was told to, and whether it would announce a change.
    followed: HashMap<NodeSubject, (u64, bool)>,
    subscriptions: u64,
    requests: VecDeque<(NodeSubject, u64)>,
    answers: VecDeque<(NodeSubject, u64, Answer)>,
    /// What cannot be read, and was said to be so.
    refused: BTreeSet<NodeSubject>,
    /// What was announced and not read since.
    fired: BTreeSet<NodeSubject>,
    trees: Trees,
    watched: BTreeSet<usize>,
    plain: BTreeSet<usize>,
    now: Instant,
    /// The latest of each: its state, or why there is none.
    said: HashMap<Subject, Result<State, String>>,
}

fn subject(path: &str, facet: NodeFacet) -> NodeSubject {
    NodeSubject { path: NodePath::parse(path).unwrap(), facet }
}

fn is_in(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parent(path: &str) -> &str {
    &path[..path.rfind('/').unwrap()]
}

fn names(nodes: &Truth, path: &str) -> Arc<[String]> {
    nodes
        .keys()
        .filter(|other| parent(other) == path)
        .map(|other| other[path.len() + 1..].to_owned())
        .collect()
}

impl World {
    fn new(ordered: bool) -> Self {
        let mut world = Self {
            ordered,
            nodes: Truth::new(),
            history: vec![Truth::new()],
            clock: 0,
            locked: BTreeSet::new(),
            followed: HashMap::new(),
            subscriptions: 0,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            refused: BTreeSet::new(),
            fired: BTreeSet::new(),
            trees: Trees::new(Capabilities { durable_versions: ordered, ..Capabilities::default() }),
            watched: BTreeSet::new(),
            plain: BTreeSet::new(),
            now: Instant::now(),
            said: HashMap::new(),
        };
        world.step(Move::Watch(0, true));
        world.step(Move::Watch(3, true));
        world
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Set(path) => self.set(PATHS[path]),
            Move::Remove(path) => self.remove(PATHS[path]),
            Move::Answer(nth) => self.answer(nth),
            Move::Hear => self.hear(),
            Move::Sleep(millis) => {
                self.now += Duration::from_millis(millis);
                self.poll();
            }
            Move::Reconnect(first) => self.reconnect(first),
            Move::Lock(path, true) => {
                self.locked.insert(PATHS[path].to_owned());
            }
            Move::Lock(path, false) => self.unlock(PATHS[path]),
            Move::Watch(number, watch) => self.watch(number, watch),
            Move::WatchPlainly(plain, watch) => self.watch_plainly(plain, watch),
            Move::Refresh(number) => self.take(StoreCommand::Refresh(whole(number))),
        }
    }

    // The nodes.

    fn set(&mut self, path: &str) {
        for path in PATHS.into_iter().filter(|above| is_in(path, above)) {
            if !self.nodes.contains_key(path) {
                self.write(path, |now| Some((now, now)));
            }
        }
        let (created, _) = self.nodes[path];
        self.write(path, |now| Some((created, now)));
    }

    fn remove(&mut self, path: &str) {
        let below: Vec<String> = self.nodes.keys().filter(|other| is_in(other, path)).cloned().collect();
        for path in below.iter().rev() {
            self.write(path, |_| None);
        }
    }

    /// Changes one node, and reports it to those who follow the node.
    fn write(&mut self, path: &str, becomes: impl FnOnce(i64) -> Option<Znode>) {
        self.clock += 1;
        let before = match becomes(self.clock) {
            Some(node) => self.nodes.insert(path.to_owned(), node).is_some(),
            None => self.nodes.remove(path).is_some(),
        };
        self.history.push(self.nodes.clone());
        let mut touched = vec![subject(path, NodeFacet::Data)];
        if before != self.nodes.contains_key(path) {
            touched.push(subject(path, NodeFacet::Children));
            if path != "/t" {
                touched.push(subject(parent(path), NodeFacet::Children));
            }
        }
        for subject in touched {
            let Some((subscription, armed)) = self.followed.get_mut(&subject) else { continue };
            if std::mem::take(armed) {
                let subscription = *subscription;
                match self.ordered {
                    true => self.answers.push_back((subject, subscription, Answer::Fired)),
                    false => self.requests.push_back((subject, subscription)),
                }
            }
        }
    }

    // The store.

    fn obey(&mut self, commands: Vec<NodeCommand>) {
        for command in commands {
            match command {
                NodeCommand::Follow(subject) => {
                    self.subscriptions += 1;
                    let known = self.followed.insert(subject.clone(), (self.subscriptions, false));
                    assert!(known.is_none(), "{subject:?} is subscribed twice");
                    self.requests.push_back((subject, self.subscriptions));
                }
                NodeCommand::Leave(subject) => {
                    let known = self.followed.remove(&subject);
                    assert!(known.is_some(), "{subject:?} is unsubscribed twice");
                    self.refused.remove(&subject);
                    self.fired.remove(&subject);
                }
                NodeCommand::Refresh(subject) => {
                    let (subscription, _) = self.followed[&subject];
                    self.requests.push_back((subject, subscription));
                }
            }
        }
    }

    fn answer(&mut self, nth: usize) {
        if self.requests.is_empty() {
            return;
        }
        let nth = if self.ordered { 0 } else { nth % self.requests.len() };
        let (subject, subscription) = self.requests.remove(nth).unwrap();
        let Some((current, armed)) = self.followed.get_mut(&subject) else { return };
        if *current != subscription {
            return;
        }
        *armed = true;
        let observation = self.read(&subject);
        self.answers.push_back((subject, subscription, Answer::Read(observation)));
        if !self.ordered {
            self.hear();
        }
    }

    fn read(&self, subject: &NodeSubject) -> Observation {
        let path = subject.path.as_str();
        let Some((incarnation, changed)) = self.nodes.get(path).copied() else { return Observation::Absent };
        if self.locked.contains(path) {
            return Observation::Unreadable("locked".to_owned());
        }
        let (revision, content) = match subject.facet {
            NodeFacet::Data => (changed, NodeContent::Data(changed.to_string().into_bytes().into())),
            NodeFacet::Children => (0, NodeContent::Children(names(&self.nodes, path))),
        };
        Observation::Present {
            version: Version { incarnation, revision, number: revision },
            origin: Default::default(),
            content,
        }
    }

    fn hear(&mut self) {
        let Some((subject, subscription, answer)) = self.answers.pop_front() else { return };
        if self.followed.get(&subject).is_none_or(|(current, _)| *current != subscription) {
            return;
        }
        let observation = match answer {
            Answer::Fired => {
                self.fired.insert(subject.clone());
                self.trees.outdated(&subject);
                return self.requests.push_back((subject, subscription));
            }
            Answer::Read(observation) => observation,
        };
        self.fired.remove(&subject);
        match &observation {
            // Said once in a row.
            Observation::Unreadable(_) if !self.refused.insert(subject.clone()) => return,
            Observation::Unreadable(_) => {}
            Observation::Absent | Observation::Present { .. } => {
                self.refused.remove(&subject);
            }
        }
        self.route(subject, observation);
    }

    fn unlock(&mut self, path: &str) {
        self.locked.remove(path);
        // It was tried again and again meanwhile.
        for subject in self.refused.iter().filter(|subject| subject.path.as_str() == path) {
            let (subscription, _) = self.followed[subject];
            self.requests.push_back((subject.clone(), subscription));
        }
    }

    fn reconnect(&mut self, first: usize) {
        self.answers.clear();
        self.requests.clear();
        self.refused.clear();
        self.fired.clear();
        let mut all: Vec<NodeSubject> = self.followed.keys().cloned().collect();
        all.sort();
        if !all.is_empty() {
            let first = first % all.len();
            all.rotate_left(first);
        }
        self.trees.connected();
        for subject in all {
            self.subscriptions += 1;
            self.followed.insert(subject.clone(), (self.subscriptions, false));
            self.requests.push_back((subject, self.subscriptions));
        }
    }

    // The daemon.

    fn watch(&mut self, number: usize, watch: bool) {
        let whole = whole(number);
        match watch {
            true if self.watched.insert(number) => self.take(StoreCommand::Follow(whole)),
            false if self.watched.remove(&number) => {
                self.said.remove(&whole);
                self.take(StoreCommand::Leave(whole));
            }
            true | false => {}
        }
    }

    fn watch_plainly(&mut self, plain: usize, watch: bool) {
        let (path, facet) = PLAIN[plain];
        let subject = subject(path, facet).into();
        match watch {
            true if self.plain.insert(plain) => self.take(StoreCommand::Follow(subject)),
            false if self.plain.remove(&plain) => self.take(StoreCommand::Leave(subject)),
            true | false => {}
        }
    }

    fn take(&mut self, command: StoreCommand) {
        let mut commands = Vec::new();
        self.trees.take(command, self.now, &mut commands);
        self.obey(commands);
    }

    fn route(&mut self, subject: NodeSubject, observation: Observation) {
        let mut commands = Vec::new();
        let passed = self.trees.route(subject, observation, self.now, &mut commands);
        if let Some(StoreEvent::Observed { subject, .. }) = passed {
            assert!(self.follows_plainly(&subject), "{subject:?} is only a part");
        }
        self.obey(commands);
    }

    fn follows_plainly(&self, subject: &Subject) -> bool {
        self.plain.iter().any(|plain| {
            let (path, facet) = PLAIN[*plain];
            (path, Facet::from(facet)) == (subject.path.as_str(), subject.facet)
        })
    }

    fn poll(&mut self) {
        loop {
            let mut commands = Vec::new();
            let event = self.trees.poll(self.now, &mut commands);
            self.obey(commands);
            match event {
                Some(StoreEvent::Observed { subject, state }) => {
                    self.check(&subject, &state);
                    self.said.insert(subject, Ok(state));
                }
                Some(StoreEvent::Unreadable { subject, reason }) => {
                    let before = self.said.insert(subject, Err(reason.clone()));
                    assert_ne!(before, Some(Err(reason)), "it was said");
                }
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }

    /// What may be given at any time.
    fn check(&self, whole: &Subject, state: &State) {
        let root = whole.path.as_str();
        let given = contents(state, root);
        let mut unread = self.refused.iter().filter(|subject| is_part(subject, whole));
        let unread = unread.find(|subject| given.contains_key(subject.path.as_str()));
        assert_eq!(unread, None, "it cannot be read");
        for path in given.keys().filter(|path| *path != root) {
            assert!(given.contains_key(parent(path)), "{path} without its parent");
        }
        if self.ordered && !self.fired.iter().any(|subject| is_part(subject, whole)) {
            let was = self.history.iter().any(|then| truth(then, whole) == given);
            assert!(was, "{given:?} never was");
        }
        assert!(whole.facet == Facet::Tree || !self.fired.contains(&list(whole)), "half of a change");
    }

    /// What must hold when nothing has happened for long enough.
    fn rest(&mut self) {
        while !self.requests.is_empty()
            || !self.answers.is_empty()
            || !self.refused.is_empty()
            || self.trees.due().is_some()
        {
            PATHS.into_iter().for_each(|path| self.unlock(path));
            while !self.requests.is_empty() {
                self.answer(0);
            }
            while !self.answers.is_empty() {
                self.hear();
            }
            self.step(Move::Sleep(1500));
        }
        let watched: Vec<Subject> = self.watched.iter().map(|number| whole(*number)).collect();
        for whole in &watched {
            let said = self.said.get(whole);
            let Some(Ok(state)) = said else { panic!("of {whole:?} was said {said:?}") };
            assert_eq!(contents(state, whole.path.as_str()), truth(&self.nodes, whole), "of {whole:?}");
        }
        let of_trees = watched.iter().flat_map(|whole| {
            let paths = truth(&self.nodes, whole).into_keys().chain([whole.path.to_string()]);
            let parts = |path: String| [NodeFacet::Data, NodeFacet::Children].map(|it| subject(&path, it));
            paths.flat_map(parts).filter(|part| is_part(part, whole))
        });
        let plain = self.plain.iter().map(|plain| subject(PLAIN[*plain].0, PLAIN[*plain].1));
        let wanted: BTreeSet<NodeSubject> = of_trees.chain(plain).collect();
        assert_eq!(self.followed.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    }
}

proptest! {
    // "At rest, the last state given is the true one", and each one was true at some moment.
    #[test]
    fn trees_of_a_store_that_tells_in_order_were_true_at_a_moment_and_are_at_rest(moves in moves()) {
        let mut world = World::new(true);
        moves.into_iter().for_each(|step| world.step(step));
        world.rest();
    }

    // A store that reports in any order: only the state at rest must be true.
    #[test]
    fn trees_of_a_store_that_tells_in_any_order_are_true_at_rest(moves in moves()) {
        let mut world = World::new(false);
        moves.into_iter().for_each(|step| world.step(step));
        world.rest();
    }
}
