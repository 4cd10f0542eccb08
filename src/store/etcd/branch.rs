//! A tree: a node with all that have keys below it, and their data.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::version::{self, LastChange, Since};
use super::wire::messages::KeyValue;
use crate::model::{NodePath, State, TreeNode, Version};
use crate::store::encoding::{MAX_PATH_BYTES, MAX_TREE_NODES, TreeWriter};
use crate::store::memory;
use crate::store::tree::MAX_BYTES;
use crate::text::StableHash;

/// What a node takes in memory beside its path and its data, while a tree is put together.
const ASSEMBLY_BYTES: u64 = 128;

/// The nodes of a tree.
#[derive(Debug, Default)]
pub(super) struct Branch {
    nodes: BTreeMap<NodePath, Node>,
    /// The length of all paths.
    path_bytes: u64,
    /// The size of all data.
    bytes: u64,
    /// The revision of the last change, as far as it is known.
    changed: LastChange,
    since: Since,
}

#[derive(Debug)]
struct Node {
    node: Arc<TreeNode>,
    /// `None` if there are only keys below it.
    own: Option<Box<[u8]>>,
    /// The number of keys below it.
    below: u64,
    /// A hash of path and version.
    hash: i64,
}

impl Node {
    fn new(path: NodePath, version: Version) -> Self {
        let hash = hash(&path, version);
        Self { node: Arc::new(TreeNode { path, version, born: 0 }), own: None, below: 0, hash }
    }

    fn become_version(&mut self, version: Version) {
        if self.node.version != version {
            let path = self.node.path.clone();
            self.hash = hash(&path, version);
            self.node = Arc::new(TreeNode { path, version, born: 0 });
        }
    }

    fn bytes(&self) -> u64 {
        self.own.as_ref().map_or(0, |own| own.len() as u64)
    }
}

fn hash(path: &NodePath, version: Version) -> i64 {
    let mut hash = StableHash::default();
    hash.add(path.as_str());
    hash.add_number(version.incarnation);
    hash.add_number(version.revision);
    hash.fold().cast_signed()
}

impl Branch {
    /// Takes in a key that is there.
    pub(super) fn put(&mut self, root: &NodePath, path: &NodePath, kv: &KeyValue) {
        self.changed.note(kv.mod_revision);
        let is_new = self.nodes.get(path).is_none_or(|node| node.own.is_none());
        if is_new {
            self.since.note_key(kv.create_revision);
            for above in ancestors(root, path) {
                self.at(above).below += 1;
            }
        }
        let node = self.at(path.as_str());
        let before = node.bytes();
        node.become_version(version::of_data(kv));
        node.own = Some(kv.value.to_vec().into());
        self.bytes = self.bytes + kv.value.len() as u64 - before;
    }

    fn at(&mut self, path: &str) -> &mut Node {
        if !self.nodes.contains_key(path) {
            self.path_bytes += path.len() as u64;
            let path = NodePath::unchecked(path);
            self.nodes.insert(path.clone(), Node::new(path, version::OF_NO_DATA));
        }
        let Some(node) = self.nodes.get_mut(path) else { unreachable!("it was inserted") };
        node
    }

    /// Takes in that a key is gone. Fails if it is not known.
    pub(super) fn remove(&mut self, root: &NodePath, path: &NodePath, revision: i64) -> Result<(), ()> {
        let node = self.nodes.get_mut(path).filter(|node| node.own.is_some()).ok_or(())?;
        self.bytes -= node.bytes();
        node.own = None;
        node.become_version(version::OF_NO_DATA);
        self.changed.note(revision);
        let above: Vec<&str> = ancestors(root, path).collect();
        for path in &above {
            self.at(path).below -= 1;
        }
        for path in above.into_iter().chain([path.as_str()]) {
            if self.nodes.get(path).is_some_and(|node| node.own.is_none() && node.below == 0) {
                self.path_bytes -= path.len() as u64;
                self.nodes.remove(path);
            }
        }
        if self.nodes.is_empty() {
            self.since.note_end(revision);
        }
        Ok(())
    }

    /// See [`LastChange::follow_on`].
    pub(super) fn follow_on(&mut self, before: Version, revision: i64) {
        self.changed.follow_on(self.version(), before, revision);
    }

    /// Returns why the tree is too large, if it is.
    pub(super) fn excess(&self) -> Option<String> {
        let remedy = "remove some, or watch smaller trees below it";
        if self.nodes.len() > MAX_TREE_NODES {
            Some(format!("it has more than {MAX_TREE_NODES} nodes; {remedy}"))
        } else if self.path_bytes > MAX_PATH_BYTES {
            Some(format!("the paths of its nodes have more than {} MiB; {remedy}", MAX_PATH_BYTES >> 20))
        } else if self.bytes > MAX_BYTES {
            Some(format!("its nodes hold more than {} MiB; {remedy}", MAX_BYTES >> 20))
        } else {
            None
        }
    }

    /// About how much memory it takes to put the state together, beside the data.
    pub(super) fn memory(&self) -> u64 {
        2 * self.path_bytes + self.nodes.len() as u64 * ASSEMBLY_BYTES
    }

    /// The version, if the tree is there.
    pub(super) fn version(&self) -> Version {
        let mut hash = StableHash::default();
        self.nodes.values().for_each(|node| hash.add_number(node.hash));
        version::of_tree(&self.since, self.changed, &hash)
    }

    /// Puts the state together. `needs_no_key` is that of [`Keys`](super::keys::Keys::needs_no_key).
    pub(super) fn state(&self, root: &NodePath, needs_no_key: bool) -> io::Result<State> {
        if !self.nodes.contains_key(root) && !needs_no_key {
            return Ok(State::Absent);
        }
        memory::room_for(self.memory()).map_err(io::Error::other)?;
        let mut writer = TreeWriter::new(root);
        if self.nodes.is_empty() {
            writer.add(Node::new(root.clone(), version::OF_NO_DATA).node, &[])?;
        }
        for node in self.nodes.values() {
            writer.add(Arc::clone(&node.node), node.own.as_deref().unwrap_or_default())?;
        }
        let mut version = self.version();
        if needs_no_key {
            // It was never gone.
            version.incarnation = 0;
        }
        let origin = version::origin(version.number);
        Ok(State::Present { version, origin, content: writer.finish()? })
    }
}

/// Returns the paths from `root` down to the parent of `path`.
fn ancestors<'a>(root: &NodePath, path: &'a NodePath) -> impl Iterator<Item = &'a str> {
    let (shortest, longest) = (root.as_str().len(), path.as_str().len());
    let all = path.self_and_ancestors().filter(move |above| above.len() >= shortest);
    all.filter(move |above| above.len() < longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Content, NodeEvent};

    fn path(path: &str) -> NodePath {
        NodePath::parse(path).unwrap()
    }

    fn put(branch: &mut Branch, key: &str, created: i64, changed: i64) {
        let value = changed.to_string().into_bytes().into();
        let kv = KeyValue {
            create_revision: created,
            mod_revision: changed,
            version: 1,
            value,
            ..Default::default()
        };
        branch.put(&path("/t"), &path(key), &kv);
    }

    fn shown(branch: &Branch) -> Option<(Vec<(String, i64)>, Version)> {
        match branch.state(&path("/t"), false).unwrap() {
            State::Absent => None,
            State::Present { version, content: Content::Tree { tree, .. }, .. } => {
                let node = |node: &Arc<TreeNode>| (node.path.to_string(), node.version.incarnation);
                Some((tree.nodes().iter().map(node).collect(), version))
            }
            State::Present { .. } => panic!("no tree"),
        }
    }

    #[test]
    fn nodes_above_keys_are_there_without_data() {
        let mut branch = Branch::default();
        assert_eq!(shown(&branch), None);
        put(&mut branch, "/t/a/b", 5, 5);
        put(&mut branch, "/t/a-b", 6, 6);
        let nodes = |nodes: &[(&str, i64)]| {
            nodes.iter().map(|(path, created)| ((*path).to_owned(), *created)).collect::<Vec<_>>()
        };
        let (found, first) = shown(&branch).unwrap();
        assert_eq!(found, nodes(&[("/t", 0), ("/t/a", 0), ("/t/a-b", 6), ("/t/a/b", 5)]));
        assert_eq!(first.number, 6);
        put(&mut branch, "/t/a", 7, 7);
        assert_eq!(branch.remove(&path("/t"), &path("/t/a/b"), 8), Ok(()));
        let (found, second) = shown(&branch).unwrap();
        assert_eq!((found, second.number), (nodes(&[("/t", 0), ("/t/a", 7), ("/t/a-b", 6)]), 8));
        assert!(!first.is_same_state(second));
        assert_eq!(branch.remove(&path("/t"), &path("/t/a/b"), 9), Err(()));
        assert_eq!(branch.remove(&path("/t"), &path("/t"), 9), Err(()));
        assert_eq!(branch.remove(&path("/t"), &path("/t/a"), 10), Ok(()));
        assert_eq!(branch.remove(&path("/t"), &path("/t/a-b"), 11), Ok(()));
        assert_eq!((shown(&branch), branch.path_bytes, branch.bytes), (None, 0, 0));
    }

    // Its key comes and goes, and the node is there all the time.
    #[test]
    fn a_node_with_others_below_it_is_changed_by_its_key_and_not_created() {
        let tree = |branch: &Branch| match branch.state(&path("/t"), false).unwrap() {
            State::Present { content: Content::Tree { tree, .. }, .. } => tree,
            State::Present { .. } | State::Absent => panic!("no tree"),
        };
        let mut branch = Branch::default();
        put(&mut branch, "/t/a/b", 5, 5);
        let without = tree(&branch);
        put(&mut branch, "/t/a", 6, 6);
        let with = tree(&branch);
        assert_eq!(branch.remove(&path("/t"), &path("/t/a"), 7), Ok(()));
        let again = tree(&branch);
        for (before, after) in [(&without, &with), (&with, &again)] {
            let changes = after.changes_since(before);
            let changes: Vec<_> = changes.iter().map(|change| (change.path.as_str(), change.event)).collect();
            assert_eq!(changes, [("/t/a", NodeEvent::Changed)]);
        }
        put(&mut branch, "/t/c", 8, 8);
        assert_eq!(tree(&branch).changes_since(&again)[0].event, NodeEvent::Created);
    }

    fn version(branch: &Branch) -> Version {
        let State::Present { version, .. } = branch.state(&path("/t"), false).unwrap() else {
            panic!("absent");
        };
        version
    }

    fn remove(branch: &mut Branch, key: &str, revision: i64) {
        assert_eq!(branch.remove(&path("/t"), &path(key), revision), Ok(()));
    }

    // "the node is there ... if its key is, or any below it"
    #[test]
    fn a_tree_was_recreated_only_if_there_was_no_key_in_between() {
        let mut branch = Branch::default();
        put(&mut branch, "/t/a", 5, 5);
        let mut before = version(&branch);
        let mut step = |change: &dyn Fn(&mut Branch)| {
            change(&mut branch);
            let now = version(&branch);
            let was_recreated = now.was_recreated_since(before);
            assert!(!now.is_same_state(before));
            before = now;
            was_recreated
        };
        assert!(!step(&|tree| put(tree, "/t", 6, 6)), "its own key comes");
        assert!(!step(&|tree| remove(tree, "/t", 7)), "and goes");
        assert!(!step(&|tree| put(tree, "/t", 8, 8)));
        assert!(!step(&|tree| remove(tree, "/t/a", 9)), "all others go");
        assert!(!step(&|tree| put(tree, "/t/b", 10, 10)));
        assert!(!step(&|tree| {
            remove(tree, "/t", 11);
            put(tree, "/t", 12, 12);
        }));
        assert!(step(&|tree| {
            remove(tree, "/t/b", 13);
            remove(tree, "/t", 14);
            put(tree, "/t", 15, 15);
        }));
        assert!(!step(&|tree| {
            // One transaction, of which the deletion is heard first.
            remove(tree, "/t", 16);
            put(tree, "/t/a", 16, 16);
        }));
        assert!(!step(&|tree| {
            // The events of its own key are heard before those of the keys below it.
            remove(tree, "/t/a", 18);
            put(tree, "/t", 19, 19);
            put(tree, "/t/b", 17, 17);
        }));
    }

    // Another daemon, or another connection, reads what it finds.
    #[test]
    fn a_tree_that_is_read_anew_was_recreated_if_no_key_of_it_is_left() {
        let read = |keys: &[(&str, i64)]| {
            let mut branch = Branch::default();
            keys.iter().for_each(|(key, created)| put(&mut branch, key, *created, *created));
            version(&branch)
        };
        let before = read(&[("/t/a", 5), ("/t/b", 3)]);
        assert!(!read(&[("/t", 9), ("/t/a", 5)]).was_recreated_since(before));
        assert!(!read(&[("/t", 9), ("/t/b", 3)]).was_recreated_since(before));
        assert!(read(&[("/t", 9), ("/t/a", 8), ("/t/b", 7)]).was_recreated_since(before));
        // The one who looked on knows better for how long it was there.
        let mut branch = Branch::default();
        put(&mut branch, "/t/a", 5, 5);
        put(&mut branch, "/t/b", 6, 6);
        remove(&mut branch, "/t/a", 7);
        let again = read(&[("/t/b", 6)]);
        assert!(again.is_same_state(version(&branch)) && again != version(&branch));
    }

    #[test]
    fn a_root_without_keys_is_a_tree_of_itself_and_stays_one() {
        let tree = |branch: &Branch| match branch.state(&path("/"), true).unwrap() {
            State::Present { version, content: Content::Tree { tree, .. }, .. } => {
                let paths: Vec<_> = tree.nodes().iter().map(|node| node.path.to_string()).collect();
                (paths, version)
            }
            State::Present { .. } | State::Absent => panic!("no tree"),
        };
        let mut branch = Branch::default();
        let (nodes, empty) = tree(&branch);
        assert_eq!(nodes, ["/"]);
        let kv = KeyValue { create_revision: 5, mod_revision: 5, version: 1, ..Default::default() };
        branch.put(&path("/"), &path("/a"), &kv);
        let (nodes, full) = tree(&branch);
        assert_eq!((nodes, full.is_same_state(empty)), (vec!["/".to_owned(), "/a".to_owned()], false));
        assert_eq!(branch.remove(&path("/"), &path("/a"), 6), Ok(()));
        let (nodes, again) = tree(&branch);
        assert_eq!((nodes, again.is_same_state(empty)), (vec!["/".to_owned()], true));
    }

    #[test]
    fn a_tree_of_the_same_revisions_with_other_bytes_is_another_one() {
        let with = |value: &'static str| {
            let mut branch = Branch::default();
            let kv = KeyValue { create_revision: 1, mod_revision: 1, version: 1, ..Default::default() };
            branch.put(&path("/"), &path("/a"), &KeyValue { value: value.into(), ..kv });
            match branch.state(&path("/"), true).unwrap() {
                State::Present { version, .. } => version,
                State::Absent => panic!("absent"),
            }
        };
        assert!(with("a").is_same_state(with("a")) && !with("a").is_same_state(with("b")));
    }
}
