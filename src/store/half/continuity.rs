//! Makes the versions that one half of a store counts those that the next one goes on with.
//!
//! Where a store cannot tell a node from another that was created under its name, its half counts the
//! incarnations of each node from 0. The next half does so too, and its first report on a node must be no
//! news if nothing happened. What was created anew while there was no half has another revision, and so
//! counts as changed. Each half also counts the births of nodes in trees, whatever the store can tell.

use std::sync::Arc;

use crate::model::{Content, CountedBytes, NodePath, State, Tree, TreeNode, Version};

/// The incarnations of one subject.
#[derive(Default)]
pub(super) struct Continuity {
    /// What was last reported to the daemon; `None` if that is nothing.
    reported: Option<i64>,
    /// What to add to the incarnations of the present half; `None` before it reports the subject.
    offset: Option<i64>,
    /// Whether the last report was that there is no such node. The next one is another.
    is_gone: bool,
    tree: TreeContinuity,
}

/// The births of the nodes in a tree.
#[derive(Default)]
struct TreeContinuity {
    /// The last tree as the half reported it, and as the daemon knows it. Both have the same nodes.
    last: Option<(Arc<Tree>, Arc<Tree>)>,
    /// Counts what these take.
    counted: Option<CountedBytes>,
    /// Whether the present half has reported the tree.
    is_begun: bool,
    /// The number of births so far.
    births: u64,
}

impl Continuity {
    /// Another half reports from now on.
    pub(super) fn restart(&mut self) {
        self.offset = None;
        self.tree.is_begun = false;
    }

    /// The node was removed after it was reported.
    pub(super) fn gone(&mut self) {
        self.is_gone = true;
    }

    /// Returns the last tree as the half reported it.
    pub(super) fn last_tree(&self) -> Option<Arc<Tree>> {
        self.tree.last.as_ref().map(|(said, _)| Arc::clone(said))
    }

    /// Returns how long the index of that was.
    pub(super) fn index_len(&self) -> u64 {
        self.tree.counted.as_ref().map_or(0, CountedBytes::len)
    }

    /// `durable` says whether an incarnation means the same to each half, and `index` counts what is kept of
    /// a tree.
    pub(super) fn continued(&mut self, state: State, durable: bool, index: CountedBytes) -> State {
        let State::Present { version, origin, content } = state else {
            self.is_gone = true;
            (self.tree.last, self.tree.counted) = (None, None);
            return state;
        };
        let (version, content) = match content {
            Content::Tree { tree, blob } => {
                let tree = self.tree.continued(tree, durable);
                self.tree.counted = Some(index);
                // A durable one can be about more than the root's own data.
                let root = tree.nodes().first().filter(|_| !durable);
                let incarnation = root.map_or(version.incarnation, |root| root.version.incarnation);
                (Version { incarnation, ..version }, Content::Tree { tree, blob })
            }
            content @ (Content::Data(_) | Content::Children { .. } | Content::Members { .. }) => {
                (self.of_node(version), content)
            }
        };
        State::Present { version, origin, content }
    }

    fn of_node(&mut self, version: Version) -> Version {
        let is_other = i64::from(std::mem::take(&mut self.is_gone));
        let offset = *self.offset.get_or_insert_with(|| match self.reported {
            Some(reported) => reported.wrapping_add(is_other).wrapping_sub(version.incarnation),
            None => 0,
        });
        let incarnation = version.incarnation.wrapping_add(offset);
        self.reported = Some(incarnation);
        Version { incarnation, ..version }
    }
}

impl TreeContinuity {
    fn continued(&mut self, said: Arc<Tree>, durable: bool) -> Arc<Tree> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let last = self.last.take();
        let is_same = |was: &TreeNode, is: &TreeNode| match is_first {
            // The first report of a half comes after a time in which nobody looked.
            true => !durable || was.has_same_incarnation(is),
            false => was.is_same_incarnation(is),
        };
        let before = last.iter().flat_map(|(said, known)| said.nodes().iter().zip(known.nodes()));
        let mut before = before.peekable();
        let nodes = said.nodes().iter().map(|node| {
            while before.next_if(|(said, _)| said.path < node.path).is_some() {}
            let known = before.next_if(|(said, _)| said.path == node.path);
            let known = known.filter(|(was, _)| {
                let has_stayed = || {
                    last.as_ref().is_some_and(|(was, _)| has_stayed_below(&node.path, was, &said, is_same))
                };
                is_same(was, node) || has_stayed()
            });
            match known {
                Some((said, known)) if Arc::ptr_eq(said, node) => Arc::clone(known),
                Some((_, known)) => {
                    let TreeNode { version: Version { incarnation, .. }, born, .. } = **known;
                    let version = Version { incarnation, ..node.version };
                    Arc::new(TreeNode { path: node.path.clone(), version, born })
                }
                None => {
                    self.births += 1;
                    let TreeNode { path, version, .. } = &**node;
                    Arc::new(TreeNode { path: path.clone(), version: *version, born: self.births })
                }
            }
        });
        let known = Arc::new(said.with_nodes(nodes.collect()));
        self.last = Some((said, Arc::clone(&known)));
        known
    }
}

/// Whether a node that was written is still there below `path`. Then the node above it was never gone, even
/// if its own key in etcd was.
fn has_stayed_below(
    path: &NodePath,
    before: &Tree,
    now: &Tree,
    is_same: impl Fn(&TreeNode, &TreeNode) -> bool,
) -> bool {
    let below = format!("{}/", path.as_str().trim_end_matches('/'));
    let start = now.nodes().partition_point(|node| node.path.as_str() <= &*below);
    let below = now.nodes()[start..].iter().take_while(|node| node.path.as_str().starts_with(&below));
    let mut written = below.filter(|node| node.version != Version::UNWRITTEN);
    written.any(|node| {
        let was = before.nodes().binary_search_by(|was| was.path.cmp(&node.path));
        let was = was.ok().map(|place| &before.nodes()[place]);
        was.is_some_and(|was| was.version != Version::UNWRITTEN && is_same(was, node))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlobCount, NodeEvent};

    #[test]
    fn a_new_half_goes_on_where_the_last_one_was() {
        let mut continuity = Continuity::default();
        let mut reported = |restart: bool, incarnation: Option<i64>| {
            if restart {
                continuity.restart();
            }
            let state = incarnation.map_or(State::Absent, |incarnation| State::Present {
                version: Version { incarnation, revision: 7, number: 7 },
                origin: Default::default(),
                content: Content::Data([].into()),
            });
            match continuity.continued(state, false, BlobCount::default().count(0)) {
                State::Present { version, .. } => Some((version.incarnation, version.revision)),
                State::Absent => None,
            }
        };
        assert_eq!(reported(false, Some(0)), Some((0, 7)));
        assert_eq!(reported(false, Some(3)), Some((3, 7)));
        assert_eq!(reported(true, Some(0)), Some((3, 7)), "nothing happened");
        assert_eq!(reported(false, Some(0)), Some((3, 7)));
        assert_eq!(reported(false, Some(1)), Some((4, 7)), "created anew");
        assert_eq!(reported(true, Some(0)), Some((4, 7)));
        assert_eq!(reported(true, Some(2)), Some((4, 7)));
        assert_eq!(reported(false, Some(3)), Some((5, 7)));
        assert_eq!((reported(false, None), reported(true, None)), (None, None));
        assert_eq!(reported(false, Some(0)), Some((6, 7)), "it was gone in between");
    }

    /// Path, birth, incarnation, revision.
    type Node = (&'static str, u64, i64, i64);

    fn tree(nodes: &[Node]) -> Arc<Tree> {
        let node = |(path, born, incarnation, revision): &Node| {
            let (incarnation, revision) = (*incarnation, *revision);
            let version = Version { incarnation, revision, number: revision };
            Arc::new(TreeNode { path: NodePath::parse(path).unwrap(), version, born: *born })
        };
        let ends = (1..=nodes.len() as u64).collect();
        Arc::new(Tree::new(nodes.iter().map(node).collect(), ends, 0))
    }

    fn events(before: &Tree, after: &Tree) -> Vec<(String, NodeEvent)> {
        let changes = after.changes_since(before).into_iter();
        changes.map(|change| (change.path.to_string(), change.event)).collect()
    }

    /// Returns what takes reports of a tree, each perhaps the first one of another half.
    fn reports(durable: bool) -> impl FnMut(bool, &[Node]) -> Arc<Tree> {
        let mut continuity = TreeContinuity::default();
        move |restart, nodes| {
            continuity.is_begun &= !restart;
            continuity.continued(tree(nodes), durable)
        }
    }

    #[test]
    fn the_nodes_of_a_tree_are_the_same_to_the_next_half() {
        use NodeEvent::{Changed, Created, Deleted};
        for durable in [false, true] {
            let mut report = reports(durable);
            let event = |path: &str, event| (path.to_owned(), event);
            let first = report(false, &[("/t", 1, 5, 1), ("/t/a", 2, 5, 1), ("/t/b", 3, 5, 1)]);
            let second = report(false, &[("/t", 1, 5, 1), ("/t/a", 4, 6, 1), ("/t/b", 3, 5, 1)]);
            assert_eq!(events(&first, &second), [event("/t/a", Created)]);
            let again = if durable { 6 } else { 0 };
            let other = again - 1;
            let root = if durable { 5 } else { 0 };
            let same = report(true, &[("/t", 1, root, 1), ("/t/a", 2, again, 1), ("/t/b", 3, root, 1)]);
            assert_eq!(events(&second, &same), [], "nothing happened");
            assert_eq!(same.nodes()[0].version, second.nodes()[0].version);
            let next = report(false, &[("/t", 1, root, 1), ("/t/a", 2, again, 2), ("/t/b", 7, root + 1, 1)]);
            assert_eq!(events(&same, &next), [event("/t/a", Changed), event("/t/b", Created)]);
            let last = report(true, &[("/t", 1, root, 1), ("/t/a", 2, other, 3), ("/t/c", 3, 9, 1)]);
            let changed = if durable { Created } else { Changed };
            let expected = [event("/t/a", changed), event("/t/b", Deleted), event("/t/c", Created)];
            assert_eq!(events(&next, &last), expected);
        }
    }

    // In etcd: the keys of `/t` and of `/t/a` were deleted and written again, and those below them were not.
    #[test]
    fn a_node_above_one_that_stayed_was_never_gone() {
        use NodeEvent::{Changed, Created};
        for restart in [false, true] {
            let mut report = reports(true);
            let event = |path: &str, event| (path.to_owned(), event);
            let first = report(
                false,
                &[("/t", 0, 5, 5), ("/t/a", 0, 6, 6), ("/t/a-b", 0, 7, 7), ("/t/a/b", 0, 8, 8)],
            );
            let second = report(
                restart,
                &[("/t", 0, 11, 11), ("/t/a", 0, 12, 12), ("/t/a-b", 0, 13, 13), ("/t/a/b", 0, 8, 8)],
            );
            let expected = [event("/t", Changed), event("/t/a", Changed), event("/t/a-b", Created)];
            assert_eq!(events(&first, &second), expected);
            let third = report(restart, &[("/t", 0, 14, 14), ("/t/a", 0, 15, 15), ("/t/a/b", 0, 16, 16)]);
            let expected = events(&second, &third);
            assert!(expected.contains(&event("/t", Created)) && expected.contains(&event("/t/a", Created)));
            // A key that goes leaves a node without data, which is there all the same.
            let fourth = report(restart, &[("/t", 0, 0, 0), ("/t/a", 0, 0, 0), ("/t/a/b", 0, 16, 16)]);
            assert_eq!(events(&third, &fourth), [event("/t", Changed), event("/t/a", Changed)]);
            let fifth = report(restart, &[("/t", 0, 17, 17), ("/t/a", 0, 0, 0), ("/t/a/b", 0, 16, 16)]);
            assert_eq!(events(&fourth, &fifth), [event("/t", Changed)]);
        }
    }

    // In etcd, a tree is there while any key of it is. Its version is what the half says.
    #[test]
    fn a_tree_whose_versions_are_durable_keeps_its_own() {
        for durable in [true, false] {
            let mut continuity = Continuity::default();
            let mut report = |version: Version, nodes: &[Node]| {
                let content = Content::Tree { tree: tree(nodes), blob: [].into() };
                let state = State::Present { version, origin: Default::default(), content };
                match continuity.continued(state, durable, BlobCount::default().count(0)) {
                    State::Present { version, .. } => version,
                    State::Absent => panic!("it is there"),
                }
            };
            let said = Version::of_several(5, 1, 6);
            let root = Version { incarnation: 7, ..said };
            assert_eq!(report(said, &[("/t", 0, 7, 7)]), if durable { said } else { root });
        }
    }
}
