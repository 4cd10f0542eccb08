//! Properties: in whatever order a server answers, whatever it cancels, forgets, refuses or compacts, and
//! wherever it is cut off or restored to, each followed subject is soon up to date, or there is no
//! connection.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::Table;
use crate::content;
use crate::model::{Content, Facet, NodePath, State, Subject};
use crate::store::etcd::keys::{KeyRange, Keys};
use crate::store::etcd::reads::ReadFailure;
use crate::store::etcd::row::Found;
use crate::store::etcd::wire::messages::*;
use crate::store::message::{StoreCommand, StoreEvent};

mod server;

use server::{Server, Watched, is_in};

const PATHS: [&str; 6] = ["/a", "/a/b", "/a/b/c", "/a/d", "/a-b", "/e"];
const BINARY: &[u8] = b"/p/a/\xff";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than two comparisons and the longest pause between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(100);

fn subjects() -> Vec<Subject> {
    let paths = ["/", "/a", "/a/b", "/e"];
    let of_path =
        |path: &str| Facet::ALL.map(|facet| Subject { path: NodePath::parse(path).unwrap(), facet });
    paths.into_iter().flat_map(of_path).collect()
}

/// What the world does next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Move {
    Put(usize),
    Remove(usize),
    /// Removes all keys of a range, in one revision.
    RemoveAll(usize),
    PutBinary,
    Command(usize, u8),
    /// The server answers one of the reads.
    Answer(usize, Trouble),
    /// The server takes the next request on the stream of watches.
    Watch(Trouble),
    /// What the server has said on the stream arrives: so many messages.
    Hear(usize),
    /// The server sends what a watch is owed.
    Serve(usize, usize),
    Compact,
    Cancel(usize),
    Cut,
    /// The server forgets a watch, and does not say so.
    Forget(usize),
    /// The state of some time ago is restored.
    Restore(usize),
    Sleep(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    TooLong,
    Forbidden,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let trouble =
        || prop_oneof![8 => Just(Trouble::None), 1 => Just(Trouble::TooLong), 1 => Just(Trouble::Forbidden)];
    let one = prop_oneof![
        10 => (0..PATHS.len()).prop_map(Move::Put),
        5 => (0..PATHS.len()).prop_map(Move::Remove),
        1 => (0..PATHS.len()).prop_map(Move::RemoveAll),
        1 => Just(Move::PutBinary),
        3 => (0..16usize, 0..4u8).prop_map(|(subject, kind)| Move::Command(subject, kind)),
        16 => (any::<usize>(), trouble()).prop_map(|(nth, trouble)| Move::Answer(nth, trouble)),
        16 => trouble().prop_map(Move::Watch),
        16 => (1..9usize).prop_map(Move::Hear),
        16 => (any::<usize>(), 1..4usize).prop_map(|(nth, events)| Move::Serve(nth, events)),
        2 => Just(Move::Compact),
        1 => any::<usize>().prop_map(Move::Cancel),
        1 => Just(Move::Cut),
        1 => any::<usize>().prop_map(Move::Forget),
        1 => (0..10usize).prop_map(Move::Restore),
        4 => (0..3000u64).prop_map(Move::Sleep),
    ];
    proptest::collection::vec(one, 0..250)
}

/// The nodes of a state, each with its text, or with none of both.
type Shown = Option<Vec<(String, String)>>;

/// A client of the server, with what it has reported.
struct World {
    now: Instant,
    server: Server,
    table: Table,
    followed: HashSet<Subject>,
    reported: HashMap<Subject, Result<Shown, String>>,
    reads: Vec<(u64, TxnRequest)>,
    /// What the client has said on the stream, and what the server has.
    requests: VecDeque<AnyWatchRequest>,
    responses: VecDeque<WatchResponse>,
    watched: BTreeMap<i64, Watched>,
    keys: Keys,
    /// Whether the server has forgotten a watch.
    forgot: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        let keys = Keys::new(NodePath::parse("/p").unwrap());
        let mut world = Self {
            now,
            server: Server::default(),
            table: Table::new(keys.clone(), TIMEOUT, now),
            followed: HashSet::new(),
            reported: HashMap::new(),
            reads: Vec::new(),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            watched: BTreeMap::new(),
            keys,
            forgot: false,
        };
        world.server.put(b"/q".to_vec());
        world.reconnect();
        for subject in subjects() {
            world.command(StoreCommand::Follow(subject));
        }
        world
    }

    fn key(path: usize) -> Vec<u8> {
        format!("/p{}", PATHS[path]).into_bytes()
    }

    fn command(&mut self, command: StoreCommand) {
        match &command {
            StoreCommand::Follow(subject) => drop(self.followed.insert(subject.clone())),
            StoreCommand::Leave(subject) => {
                self.followed.remove(subject);
                self.reported.remove(subject);
            }
            StoreCommand::Refresh(_) => {}
        }
        self.table.take(command, self.now);
    }

    fn reconnect(&mut self) {
        self.reads.clear();
        self.requests.clear();
        self.responses.clear();
        self.watched.clear();
        self.table.restart(7, self.now);
    }

    fn perform(&mut self, step: Move) {
        match step {
            Move::Put(path) => self.server.put(Self::key(path)),
            Move::Remove(path) => self.server.remove(&[Self::key(path)]),
            Move::RemoveAll(path) => {
                let prefix = Self::key(path);
                let keys: Vec<_> =
                    self.server.now.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
                self.server.remove(&keys);
            }
            Move::PutBinary => self.server.put(BINARY.to_vec()),
            Move::Command(subject, kind) => {
                let subject = subjects()[subject].clone();
                self.command(match kind {
                    0 => StoreCommand::Leave(subject),
                    1 if self.followed.contains(&subject) => StoreCommand::Refresh(subject),
                    _ => StoreCommand::Follow(subject),
                });
            }
            Move::Answer(nth, trouble) => self.answer(nth, trouble),
            Move::Watch(trouble) => self.take_watch_request(trouble),
            Move::Hear(messages) => self.hear(messages),
            Move::Serve(nth, events) => self.serve(nth, events),
            Move::Compact => self.server.compacted = self.server.revision(),
            Move::Cancel(nth) => {
                if let Some(watch) = self.nth_watch(nth) {
                    self.watched.remove(&watch);
                    self.responses.push_back(WatchResponse {
                        watch,
                        canceled: true,
                        cancel_reason: "why".into(),
                        ..Default::default()
                    });
                }
            }
            Move::Cut => self.reconnect(),
            Move::Forget(nth) => {
                let watch = self.nth_watch(nth);
                self.forgot |= watch.is_some();
                watch.map(|watch| self.watched.remove(&watch));
            }
            Move::Restore(back) => {
                let revision = (self.server.revision() - back as i64).max(2);
                self.server.history.truncate(revision as usize - 1);
                self.server.now = self.server.history[revision as usize - 2].1.clone();
                self.server.compacted = self.server.compacted.min(revision);
                self.server.life += 1;
                self.reconnect();
            }
            Move::Sleep(milliseconds) => self.now += Duration::from_millis(milliseconds),
        }
        self.settle();
    }

    fn nth_watch(&self, nth: usize) -> Option<i64> {
        self.watched.keys().nth(nth.checked_rem(self.watched.len())?).copied()
    }

    fn answer(&mut self, nth: usize, trouble: Trouble) {
        let Some(nth) = nth.checked_rem(self.reads.len()) else { return };
        let (number, request) = self.reads.remove(nth);
        let answer = match trouble {
            Trouble::None => self.server.read(&request),
            Trouble::TooLong => Err(ReadFailure::TooLong(1 << 30)),
            Trouble::Forbidden => Err(ReadFailure::Forbidden("forbidden".into())),
        };
        if self.table.answered(number, answer, self.now).is_err() {
            self.reconnect();
        }
    }

    fn take_watch_request(&mut self, trouble: Trouble) {
        match self.requests.pop_front() {
            None => {}
            Some(AnyWatchRequest::Create(create)) => {
                let WatchCreate { key: first, range_end: end, start_revision, watch, .. } = create;
                let created = WatchResponse { watch, created: true, ..Default::default() };
                if trouble == Trouble::Forbidden {
                    let reason = "permission denied".to_owned();
                    let refused =
                        WatchResponse { watch: -1, canceled: true, cancel_reason: reason, ..created };
                    return self.responses.push_back(refused);
                }
                self.responses.push_back(created);
                self.watched.insert(watch, Watched { range: KeyRange { first, end }, next: start_revision });
            }
            Some(AnyWatchRequest::Cancel(WatchCancel { watch })) => {
                self.watched.remove(&watch);
                self.responses.push_back(WatchResponse { watch, canceled: true, ..Default::default() });
            }
        }
    }

    fn serve(&mut self, nth: usize, most: usize) {
        let Some(watch) = self.nth_watch(nth) else { return };
        let Some(Watched { range, next }) = self.watched.get_mut(&watch) else { return };
        if *next < self.server.compacted {
            let compact_revision = self.server.compacted;
            self.watched.remove(&watch);
            let canceled = WatchResponse { watch, canceled: true, compact_revision, ..Default::default() };
            return self.responses.push_back(canceled);
        }
        for _ in 0..most {
            let Some((events, _)) = self.server.history.get(*next as usize - 2) else { return };
            *next += 1;
            let events = events.iter().filter(|event| is_in(range, &event.kv.as_ref().unwrap().key));
            let events: Vec<_> = events.cloned().collect();
            let last = events.len().saturating_sub(1);
            // Each fragment has one event.
            for (place, event) in events.into_iter().enumerate() {
                let fragment = place < last;
                self.responses.push_back(WatchResponse {
                    watch,
                    fragment,
                    events: vec![event],
                    ..Default::default()
                });
            }
        }
    }

    fn hear(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(response) = self.responses.pop_front() else { return };
            if self.table.heard(response, self.now).is_err() {
                return self.reconnect();
            }
        }
    }

    /// Sends what is to be sent, and takes what is reported.
    fn settle(&mut self) {
        if self.table.tick(self.now).is_err() {
            self.reconnect();
        }
        while let Some((number, request, _)) = self.table.next_read(self.now) {
            self.reads.push((number, request));
        }
        while let Some(WatchRequest { request: Some(request) }) = self.table.next_watch_request() {
            self.requests.push_back(request);
        }
        while let Some(event) = self.table.next_report(self.now) {
            match event {
                StoreEvent::Observed { subject, state } => {
                    assert!(self.followed.contains(&subject), "{subject:?} was left");
                    let shown = shown(&state);
                    self.reported.insert(subject, Ok(shown));
                }
                StoreEvent::Unreadable { subject, reason } => {
                    assert!(self.followed.contains(&subject), "{subject:?} was left");
                    self.reported.insert(subject, Err(reason));
                }
                StoreEvent::Degraded { .. } => {}
                StoreEvent::MissedChange { subject } => {
                    assert!(self.forgot, "{subject:?} was told");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Has the server be honest and quick until nothing is left to do.
    fn rest(&mut self) {
        let end = self.now + LONGEST_RETRY;
        loop {
            self.settle();
            let mut is_busy = false;
            while !self.reads.is_empty() || !self.requests.is_empty() || !self.responses.is_empty() {
                is_busy = true;
                self.answer(0, Trouble::None);
                self.take_watch_request(Trouble::None);
                self.hear(1);
                self.settle();
            }
            for nth in 0..self.watched.len() {
                self.serve(nth, usize::MAX);
            }
            if is_busy || !self.responses.is_empty() {
                continue;
            }
            match self.table.due().filter(|due| *due <= end) {
                Some(due) => self.now = due.max(self.now),
                None => return,
            }
        }
    }

    fn check(&self) {
        for subject in &self.followed {
            let said = self.reported.get(subject);
            assert_eq!(said, Some(&Ok(self.truth(subject))), "{subject:?}");
        }
        assert_eq!(self.table.report_bytes, 0);
        let watches: usize =
            self.followed.iter().map(|subject| usize::from(subject.facet != Facet::Data) + 1).sum();
        // One that is forgotten is missed when something changes.
        let has_all = self.watched.len() == watches || (self.forgot && self.watched.len() < watches);
        assert!(has_all, "{} watches instead of {watches}", self.watched.len());
    }

    /// What is to be said of a subject.
    fn truth(&self, subject: &Subject) -> Shown {
        let nodes = self.server.now.values().filter_map(|kv| {
            let Found::Node(path) = self.keys.find(&subject.path, &kv.key) else { return None };
            Some((path, String::from_utf8(kv.value.to_vec()).unwrap()))
        });
        let nodes: BTreeMap<NodePath, String> = nodes.collect();
        match subject.facet {
            Facet::Data => nodes.get(&subject.path).map(|value| vec![(String::new(), value.clone())]),
            Facet::Children => {
                let below = nodes.keys().map(|path| path.relative_to(&subject.path).trim_start_matches('/'));
                let names = below.filter_map(|below| below.split('/').next()).filter(|name| !name.is_empty());
                let names: std::collections::BTreeSet<_> = names.collect();
                let is_there = !nodes.is_empty();
                is_there.then(|| names.into_iter().map(|name| (name.to_owned(), String::new())).collect())
            }
            Facet::Members => {
                let member = |(path, value): (&NodePath, &String)| {
                    let is_member = path.parent() == Some(subject.path.as_str());
                    is_member.then(|| (path.components().last().unwrap().to_owned(), value.clone()))
                };
                (!nodes.is_empty()).then(|| nodes.iter().filter_map(member).collect())
            }
            Facet::Tree => {
                let root = subject.path.as_str();
                let mut all = BTreeMap::new();
                for (path, value) in &nodes {
                    for above in path.self_and_ancestors().filter(|above| above.len() >= root.len()) {
                        all.entry(above.to_owned()).or_insert_with(String::new);
                    }
                    all.insert(path.to_string(), value.clone());
                }
                (!all.is_empty()).then(|| all.into_iter().collect())
            }
        }
    }
}

fn shown(state: &State) -> Shown {
    let State::Present { content, .. } = state else { return None };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Some(match content {
        Content::Data(blob) => vec![(String::new(), text(&content::read(blob).unwrap()))],
        Content::Children { lines, .. } => {
            let lines = text(&content::read(lines).unwrap());
            lines.lines().map(|name| (name.to_owned(), String::new())).collect()
        }
        Content::Members { object, count } => {
            let object: BTreeMap<String, BTreeMap<String, String>> =
                serde_json::from_slice(&content::read(object).unwrap()).unwrap();
            assert_eq!(object.len() as u64, *count);
            let said = |(name, mut said): (String, BTreeMap<String, String>)| {
                (name, said.remove("string_value").unwrap())
            };
            object.into_iter().map(said).collect()
        }
        Content::Tree { tree, blob } => {
            let bytes = content::read(blob).unwrap();
            let entry = |piece: std::ops::Range<u64>| {
                let piece = text(&bytes[piece.start as usize..piece.end as usize]);
                // The line of a node ends with its text.
                let text = piece.split("\"text\":\"").nth(1).unwrap_or_default();
                text.split('"').next().unwrap_or_default().to_owned()
            };
            tree.entries().map(|(node, piece)| (node.path.to_string(), entry(piece))).collect()
        }
    })
}

proptest! {
    // "At rest, the last state reported is the true one", whatever happened before.
    #[test]
    fn at_rest_each_subject_is_up_to_date(moves in moves()) {
        let mut world = World::new();
        moves.into_iter().for_each(|step| world.perform(step));
        world.rest();
        world.check();
    }
}
