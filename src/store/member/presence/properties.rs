//! What holds whatever happens: to a model of a store whose sessions expire, and whose replies are lost or
//! late, while others write, and the keeper's process dies between any two steps.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Names of members, and the data that they can have.
const NAMES: [&str; 2] = ["/s/a", "/s/b"];
const DATA: [&str; 2] = ["x", "y"];

#[derive(Clone, Debug)]
enum Move {
    Announce(usize, usize),
    Withdraw(usize),
    /// The store does the oldest request that is under way.
    Do,
    /// The reply to the oldest request that was done arrives.
    Reply,
    /// The connection is lost: what was not done is done or not, and no reply arrives.
    Cut {
        is_done: bool,
    },
    /// A connection is made, with the owner of before if it still lives.
    Connect,
    /// The owner is put on record.
    Record,
    /// An owner without a connection expires.
    Expire,
    /// An owner of an earlier process expires.
    ExpireGhosts,
    /// The keeper dies, and another one begins, which knows the owners that are on record.
    Restart,
    Delete(usize),
    /// Somebody writes other data, and may take the node away from its owner.
    Overwrite {
        name: usize,
        is_kept: bool,
    },
    /// Another owner, or nobody, creates the node.
    Take {
        name: usize,
        is_ephemeral: bool,
    },
    /// The other owner goes.
    Leave,
    DeleteParent,
    Forbid(bool),
    Time,
}

fn moves() -> impl Strategy<Value = Move> {
    let name = 0..NAMES.len();
    prop_oneof![
        3 => (name.clone(), 0..DATA.len()).prop_map(|(name, data)| Move::Announce(name, data)),
        1 => name.clone().prop_map(Move::Withdraw),
        12 => Just(Move::Do),
        12 => Just(Move::Reply),
        1 => any::<bool>().prop_map(|is_done| Move::Cut { is_done }),
        4 => Just(Move::Connect),
        4 => Just(Move::Record),
        1 => Just(Move::Expire),
        1 => Just(Move::ExpireGhosts),
        1 => Just(Move::Restart),
        1 => name.clone().prop_map(Move::Delete),
        1 => (name.clone(), any::<bool>()).prop_map(|(name, is_kept)| Move::Overwrite { name, is_kept }),
        1 => (name, any::<bool>()).prop_map(|(name, is_ephemeral)| Move::Take { name, is_ephemeral }),
        1 => Just(Move::Leave),
        1 => Just(Move::DeleteParent),
        1 => any::<bool>().prop_map(Move::Forbid),
        2 => Just(Move::Time),
    ]
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    owner: Option<String>,
    data: Vec<u8>,
    stamp: i64,
}

/// A reply that is under way.
enum Reply {
    Read(NodePath, Option<Found>),
    Wrote(NodePath, Wrote),
    Changed(NodePath),
}

struct World {
    presence: Presence,
    now: Instant,
    /// The store.
    nodes: BTreeMap<NodePath, Node>,
    has_parent: bool,
    is_forbidden: bool,
    changes: i64,
    /// Owners that live. `other` is somebody else's.
    alive: BTreeSet<String>,
    owners: u32,
    /// The connection: the present owner, its watches, what is under way in each direction.
    connection: Option<String>,
    session: Option<String>,
    watched: BTreeSet<NodePath>,
    requests: VecDeque<Effect>,
    replies: VecDeque<Reply>,
    /// What is wanted, and what is on record: both outlive the process.
    wanted: BTreeMap<NodePath, Member>,
    withdrawing: BTreeSet<NodePath>,
    record: Vec<String>,
    opened: Option<String>,
    writes: u32,
    /// All owners of ours that ever were.
    ours: BTreeSet<String>,
}

fn path(name: usize) -> NodePath {
    NodePath::parse(NAMES[name]).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            presence: Presence::default(),
            now: Instant::now(),
            nodes: BTreeMap::new(),
            has_parent: false,
            is_forbidden: false,
            changes: 0,
            alive: BTreeSet::new(),
            owners: 0,
            connection: None,
            session: None,
            watched: BTreeSet::new(),
            requests: VecDeque::new(),
            replies: VecDeque::new(),
            wanted: BTreeMap::new(),
            withdrawing: BTreeSet::new(),
            record: Vec::new(),
            opened: None,
            writes: 0,
            ours: BTreeSet::new(),
        }
    }

    fn put(&mut self, path: &NodePath, node: Option<(Option<String>, Vec<u8>)>) {
        self.changes += 1;
        match node {
            Some((owner, data)) => {
                let node = Node { owner, data, stamp: self.changes };
                self.nodes.insert(path.clone(), node);
            }
            None => drop(self.nodes.remove(path)),
        }
        if self.connection.is_some() && self.watched.remove(path) {
            self.replies.push_back(Reply::Changed(path.clone()));
        }
    }

    /// The store does a request. Returns what became of it.
    fn perform(&mut self, effect: Effect, owner: &str) -> Reply {
        let (path, write) = match effect {
            Effect::Read { path, .. } => {
                self.watched.insert(path.clone());
                let found = self.nodes.get(&path).map(|node| Found {
                    owner: node.owner.clone(),
                    is_left: false,
                    stamp: Stamp(node.stamp),
                    data: Some(node.data.clone()),
                });
                return Reply::Read(path, found);
            }
            Effect::Write { path, write } => (path, write),
        };
        self.writes += 1;
        let before = self.nodes.get(&path).cloned();
        let is = |stamp: Stamp| before.as_ref().is_some_and(|node| node.stamp == stamp.0);
        let is_alive = self.alive.contains(owner);
        let wrote = match write {
            _ if !is_alive => Wrote::Thwarted,
            _ if self.is_forbidden => Wrote::Refused("forbidden".into()),
            Write::Parents => {
                self.has_parent = true;
                Wrote::Done
            }
            Write::Create(_) if !self.has_parent => Wrote::NoParent,
            Write::Create(member) if before.is_none() => {
                self.put(&path, Some((Some(owner.into()), member.data.clone())));
                Wrote::Done
            }
            Write::Replace(stamp, member) if is(stamp) => {
                let before = before.as_ref().and_then(|node| node.owner.as_ref());
                assert!(before.is_none_or(|before| self.ours.contains(before)), "it is another's");
                self.put(&path, Some((Some(owner.into()), member.data.clone())));
                Wrote::Done
            }
            Write::Set(stamp, member) if is(stamp) => {
                let before = before.as_ref().and_then(|node| node.owner.clone());
                assert_eq!(before.as_deref(), Some(owner), "the data of a ghost goes with it");
                self.put(&path, Some((before, member.data.clone())));
                Wrote::Done
            }
            Write::Delete(stamp) if is(stamp) => {
                let before = before.as_ref().and_then(|node| node.owner.as_ref());
                assert!(before.is_some_and(|before| self.ours.contains(before)), "it is another's");
                self.put(&path, None);
                Wrote::Done
            }
            Write::Create(_) | Write::Replace(..) | Write::Set(..) | Write::Delete(_) => Wrote::Thwarted,
        };
        Reply::Wrote(path, wrote)
    }

    fn connect(&mut self) {
        if self.connection.is_some() {
            return;
        }
        let owner = match self.session.clone().filter(|session| self.alive.contains(session)) {
            Some(session) => session,
            None => {
                self.owners += 1;
                let owner = format!("own-{}", self.owners);
                self.alive.insert(owner.clone());
                self.ours.insert(owner.clone());
                owner
            }
        };
        (self.session, self.connection) = (Some(owner.clone()), Some(owner.clone()));
        self.presence.opened(owner, self.now);
    }

    fn cut(&mut self, is_done: bool) {
        let Some(owner) = self.connection.take() else { return };
        while let Some(effect) = self.requests.pop_front()
            && is_done
        {
            self.perform(effect, &owner);
        }
        self.requests.clear();
        self.replies.clear();
        self.watched.clear();
        self.presence.lost();
    }

    fn expire(&mut self, which: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.alive.iter().filter(|owner| which(owner)).cloned().collect();
        for owner in gone {
            self.alive.remove(&owner);
            let left = self.nodes.iter().filter(|(_, node)| node.owner.as_ref() == Some(&owner));
            for path in left.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
                self.put(&path, None);
            }
        }
    }

    fn step(&mut self, step: Move) {
        match step {
            Move::Announce(name, data) => {
                let member = Member { path: path(name), data: DATA[data].into(), acl: MemberAcl::default() };
                self.withdrawing.remove(&member.path);
                self.wanted.insert(member.path.clone(), member.clone());
                self.presence.take(KeeperOrder::Announce(member), self.now);
            }
            Move::Withdraw(name) => {
                self.wanted.remove(&path(name));
                self.withdrawing.insert(path(name));
                self.presence.take(KeeperOrder::Withdraw(path(name)), self.now);
            }
            Move::Do => {
                if let (Some(owner), Some(effect)) = (self.connection.clone(), self.requests.pop_front()) {
                    let reply = self.perform(effect, &owner);
                    self.replies.push_back(reply);
                }
            }
            Move::Reply => match self.replies.pop_front() {
                Some(Reply::Read(path, found)) => self.presence.read(&path, Ok(found), self.now),
                Some(Reply::Wrote(path, wrote)) => self.presence.wrote(&path, wrote, self.now),
                Some(Reply::Changed(path)) => self.presence.changed(&path),
                None => {}
            },
            Move::Cut { is_done } => self.cut(is_done),
            Move::Connect => self.connect(),
            Move::Record => {
                if let Some(owner) = self.opened.take() {
                    let former = self.record.clone();
                    self.record.push(owner.clone());
                    self.presence.take(KeeperOrder::Recorded { owner, former }, self.now);
                }
            }
            Move::Expire => {
                if self.connection.is_none() {
                    let session = self.session.clone();
                    self.expire(|owner| Some(owner) == session.as_deref());
                }
            }
            Move::ExpireGhosts => {
                let session = self.session.clone();
                self.expire(|owner| owner != "other" && Some(owner) != session.as_deref());
            }
            Move::Restart => {
                self.cut(true);
                (self.presence, self.session, self.opened) = (Presence::default(), None, None);
                for member in self.wanted.values().cloned().collect::<Vec<_>>() {
                    self.presence.take(KeeperOrder::Announce(member), self.now);
                }
                for path in self.withdrawing.clone() {
                    self.presence.take(KeeperOrder::Withdraw(path), self.now);
                }
            }
            Move::Delete(name) => {
                if self.nodes.contains_key(&path(name)) {
                    self.put(&path(name), None);
                }
            }
            Move::Overwrite { name, is_kept } => {
                if let Some(node) = self.nodes.get(&path(name)) {
                    let owner = node.owner.clone().filter(|_| is_kept);
                    self.put(&path(name), Some((owner, b"overwritten".into())));
                }
            }
            Move::Take { name, is_ephemeral } => {
                if !self.nodes.contains_key(&path(name)) {
                    self.has_parent = true;
                    self.alive.insert("other".into());
                    let owner = is_ephemeral.then(|| "other".to_owned());
                    self.put(&path(name), Some((owner, b"theirs".into())));
                }
            }
            Move::Leave => self.expire(|owner| owner == "other"),
            Move::DeleteParent => {
                for path in self.nodes.keys().cloned().collect::<Vec<_>>() {
                    self.put(&path, None);
                }
                self.has_parent = false;
            }
            Move::Forbid(is_forbidden) => self.is_forbidden = is_forbidden,
            Move::Time => {
                if let Some(due) = self.presence.due() {
                    self.now = self.now.max(due);
                    self.presence.tick(self.now);
                }
            }
        }
        self.collect();
    }

    /// Takes what the presence wants, and what it tells.
    fn collect(&mut self) {
        while let Some(event) = self.presence.next_event() {
            if let KeeperEvent::Opened { owner } = event {
                self.opened = Some(owner);
            } else if let KeeperEvent::Withdrawn { path } = event {
                self.withdrawing.remove(&path);
            }
        }
        while let Some(effect) = self.presence.next_effect() {
            assert!(self.connection.is_some(), "nothing is asked for without a connection: {effect:?}");
            if let Effect::Write { .. } = effect {
                let owner = self.connection.clone().unwrap_or_default();
                assert!(self.record.contains(&owner), "it is not on record");
            }
            self.requests.push_back(effect);
        }
    }

    /// Lets all that is under way come to its end.
    fn rest(&mut self) {
        self.step(Move::Forbid(false));
        for _ in 0..400 {
            self.step(Move::Connect);
            self.step(Move::Record);
            self.step(Move::Do);
            self.step(Move::Reply);
            let is_idle = self.requests.is_empty() && self.replies.is_empty();
            // The audit alone is far away.
            if is_idle && self.presence.due().is_none_or(|due| due > self.now + 2 * MAX_PAUSE) {
                return;
            }
            if is_idle {
                self.step(Move::Time);
            }
        }
        panic!("it does not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn at_rest_a_member_is_there_if_and_only_if_it_is_wanted(moves in vec(moves(), 0..120)) {
        let mut world = World::new();
        for step in moves {
            world.step(step);
        }
        world.rest();
        let owner = world.connection.clone().unwrap();
        for name in 0..NAMES.len() {
            let path = path(name);
            let node = world.nodes.get(&path);
            let others = node.filter(|node| node.owner.as_ref().is_none_or(|owner| owner == "other"));
            match world.wanted.get(&path) {
                // What others hold is as they left it.
                _ if others.is_some() => {}
                Some(member) => {
                    let node = node.unwrap_or_else(|| panic!("{path} is missing"));
                    prop_assert_eq!(node.owner.as_ref(), Some(&owner));
                    prop_assert_eq!(&node.data, &member.data);
                }
                None => {
                    let is_ours = |node: &Node| node.owner.as_ref().is_some_and(|it| world.ours.contains(it));
                    prop_assert!(!node.is_some_and(is_ours), "{} is there", path);
                }
            }
        }
        prop_assert!(world.withdrawing.is_empty());
        // Nothing is written at rest, not even by an audit.
        let writes = world.writes;
        world.step(Move::Time);
        world.rest();
        prop_assert_eq!(world.writes, writes);
    }

    // What nobody else touches is never absent, whatever becomes of connections and processes, as long as no
    // owner expires before the next one has come.
    #[test]
    fn a_member_is_never_absent_while_its_owner_lives_until_the_next_one_comes(
        moves in vec(prop_oneof![
            4 => Just(Move::Do),
            4 => Just(Move::Reply),
            1 => any::<bool>().prop_map(|is_done| Move::Cut { is_done }),
            3 => Just(Move::Connect),
            3 => Just(Move::Record),
            1 => Just(Move::Restart),
            1 => (0..1_usize, 0..DATA.len()).prop_map(|(name, data)| Move::Announce(name, data)),
            1 => Just(Move::Time),
        ], 0..120),
    ) {
        let mut world = World::new();
        world.step(Move::Announce(0, 0));
        world.rest();
        prop_assert!(world.nodes.contains_key(&path(0)));
        for step in moves {
            world.step(step);
            prop_assert!(world.nodes.contains_key(&path(0)), "it is absent");
        }
        world.rest();
        // What the owners before have left goes with them, and the member stays.
        world.step(Move::ExpireGhosts);
        prop_assert!(world.nodes.contains_key(&path(0)), "it went with a ghost");
        let writes = world.writes;
        world.rest();
        prop_assert_eq!(world.writes, writes);
    }
}
