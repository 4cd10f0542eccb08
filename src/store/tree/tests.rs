use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::limits::{COHERENCE_TIMEOUT, DEBOUNCE, MAX_BYTES};
use super::trees::Trees;
use crate::content;
use crate::model::{
    Change, Content, Facet, NodeContent, NodeFacet, NodePath, NodeSubject, Origin, State, Subject, Tree,
    TreeNode, Version,
};
use crate::store::MAX_TREE_NODES;
use crate::store::backend::{Capabilities, NodeCommand, Observation};
use crate::store::message::{StoreCommand, StoreEvent};

mod changes;
mod members;

const DIRECTORY: Capabilities = Capabilities {
    durable_versions: false,
    reserved_child: None,
    is_remote: false,
    has_acls: false,
    can_move: true,
    can_lack_root: false,
};
const ZOOKEEPER: Capabilities =
    Capabilities { durable_versions: true, reserved_child: Some("zookeeper"), ..DIRECTORY };

/// Trees, and a clock that only the test moves.
struct Bench {
    trees: Trees,
    now: Instant,
    /// What the store was told since it was looked at.
    commands: Vec<NodeCommand>,
}

fn path(path: &str) -> NodePath {
    NodePath::parse(path).unwrap()
}

fn subject(node: &str, facet: Facet) -> Subject {
    Subject { path: path(node), facet }
}

fn node_subject(node: &str, facet: NodeFacet) -> NodeSubject {
    NodeSubject { path: path(node), facet }
}

fn version(incarnation: i64, revision: i64) -> Version {
    Version { incarnation, revision, number: revision }
}

impl Bench {
    fn new(capabilities: Capabilities) -> Self {
        Self { trees: Trees::new(capabilities), now: Instant::now(), commands: Vec::new() }
    }

    fn follow(&mut self, node: &str, facet: Facet) {
        self.trees.take(StoreCommand::Follow(subject(node, facet)), self.now, &mut self.commands);
    }

    fn leave(&mut self, node: &str, facet: Facet) {
        self.trees.take(StoreCommand::Leave(subject(node, facet)), self.now, &mut self.commands);
    }

    /// Whether the daemon gets to hear it.
    fn route(&mut self, node: &str, facet: NodeFacet, observation: Observation) -> bool {
        self.trees.route(node_subject(node, facet), observation, self.now, &mut self.commands).is_some()
    }

    fn data(&mut self, node: &str, version: Version, data: &[u8]) -> bool {
        let (origin, content) = (Origin::UNKNOWN, NodeContent::Data(data.into()));
        self.route(node, NodeFacet::Data, Observation::Present { version, origin, content })
    }

    fn children(&mut self, node: &str, names: &[&str]) -> bool {
        let content = NodeContent::Children(names.iter().map(|name| (*name).to_owned()).collect());
        let (version, origin) = (version(1, 1), Origin::UNKNOWN);
        self.route(node, NodeFacet::Children, Observation::Present { version, origin, content })
    }

    /// The whole node, in its first version.
    fn node(&mut self, node: &str, names: &[&str]) {
        self.data(node, version(1, 1), node.as_bytes());
        self.children(node, names);
    }

    fn absent(&mut self, node: &str) {
        self.route(node, NodeFacet::Data, Observation::Absent);
        self.route(node, NodeFacet::Children, Observation::Absent);
    }

    fn unreadable(&mut self, node: &str, facet: NodeFacet) {
        self.route(node, facet, Observation::Unreadable("locked".into()));
    }

    fn commands(&mut self) -> Vec<String> {
        let commands = self.commands.drain(..).map(|command| match command {
            NodeCommand::Follow(NodeSubject { path, facet }) => format!("+{facet:?} {path}"),
            NodeCommand::Leave(NodeSubject { path, facet }) => format!("-{facet:?} {path}"),
            NodeCommand::Refresh(NodeSubject { path, facet }) => format!("!{facet:?} {path}"),
        });
        commands.collect()
    }

    /// What there is to say within this time.
    fn within(&mut self, time: Duration) -> Vec<StoreEvent> {
        let until = self.now + time;
        let mut events = Vec::new();
        while let Some(due) = self.trees.due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            events.extend(self.trees.poll(self.now, &mut self.commands));
        }
        self.now = until;
        events
    }

    fn silent(&mut self) {
        let events = self.within(COHERENCE_TIMEOUT * 2);
        assert!(events.is_empty(), "{events:?}");
    }

    /// The one state that there is to say, of the one tree that there is.
    #[track_caller]
    fn said(&mut self) -> State {
        match <[_; 1]>::try_from(self.within(DEBOUNCE)) {
            Ok([StoreEvent::Observed { subject: Subject { facet: Facet::Tree, .. }, state }]) => state,
            other => panic!("not one state: {other:?}"),
        }
    }

    #[track_caller]
    fn trouble(&mut self) -> String {
        match <[_; 1]>::try_from(self.within(DEBOUNCE)) {
            Ok([StoreEvent::Unreadable { subject: Subject { facet: Facet::Tree, .. }, reason }]) => reason,
            other => panic!("not one trouble: {other:?}"),
        }
    }

    #[track_caller]
    fn tree(&mut self) -> Arc<Tree> {
        match self.said() {
            State::Present { content: Content::Tree { tree, .. }, .. } => tree,
            other => panic!("no tree: {other:?}"),
        }
    }

    /// `/t` with the child `/t/a`, given.
    fn with_two_nodes() -> (Self, Arc<Tree>) {
        let mut bench = Self::new(ZOOKEEPER);
        bench.follow("/t", Facet::Tree);
        bench.node("/t", &["a"]);
        bench.node("/t/a", &[]);
        let tree = bench.tree();
        bench.commands();
        (bench, tree)
    }
}

/// A tree as `path incarnation.revision` of each node.
fn text(tree: &Tree) -> Vec<String> {
    let text = |node: &Arc<TreeNode>| {
        format!("{} {}.{}", node.path, node.version.incarnation, node.version.revision)
    };
    tree.nodes().iter().map(text).collect()
}

fn changes(changes: Vec<Change>) -> Vec<String> {
    changes.iter().map(|change| format!("{} {}", change.event.as_str(), change.path)).collect()
}

#[test]
fn a_tree_is_given_as_soon_as_all_of_it_is_known_and_not_before() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/t", Facet::Tree);
    assert_eq!(bench.commands(), ["+Data /t", "+Children /t"]);
    bench.data("/t", version(1, 1), b"");
    bench.silent();
    bench.children("/t", &["a", "b"]);
    assert_eq!(bench.commands(), ["+Data /t/a", "+Children /t/a", "+Data /t/b", "+Children /t/b"]);
    bench.node("/t/a", &["c"]);
    bench.node("/t/b", &[]);
    bench.silent();
    bench.children("/t/a/c", &[]);
    bench.silent();
    bench.data("/t/a/c", version(7, 8), b"");
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1", "/t/a/c 7.8", "/t/b 1.1"]);
    bench.silent();
}

#[test]
fn a_change_gives_a_tree_that_shares_the_other_nodes() {
    let (mut bench, before) = Bench::with_two_nodes();
    bench.data("/t/a", version(1, 2), b"new");
    let State::Present { content: Content::Tree { tree: after, blob }, .. } = bench.said() else { panic!() };
    assert_eq!(text(&after), ["/t 1.1", "/t/a 1.2"]);
    assert!(Arc::ptr_eq(&before.nodes()[0], &after.nodes()[0]));
    assert_eq!(content::read(&blob).unwrap()[22..45], *b"\"size\":3,\"text\":\"new\"}\n");
    assert_eq!(bench.commands(), [""; 0]);
}

#[test]
fn what_its_parent_lists_no_more_is_dropped_with_all_below_it() {
    let (mut bench, _) = Bench::with_two_nodes();
    bench.children("/t/a", &["b"]);
    bench.node("/t/a/b", &[]);
    bench.children("/t", &["a", "a-b"]);
    bench.node("/t/a-b", &[]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1", "/t/a-b 1.1", "/t/a/b 1.1"]);
    bench.commands();
    bench.children("/t", &["a-b"]);
    assert_eq!(bench.commands(), ["-Data /t/a/b", "-Children /t/a/b", "-Data /t/a", "-Children /t/a"]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a-b 1.1"]);
    // What was on its way then.
    assert!(bench.data("/t/a", version(1, 9), b""), "it is nobody's, so it is passed on");
    bench.silent();
}

#[test]
fn a_listed_child_that_is_absent_is_not_in_the_tree() {
    let (mut bench, _) = Bench::with_two_nodes();
    bench.children("/t", &["a", "link"]);
    bench.silent();
    bench.absent("/t/link");
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1"]);
    bench.node("/t/link", &[]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1", "/t/link 1.1"]);
}

#[test]
fn a_node_whose_data_and_children_disagree_is_waited_for() {
    let (mut bench, _) = Bench::with_two_nodes();
    bench.route("/t/a", NodeFacet::Children, Observation::Absent);
    bench.silent();
    bench.route("/t/a", NodeFacet::Data, Observation::Absent);
    assert_eq!(text(&bench.tree()), ["/t 1.1"]);
    bench.data("/t/a", version(5, 5), b"");
    bench.silent();
    bench.children("/t/a", &[]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 5.5"]);
}

#[test]
fn a_missing_root_is_an_absent_tree() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/t", Facet::Tree);
    bench.absent("/t");
    assert_eq!(bench.said(), State::Absent);
    bench.node("/t", &["a"]);
    bench.node("/t/a", &[]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1"]);
    bench.commands();
    bench.absent("/t");
    assert_eq!(bench.said(), State::Absent);
    assert_eq!(bench.commands(), ["-Data /t/a", "-Children /t/a"]);
}

#[test]
fn after_a_reconnect_nothing_is_given_before_all_is_told_anew() {
    let (mut bench, before) = Bench::with_two_nodes();
    bench.trees.connected();
    bench.silent();
    bench.node("/t", &["a"]);
    bench.data("/t/a", version(1, 2), b"");
    bench.silent();
    bench.children("/t/a", &[]);
    let after = bench.tree();
    assert_eq!(text(&after), ["/t 1.1", "/t/a 1.2"]);
    assert!(Arc::ptr_eq(&before.nodes()[0], &after.nodes()[0]), "what is the same takes no memory twice");
    assert_eq!(bench.commands(), [""; 0]);
}

#[test]
fn what_happens_at_once_is_given_at_once() {
    let (mut bench, _) = Bench::with_two_nodes();
    for revision in 2..=1000 {
        bench.data("/t/a", version(1, revision), b"");
        assert!(bench.within(Duration::from_micros(50)).is_empty());
    }
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1000"]);
}

#[test]
fn a_tree_that_is_never_quiet_is_given_now_and_then() {
    let (mut bench, _) = Bench::with_two_nodes();
    let mut given = 0;
    for revision in 2..=1000 {
        bench.data("/t/a", version(1, revision), b"");
        given += bench.within(DEBOUNCE / 2).len();
    }
    // A second of it.
    assert!((8..=10).contains(&given), "{given}");
}

#[test]
fn a_node_that_is_being_read_is_waited_for_but_not_for_ever() {
    let (mut bench, _) = Bench::with_two_nodes();
    let announced = node_subject("/t", NodeFacet::Data);
    bench.trees.outdated(&announced);
    bench.data("/t/a", version(1, 2), b"");
    assert!(bench.within(COHERENCE_TIMEOUT / 2).is_empty());
    bench.data("/t", version(1, 2), b"");
    assert_eq!(text(&bench.tree()), ["/t 1.2", "/t/a 1.2"]);
    bench.trees.outdated(&announced);
    bench.data("/t/a", version(1, 3), b"");
    assert!(bench.within(COHERENCE_TIMEOUT / 2).is_empty());
    assert_eq!(bench.within(COHERENCE_TIMEOUT / 2).len(), 1);
}

#[test]
fn an_unreadable_node_makes_the_tree_unreadable_by_its_name_which_is_said_once() {
    let (mut bench, _) = Bench::with_two_nodes();
    bench.children("/t", &["a", "b", "c"]);
    bench.node("/t/c", &[]);
    bench.unreadable("/t/b", NodeFacet::Data);
    assert_eq!(bench.trouble(), r#""/t/b": locked"#);
    bench.unreadable("/t/b", NodeFacet::Children);
    bench.data("/t/c", version(1, 2), b"");
    bench.unreadable("/t/a", NodeFacet::Data);
    bench.silent();
    // A new session says it again.
    bench.trees.connected();
    bench.node("/t", &["a", "b", "c"]);
    bench.node("/t/a", &[]);
    bench.node("/t/c", &[]);
    bench.unreadable("/t/b", NodeFacet::Children);
    bench.silent();
    bench.data("/t/b", version(1, 1), b"");
    bench.silent();
    bench.children("/t/b", &[]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1", "/t/b 1.1", "/t/c 1.1"]);
    bench.unreadable("/t/b", NodeFacet::Children);
    assert_eq!(bench.trouble(), r#""/t/b": locked"#);
    // Or it is deleted.
    bench.children("/t", &["a", "c"]);
    assert_eq!(text(&bench.tree()), ["/t 1.1", "/t/a 1.1", "/t/c 1.1"]);
}

#[test]
fn of_several_unreadable_nodes_the_next_is_named_when_the_first_is_healed() {
    let (mut bench, _) = Bench::with_two_nodes();
    bench.unreadable("/t/a", NodeFacet::Data);
    assert_eq!(bench.trouble(), r#""/t/a": locked"#);
    bench.unreadable("/t", NodeFacet::Data);
    bench.silent();
    bench.data("/t/a", version(1, 1), b"");
    assert_eq!(bench.trouble(), r#""/t": locked"#);
}

#[test]
fn who_comes_later_learns_what_cannot_be_read() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/t/a", Facet::Data);
    bench.unreadable("/t/a", NodeFacet::Data);
    bench.follow("/t", Facet::Tree);
    bench.node("/t", &["a"]);
    assert_eq!(bench.trouble(), r#""/t/a": locked"#);
}

#[test]
fn a_tree_with_too_many_nodes_is_unreadable_until_it_shrinks() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/t", Facet::Tree);
    let names: Vec<String> = (0..MAX_TREE_NODES).map(|n| format!("{n:05}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.node("/t", &names);
    assert_eq!(bench.commands().len(), 2 * MAX_TREE_NODES, "no more than there may be");
    let reason = bench.trouble();
    assert!(reason.contains("more than 10000 nodes; remove some, or watch smaller trees"), "{reason}");
    for name in &names {
        bench.node(&format!("/t/{name}"), &[]);
    }
    bench.silent();
    let (first, last) = (names.remove(0), *names.last().unwrap());
    bench.children("/t", &names);
    bench.silent();
    let expected = [format!("-Data /t/{first}"), format!("-Children /t/{first}"), format!("+Data /t/{last}")];
    assert_eq!(bench.commands()[..3], expected);
    bench.node(&format!("/t/{last}"), &[]);
    assert_eq!(bench.tree().nodes().len(), MAX_TREE_NODES);
    bench.children(&format!("/t/{last}"), &["more"]);
    bench.trouble();
}

// Ten thousand levels would take a hundred megabytes for their paths alone.
#[test]
fn a_tree_of_thousands_of_levels_is_unreadable_until_it_shrinks() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/t", Facet::Tree);
    let (mut node, mut levels) = ("/t".to_owned(), 0);
    while !bench.commands().is_empty() {
        bench.node(&node, &["d"]);
        node += "/d";
        levels += 1;
    }
    assert!((4000..4200).contains(&levels), "{levels}");
    let reason = bench.trouble();
    assert!(reason.contains("paths of its nodes have more than 16 MiB; remove some"), "{reason}");
    let half = "/d".repeat(levels / 2);
    bench.children(&format!("/t{half}"), &[]);
    assert_eq!(bench.tree().nodes().len(), levels / 2 + 1);
}

#[test]
fn a_tree_with_too_much_data_is_unreadable_until_it_shrinks() {
    let (mut bench, _) = Bench::with_two_nodes();
    let half = vec![0; MAX_BYTES as usize / 2 + 1];
    bench.data("/t", version(1, 2), &half);
    assert_eq!(text(&bench.tree()), ["/t 1.2", "/t/a 1.1"]);
    bench.data("/t/a", version(1, 2), &half);
    let reason = bench.trouble();
    assert!(reason.contains("more than 64 MiB; remove some, or watch smaller trees"), "{reason}");
    bench.data("/t/a", version(1, 3), &half);
    bench.silent();
    bench.data("/t", version(1, 3), b"");
    bench.silent();
    assert_eq!(bench.commands(), ["!Data /t/a"], "what was not kept is read again");
    bench.data("/t/a", version(1, 3), &half);
    let tree = bench.tree();
    assert_eq!(text(&tree), ["/t 1.3", "/t/a 1.3"]);
    assert_eq!(tree.data_bytes(), half.len() as u64);
}

#[test]
fn what_several_follow_is_followed_once_and_for_as_long_as_one_does() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/t/a", Facet::Data);
    assert_eq!(bench.commands(), ["+Data /t/a"]);
    bench.follow("/t", Facet::Tree);
    bench.node("/t", &["a"]);
    assert_eq!(bench.commands(), ["+Data /t", "+Children /t", "!Data /t/a", "+Children /t/a"]);
    bench.follow("/t/a", Facet::Tree);
    assert_eq!(bench.commands(), ["!Data /t/a", "!Children /t/a"]);
    assert!(bench.data("/t/a", version(1, 1), b""), "the daemon wants it");
    assert!(!bench.children("/t/a", &[]), "only trees want it");
    assert_eq!(bench.within(DEBOUNCE).len(), 2);
    bench.leave("/t/a", Facet::Data);
    assert!(!bench.data("/t/a", version(1, 2), b""));
    assert_eq!(bench.within(DEBOUNCE).len(), 2);
    bench.leave("/t", Facet::Tree);
    assert_eq!(bench.commands(), ["-Data /t", "-Children /t"]);
    bench.follow("/t/a", Facet::Children);
    assert_eq!(bench.commands(), ["!Children /t/a"]);
    bench.leave("/t/a", Facet::Tree);
    assert_eq!(bench.commands(), ["-Data /t/a"]);
    bench.silent();
}

#[test]
fn a_refresh_gives_what_is_known() {
    let (mut bench, before) = Bench::with_two_nodes();
    bench.trees.take(StoreCommand::Refresh(subject("/t", Facet::Tree)), bench.now, &mut bench.commands);
    assert_eq!(bench.tree(), before);
    assert_eq!(bench.commands(), [""; 0]);
}

#[test]
fn what_a_store_keeps_for_itself_is_in_no_tree_but_its_own() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/", Facet::Tree);
    bench.node("/", &["a", "zookeeper"]);
    bench.node("/a", &["zookeeper"]);
    bench.node("/a/zookeeper", &[]);
    assert_eq!(text(&bench.tree()), ["/ 1.1", "/a 1.1", "/a/zookeeper 1.1"]);
    bench.leave("/", Facet::Tree);
    bench.follow("/zookeeper", Facet::Tree);
    bench.node("/zookeeper", &["quota"]);
    bench.node("/zookeeper/quota", &[]);
    assert_eq!(text(&bench.tree()), ["/zookeeper 1.1", "/zookeeper/quota 1.1"]);
}

#[test]
fn the_number_of_a_version_is_the_same_in_every_release() {
    let mut bench = Bench::with_two_nodes().0;
    bench.trees.take(StoreCommand::Refresh(subject("/t", Facet::Tree)), bench.now, &mut bench.commands);
    let State::Present { version, .. } = bench.said() else { panic!("no tree") };
    assert_eq!(version.number, 5_340_434_338_168_140_906);
}
