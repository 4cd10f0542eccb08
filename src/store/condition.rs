//! What commands make of a node only if a condition holds, and how they find it.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::acl::Acl;
use crate::model::{NodePath, Version};

/// What must hold of a node, so that a command changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The node is there, and its version has this number.
    Number(i64),
    /// The node is still in the state in which it was read.
    Same(Version),
    /// There is no such node.
    Absent,
}

/// How `set` writes a node.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    pub condition: Condition,
    /// Who may do what with the node, where the store has access control lists.
    pub acl: Option<Acl>,
    /// How long the node lives, where the store has leases.
    pub ttl: Option<Duration>,
}

/// A node as `get --json` shows it.
#[derive(Clone, Debug)]
pub struct ReadNode {
    pub data: Vec<u8>,
    pub version: Version,
    /// What else the store knows of the node, by the names that the store uses.
    pub facts: Vec<(&'static str, Value)>,
}

impl ReadNode {
    /// Returns what the store knows of the node, with the number of its version.
    pub fn stat(&self) -> Map<String, Value> {
        let facts = self.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        facts.chain([("version".to_owned(), self.version.number.into())]).collect()
    }
}

/// A node of a tree, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    pub path: NodePath,
    /// The length of its data in bytes.
    pub size: u64,
    /// How many children it has.
    pub children: u64,
    /// Why its children cannot be listed.
    pub unreadable: Option<String>,
}

/// Sorts the nodes of a tree so that each stands before those below it, and siblings by their names.
pub(super) fn sort_tree(nodes: &mut [TreeNode]) {
    nodes.sort_by(|a, b| a.path.components().cmp(b.path.components()));
}

/// What a command found in place of what its condition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// The number of the node's version.
    Version(i64),
}

impl Found {
    /// Describes what is wrong with a node of this name.
    pub(super) fn against(self, condition: Condition, node: &str) -> impl fmt::Display {
        match (condition, self) {
            (Condition::Number(wanted), Self::Version(found)) => {
                format!("{node} has version {found}, not {wanted}")
            }
            (Condition::Number(wanted), Self::Nothing) => {
                format!("{node} does not exist, so it does not have version {wanted}")
            }
            (Condition::Same(_), Self::Version(found)) => {
                format!("{node} was changed meanwhile: it has version {found} now")
            }
            (Condition::Same(_), Self::Nothing) => format!("{node} was removed meanwhile"),
            (Condition::Absent, Self::Version(found)) => {
                format!("{node} exists already, with version {found}")
            }
            // It was removed again since.
            (Condition::Absent, Self::Nothing) => format!("{node} existed a moment ago"),
            (Condition::None, _) => format!("{node} was changed meanwhile"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_sorted_by_names_and_not_by_the_text_of_its_paths() {
        let node = |path: &str| TreeNode {
            path: NodePath::parse(path).unwrap(),
            size: 0,
            children: 0,
            unreadable: None,
        };
        let mut nodes = ["/a-b", "/a/b", "/", "/a", "/a/b/c", "/B"].map(node);
        sort_tree(&mut nodes);
        assert_eq!(nodes.map(|node| node.path.to_string()), ["/", "/B", "/a", "/a/b", "/a/b/c", "/a-b"]);
    }
}
