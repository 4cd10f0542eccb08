//! Listing a tree of nodes.

use std::fs;
use std::io;
use std::path::Path;

use super::DirectoryClient;
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::condition::{TreeNode, sort_tree};
use crate::store::directory::file;

impl DirectoryClient {
    /// Returns the node and those below it, down to `depth` levels below. Nodes that others remove meanwhile
    /// are left out.
    pub(crate) async fn tree(
        &self,
        root: &NodePath,
        depth: Option<usize>,
    ) -> Result<Vec<TreeNode>, ClientError> {
        let mut waiting = vec![(root.clone(), 0)];
        let mut nodes = Vec::new();
        while let Some((path, level)) = waiting.pop() {
            let (size, names, unreadable) = match self.look(&path) {
                Ok((size, names)) => (size, names, None),
                Err(error) if level == 0 => return Err(self.failed(&path, Right::Read, error)),
                Err(error) if file::is_absence(&error) => continue,
                Err(error) => (0, Vec::new(), Some(error.to_string())),
            };
            if depth.is_none_or(|depth| level < depth) {
                waiting.extend(names.iter().map(|name| (path.child(name), level + 1)));
            }
            nodes.push(TreeNode { path, size, children: names.len() as u64, unreadable });
        }
        sort_tree(&mut nodes);
        Ok(nodes)
    }

    /// Returns the length of the node's data and the names of its children.
    fn look(&self, node: &NodePath) -> io::Result<(u64, Vec<String>)> {
        let path = file::locate(&self.root, node)
            .map_err(|hidden| io::Error::other(format!("{hidden:?} starts with a dot and names no node")))?;
        let names = file::read_children(&self.root, &path)?.content;
        let metadata = fs::metadata::<&Path>(&path)?;
        Ok((if metadata.is_dir() { 0 } else { metadata.len() }, names))
    }
}
