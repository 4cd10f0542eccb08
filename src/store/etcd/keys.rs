//! The keys of nodes. Most are the node's path below the prefix; those of tables and their [rows](Row) are
//! binary, and know no prefix.

use hyper::body::Bytes;

use super::row::{Found, Row};
use super::wire::messages::RangeRequest;
use crate::model::NodePath;

/// What is before each node's path in its key.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: NodePath,
}

/// Some keys that follow one another. Without an end, it is one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyRange {
    pub(super) first: Bytes,
    /// The first key that does not belong to it; empty if it is one key.
    pub(super) end: Bytes,
}

impl KeyRange {
    /// Returns a read of all of it.
    pub(super) fn request(self) -> RangeRequest {
        RangeRequest { key: self.first, range_end: self.end, ..Default::default() }
    }
}

impl Keys {
    pub(super) fn new(prefix: NodePath) -> Self {
        Self { prefix }
    }

    /// Returns the key of a node, or `None` if it has none: the root where there is no prefix, since no key
    /// is empty, and most tables.
    pub(super) fn key(&self, node: &NodePath) -> Option<Bytes> {
        if let Some(row) = Row::parse(node) {
            return row.ok()?.key().map(Bytes::from);
        }
        match node.below(&self.prefix) {
            root if root.as_str() == "/" => None,
            path => Some(Bytes::copy_from_slice(path.as_str().as_bytes())),
        }
    }

    /// Whether a node is there although it has no key and none below it: the root, as in every other store.
    /// With a prefix, the root is a node like any other.
    pub(super) fn needs_no_key(&self, node: &NodePath) -> bool {
        node.as_str() == "/" && self.key(node).is_none()
    }

    /// Returns the range of a node's own key.
    pub(super) fn own(&self, node: &NodePath) -> Option<KeyRange> {
        self.key(node).map(|first| KeyRange { first, end: Bytes::new() })
    }

    /// Returns the range that the keys below a node are in, if there can be any. Not every key in it is that
    /// of a node below it: [`Self::find`] tells.
    pub(super) fn below(&self, node: &NodePath) -> Option<KeyRange> {
        if let Some(row) = Row::parse(node) {
            let (first, end) = row.ok()?.below()?;
            return Some(KeyRange { first: first.into(), end: end.into() });
        }
        let path = node.below(&self.prefix);
        let path = path.as_str().strip_suffix('/').unwrap_or(path.as_str());
        Some(KeyRange { first: format!("{path}/").into(), end: format!("{path}{AFTER_SLASH}").into() })
    }

    /// Returns what a key is that lies in the ranges of `node`.
    pub(super) fn find(&self, node: &NodePath, key: &[u8]) -> Found {
        match Row::parse(node) {
            Some(Ok(row)) => row.find(key),
            Some(Err(_)) => Found::NoNode,
            None => {
                let found = self.plain_node(key).filter(|found| found.is_at_or_below(node));
                found.map_or(Found::NoNode, Found::Node)
            }
        }
    }

    /// Returns the node with this key that is no row. A key with the text of a row's path is none: the path
    /// would lead to the row.
    fn plain_node(&self, key: &[u8]) -> Option<NodePath> {
        let node = NodePath::parse(std::str::from_utf8(key).ok()?).ok()?.above(&self.prefix)?;
        Row::parse(&node).is_none().then_some(node)
    }

    /// Returns the first key after `key` and after all others that are below the same child of `node`, where
    /// they follow one another.
    pub(super) fn after_child(&self, node: &NodePath, below: &KeyRange, key: &[u8]) -> Bytes {
        match Row::parse(node) {
            Some(row) => {
                row.ok().and_then(|row| row.after_child(key)).map_or_else(|| after(key), Bytes::from)
            }
            None => after_child(below, key),
        }
    }

    /// Sorts nodes by their keys, each before those below it, if they are a table and its rows.
    pub(super) fn sort_rows<T>(nodes: &mut [T], path: impl Fn(&T) -> &NodePath) {
        nodes.sort_by_cached_key(|node| Row::parse(path(node)).and_then(Result::ok).map(Row::into_parts));
    }

    /// Whether a node is a table or a row.
    pub(super) fn is_row(node: &NodePath) -> bool {
        Row::parse(node).is_some()
    }
}

/// The character after `/`, so that this ends the range of keys that begin with a path and `/`.
const AFTER_SLASH: char = '0';

/// Returns the first key after `key`.
pub(super) fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// Returns the first key that is not below the child of `below` that `key` is or is below.
fn after_child(below: &KeyRange, key: &[u8]) -> Bytes {
    let name_start = below.first.len();
    match key.get(name_start..).and_then(|rest| rest.iter().position(|byte| *byte == b'/')) {
        Some(length) => [&key[..name_start + length], AFTER_SLASH.to_string().as_bytes()].concat().into(),
        None => after(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::row::mistake;

    fn path(path: &str) -> NodePath {
        NodePath::parse(path).unwrap()
    }

    #[test]
    fn a_node_has_one_key_and_a_range_below_it() {
        for (prefix, node, key, first, end) in [
            ("/", "/", None, "/", "0"),
            ("/", "/a", Some("/a"), "/a/", "/a0"),
            ("/", "/a/b", Some("/a/b"), "/a/b/", "/a/b0"),
            ("/p", "/", Some("/p"), "/p/", "/p0"),
            ("/p/q", "/a", Some("/p/q/a"), "/p/q/a/", "/p/q/a0"),
        ] {
            let keys = Keys::new(path(prefix));
            assert_eq!(keys.key(&path(node)).as_deref(), key.map(str::as_bytes), "{prefix} {node}");
            let below = keys.below(&path(node)).unwrap();
            assert_eq!((&below.first[..], &below.end[..]), (first.as_bytes(), end.as_bytes()));
            let node_of = |key: &str| keys.find(&path(node), key.as_bytes());
            assert_eq!(key.map(node_of), key.map(|_| Found::Node(path(node))));
        }
    }

    #[test]
    fn a_key_that_is_no_path_is_no_node() {
        let keys = Keys::new(path("/p"));
        let root = path("/");
        for key in [&b"/p/\xff"[..], b"/p/a//b", b"/p/a/", b"/p/a\n", b"/q/a", b"/pa", b"", b"p/a", b"/p/.."]
        {
            assert_eq!(keys.find(&root, key), Found::NoNode, "{key:?}");
        }
        // Its path would be that of a row, or of a mistaken one.
        for key in ["/p/@4:oid/1", "/p/@4:oid", "/p/@4:x/y"] {
            assert_eq!(keys.find(&root, key.as_bytes()), Found::NoNode, "{key}");
        }
        assert_eq!(keys.find(&root, b"/p/@x"), Found::Node(path("/@x")));
    }

    #[test]
    fn a_child_is_passed_over_with_all_below_it() {
        let (keys, a) = (Keys::new(path("/p")), path("/a"));
        let below = keys.below(&a).unwrap();
        assert_eq!(&keys.after_child(&a, &below, b"/p/a/b/c/d")[..], b"/p/a/b0");
        assert_eq!(&keys.after_child(&a, &below, b"/p/a/b")[..], b"/p/a/b\0");
        assert_eq!(&after(b"x")[..], b"x\0");
    }

    #[test]
    fn rows_have_their_own_keys_whatever_the_prefix() {
        let keys = Keys::new(path("/p"));
        let (table, row) = (path("/@4:oid"), path("/@4:oid/258"));
        let key = b"\0\x04\0\0\0\0\0\0\x01\x02";
        assert_eq!(keys.key(&row).as_deref(), Some(&key[..]));
        assert_eq!((keys.key(&table), keys.below(&row)), (None, None));
        let below = keys.below(&table).unwrap();
        assert_eq!((&below.first[..], &below.end[..]), (&b"\0\x04\0"[..], &b"\0\x05"[..]));
        assert_eq!(keys.find(&table, key), Found::Node(row.clone()));
        assert_eq!(keys.find(&row, key), Found::Node(row));
        assert_eq!(keys.find(&table, b"\0\x04no number"), Found::NoNode);
        assert_eq!(keys.find(&path("/@4:oid/1"), key), Found::Elsewhere);
        let mistaken = path("/@70000:oid/1");
        assert_eq!((keys.key(&mistaken), keys.below(&mistaken)), (None, None));
        assert!(mistake(&mistaken).unwrap().to_string().contains("slot 70000"));
        assert_eq!((mistake(&table), mistake(&path("/a"))), (None, None));
    }

    #[test]
    fn the_first_half_of_a_pair_is_passed_over_with_its_rows() {
        let keys = Keys::new(path("/"));
        let after = |table, key: &[u8]| {
            let table = path(table);
            keys.after_child(&table, &keys.below(&table).unwrap(), key).to_vec()
        };
        let key = [0, 7, 0, 0, 0, 0, 0, 0, 0, 1, b'a'];
        assert_eq!(after("/@7:oid-string", &key), [0, 7, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(after("/@7:oid-string/1", &key), [&key[..], &[0]].concat());
        assert_eq!(after("/@7:string", &key), [&key[..], &[0]].concat());
    }
}
