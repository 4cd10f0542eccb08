//! `twitcher tree NODE`

use std::process::ExitCode;

use serde_json::{Map, Value};

use super::shared::exit::{Exit, print_error};
use super::shared::number;
use super::shared::stdout::{print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::store::TreeNode;

/// Show the nodes below a node, sorted and indented
#[derive(Debug, clap::Args)]
pub struct Tree {
    #[command(flatten)]
    node: NodeArgs,
    /// Go down at most LEVELS levels. Of a node below which there is more, the number of its children is
    /// shown
    #[arg(long, short = 'L', value_name = "LEVELS", value_parser = number::at_least(1_u32))]
    #[arg(allow_hyphen_values = true)]
    depth: Option<u32>,
    /// Show the length of each node's data in bytes
    #[arg(long, short = 's')]
    size: bool,
    /// Print a JSON object: znode, size, and children, an array of such objects. Where --depth ends the tree,
    /// children is their number
    #[arg(long, conflicts_with = "size")]
    json: bool,
}

impl Tree {
    pub fn run(self) -> Exit {
        let depth = self.depth.map(|depth| depth as usize);
        let nodes = self.node.with_client(async |client, node| Ok(client.tree(node, depth).await?))?;
        if self.json {
            print_json(&(json(&nodes) + "\n"))?;
        } else {
            print_foreign(drawn(&nodes, self.size).as_bytes())?;
        }
        let unreadable: Vec<_> =
            nodes.iter().filter_map(|node| Some((&node.path, node.unreadable.as_ref()?))).collect();
        for (path, reason) in &unreadable {
            print_error(format_args!("twitcher: node {path}: {reason}"));
        }
        Ok(if unreadable.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// How many levels each node is below the first one.
fn levels(nodes: &[TreeNode]) -> Vec<usize> {
    let level = |node: &TreeNode| node.path.components().count();
    let first = nodes.first().map_or(0, level);
    nodes.iter().map(|node| level(node) - first).collect()
}

/// Draws the tree as tree(1) does.
fn drawn(nodes: &[TreeNode], with_sizes: bool) -> String {
    let levels = levels(nodes);
    // Whether each node is the last child of its parent: none follows on its level before a higher level.
    let mut is_last = vec![true; nodes.len()];
    let mut open: Vec<bool> = Vec::new();
    for (index, level) in levels.iter().enumerate().rev() {
        open.resize(level + 1, false);
        is_last[index] = !open[*level];
        open[*level] = true;
    }
    let mut drawn = String::new();
    let mut branches: Vec<&str> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let level = levels[index];
        if level > 0 {
            branches.truncate(level - 1);
            drawn.extend(branches.iter().copied());
            let (own, below) = if is_last[index] { ("└── ", "    ") } else { ("├── ", "│   ") };
            drawn += own;
            branches.push(below);
        }
        if with_sizes {
            drawn += &format!("[{:>7}]  ", node.size);
        }
        drawn += if level == 0 { node.path.as_str() } else { node.path.components().last().unwrap_or("/") };
        let has_more = node.children > 0 && levels.get(index + 1).is_none_or(|next| *next <= level);
        if has_more {
            drawn += &format!("  … {} below", node.children);
        }
        drawn.push('\n');
    }
    drawn
}

/// Writes the tree as nested objects, whatever its depth.
fn json(nodes: &[TreeNode]) -> String {
    let levels = levels(nodes);
    let mut text = String::new();
    for (index, node) in nodes.iter().enumerate() {
        let next = levels.get(index + 1).copied();
        let has_below = next.is_some_and(|next| next > levels[index]);
        let mut object = Map::new();
        object.insert("znode".to_owned(), node.path.as_str().into());
        object.insert("size".to_owned(), node.size.into());
        if let Some(reason) = &node.unreadable {
            object.insert("unreadable".to_owned(), reason.as_str().into());
        } else if !has_below {
            let children = if node.children > 0 { node.children.into() } else { Value::Array(Vec::new()) };
            object.insert("children".to_owned(), children);
        }
        let own = Value::Object(object).to_string();
        if has_below {
            text += &own[..own.len() - 1];
            text += ",\"children\":[";
            continue;
        }
        text += &own;
        for _ in next.unwrap_or(0)..levels[index] {
            text += "]}";
        }
        if next.is_some() {
            text.push(',');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodePath;

    fn tree() -> Vec<TreeNode> {
        let node = |path: &str, children| TreeNode {
            path: NodePath::parse(path).unwrap(),
            size: path.len() as u64,
            children,
            unreadable: None,
        };
        vec![
            node("/s", 3),
            node("/s/a", 1),
            node("/s/a/b", 1),
            node("/s/a/b/c", 0),
            node("/s/m", 0),
            node("/s/z", 2),
            node("/s/z/x", 0),
            node("/s/z/y", 7),
        ]
    }

    #[test]
    fn a_tree_is_drawn_as_people_know_it() {
        let expected = "/s\n├── a\n│   └── b\n│       └── c\n├── m\n└── z\n    ├── x\n    └── y  … 7 below\n";
        assert_eq!(drawn(&tree(), false), expected);
        assert_eq!(drawn(&tree()[..1], true), "[      2]  /s  … 3 below\n");
        assert_eq!(drawn(&[], false), "");
    }

    #[test]
    fn json_nests_as_the_nodes_do() {
        let parsed: Value = serde_json::from_str(&json(&tree())).unwrap();
        let at = |path: &str| parsed.pointer(path).cloned().unwrap_or_default();
        assert_eq!(at("/children/0/children/0/children/0/znode"), "/s/a/b/c");
        assert_eq!(at("/children/0/children/0/children/0/children"), Value::Array(Vec::new()));
        assert_eq!(at("/children/1/znode"), "/s/m");
        assert_eq!(
            (at("/children/2/children/1/children"), at("/children/2/children/1/size")),
            (7.into(), 6.into())
        );
        assert_eq!(at("/children").as_array().map(Vec::len), Some(3));
    }
}
