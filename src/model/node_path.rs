//! Node paths.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An absolute node path such as `/git/head`, or `/`, the root. No component is empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct NodePath(Arc<str>);

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NodePathError {
    #[error("node path {0:?} is not absolute; start it with /")]
    Relative(String),
    #[error("node path {0:?} is a URL; write only the path in the store, from / on")]
    Url(String),
    #[error("node path {0:?} has an empty component; write single slashes and none at the end")]
    Empty(String),
    #[error("node path {0:?} has the component {1:?}, which names no node")]
    Dots(String, String),
    #[error("node path {0:?} has a control character")]
    Control(String),
}

impl NodePath {
    pub fn parse(path: &str) -> Result<Self, NodePathError> {
        Self::shared(path.into())
    }

    /// Makes a path of a text that others have as well.
    pub fn shared(path: Arc<str>) -> Result<Self, NodePathError> {
        let own = || path.to_string();
        let Some(rest) = path.strip_prefix('/') else {
            return Err(if path.contains("://") {
                NodePathError::Url(own())
            } else {
                NodePathError::Relative(own())
            });
        };
        if path.chars().any(char::is_control) {
            return Err(NodePathError::Control(own()));
        }
        for component in rest.split('/').filter(|_| !rest.is_empty()) {
            match component {
                "" => return Err(NodePathError::Empty(own())),
                "." | ".." => return Err(NodePathError::Dots(own(), component.to_owned())),
                _ => {}
            }
        }
        Ok(Self(path))
    }

    /// Takes `path` as a node path without a check, for text that is derived from a node path, or that is
    /// only compared with node paths.
    pub(crate) fn unchecked(path: &str) -> Self {
        Self(path.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns this path below `root`: `/head` below `/git` is `/git/head`.
    pub(crate) fn below(&self, root: &NodePath) -> NodePath {
        match (root.as_str(), self.as_str()) {
            ("/", _) => self.clone(),
            (_, "/") => root.clone(),
            (root, path) => Self(format!("{root}{path}").into()),
        }
    }

    /// Returns the path that is this one [below](Self::below) `root`, which is this node or one above it.
    pub(crate) fn relative_to(&self, root: &NodePath) -> &str {
        match (root.as_str(), self.as_str()) {
            ("/", path) => path,
            (root, path) => match path.strip_prefix(root) {
                None | Some("") => "/",
                Some(below) => below,
            },
        }
    }

    /// Returns this path as it is below `root`, or `None` if it is elsewhere. This is the opposite of
    /// [`Self::below`].
    pub(crate) fn above(&self, root: &NodePath) -> Option<NodePath> {
        match (root.as_str(), self.as_str().strip_prefix(root.as_str())?) {
            ("/", _) => Some(self.clone()),
            (_, "") => Some(Self("/".into())),
            (_, rest) => rest.starts_with('/').then(|| Self(rest.into())),
        }
    }

    /// Returns the path of this node's child `name`.
    pub(crate) fn child(&self, name: &str) -> NodePath {
        Self(match self.as_str() {
            "/" => format!("/{name}").into(),
            path => format!("{path}/{name}").into(),
        })
    }

    /// Returns the path of this node's parent, or `None` for the root.
    pub(crate) fn parent(&self) -> Option<&str> {
        let (parent, name) = self.as_str().rsplit_once('/')?;
        (!name.is_empty()).then_some(if parent.is_empty() { "/" } else { parent })
    }

    /// Returns true if this node is `root` or a node below it.
    pub(crate) fn is_at_or_below(&self, root: &NodePath) -> bool {
        let rest = self.0.strip_prefix(root.as_str());
        root.as_str() == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns this path and those of its parents, from the root down.
    pub(crate) fn self_and_ancestors(&self) -> impl Iterator<Item = &str> {
        let path = self.as_str();
        let parents = path.match_indices('/').map(|(end, _)| if end == 0 { "/" } else { &path[..end] });
        parents.chain((path != "/").then_some(path))
    }

    /// Returns the components from the root down. `/` has none.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }
}

/// Returns the names of `names`, as a store lists them, that can be part of a node path, sorted and each
/// once. Actions read children line by line, so a name with a newline would count as two.
pub(crate) fn children(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| {
        NodePath::parse(&format!("/{name}")).is_ok() && !name.is_empty() && !name.contains('/')
    });
    names.sort_unstable();
    names.dedup();
    names
}

impl TryFrom<String> for NodePath {
    type Error = NodePathError;

    fn try_from(path: String) -> Result<Self, NodePathError> {
        Self::parse(&path)
    }
}

/// A path compares and hashes like its text.
impl Borrow<str> for NodePath {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_path_is_absolute_and_has_only_named_components() {
        for good in ["/", "/git", "/git/head", "/a.b/..c", "/ü/ß"] {
            assert_eq!(NodePath::parse(good).unwrap().as_str(), good);
        }
        let error = |path| NodePath::parse(path).unwrap_err();
        assert_eq!(error("git"), NodePathError::Relative("git".into()));
        assert_eq!(error(""), NodePathError::Relative("".into()));
        assert_eq!(error("//"), NodePathError::Empty("//".into()));
        assert_eq!(error("/git/"), NodePathError::Empty("/git/".into()));
        assert_eq!(error("/a/../b"), NodePathError::Dots("/a/../b".into(), "..".into()));
        assert_eq!(error("/."), NodePathError::Dots("/.".into(), ".".into()));
        assert_eq!(error("/a\0b"), NodePathError::Control("/a\0b".into()));
    }

    #[test]
    fn what_another_process_sends_as_a_path_is_checked() {
        let read = |json: &str| serde_json::from_str::<NodePath>(json);
        assert_eq!(read(r#""/git/head""#).unwrap().as_str(), "/git/head");
        for bad in [r#""git""#, r#""/a/../b""#, r#""/a/""#, r#""/a\n""#, r#""""#, "7"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_can_be_part_of_a_path_is_a_child() {
        let listed = ["b", "", "a/b", "c\nd", ".", "..", "a", "b", "..c", "\u{1b}"].map(String::from);
        assert_eq!(children(listed.into()), ["..c", "a", "b"]);
    }

    #[test]
    fn a_node_is_below_its_parents_and_not_below_one_whose_name_begins_like_theirs() {
        let path = |path| NodePath::parse(path).unwrap();
        let deep = path("/git/head");
        let all: Vec<_> = deep.self_and_ancestors().collect();
        assert_eq!(all, ["/", "/git", "/git/head"]);
        assert!(all.iter().all(|root| deep.is_at_or_below(&path(root))));
        for other in ["/g", "/git/h", "/git/head/a", "/other"] {
            assert!(!deep.is_at_or_below(&path(other)), "{other}");
        }
    }

    #[test]
    fn a_chroot_is_put_before_a_path() {
        let path = |path| NodePath::parse(path).unwrap();
        assert_eq!(path("/head").below(&path("/")), path("/head"));
        assert_eq!(path("/head").below(&path("/git")), path("/git/head"));
        assert_eq!(path("/").below(&path("/git")), path("/git"));
        assert_eq!(path("/").below(&path("/")), path("/"));
        for (node, root, relative) in [("/", "/", "/"), ("/git", "/", "/git"), ("/git", "/git", "/")] {
            assert_eq!(path(node).relative_to(&path(root)), relative);
            assert_eq!(path(relative).below(&path(root)), path(node));
        }
        assert_eq!(path("/git/head").relative_to(&path("/git")), "/head");
        for (whole, root, inner) in [
            ("/git/head", "/git", Some("/head")),
            ("/git", "/git", Some("/")),
            ("/git/head", "/", Some("/git/head")),
            ("/", "/", Some("/")),
            ("/github", "/git", None),
            ("/", "/git", None),
        ] {
            assert_eq!(path(whole).above(&path(root)), inner.map(path));
        }
        assert_eq!(path("/").child("git"), path("/git"));
        assert_eq!(path("/git").child("head"), path("/git/head"));
        assert_eq!(path("/").self_and_ancestors().collect::<Vec<_>>(), ["/"]);
        assert_eq!(path("/git/head").self_and_ancestors().collect::<Vec<_>>(), ["/", "/git", "/git/head"]);
        assert_eq!(path("/").components().count(), 0);
        assert_eq!(path("/git/head").components().collect::<Vec<_>>(), ["git", "head"]);
    }
}
