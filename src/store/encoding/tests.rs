use proptest::prelude::*;

use super::*;
use crate::content::read;
use crate::model::TransactionId;
use crate::sys;

type Event = StoreEvent<StateHeader>;

fn path(path: &str) -> NodePath {
    NodePath::parse(path).unwrap()
}

fn observed<S>(node: &str, facet: Facet, state: S) -> StoreEvent<S> {
    StoreEvent::Observed { subject: Subject { path: path(node), facet }, state }
}

fn version(revision: i64) -> Version {
    Version { incarnation: i64::MIN, revision, number: -1 }
}

fn present(node: &str, content: Content) -> StoreEvent {
    let origin = Origin { transaction: Some(TransactionId::Zxid(i64::MIN)), at: Some(i64::MAX) };
    observed(node, content.facet(), State::Present { version: version(i64::MAX), origin, content })
}

/// The content of a tree of these nodes, which are sorted.
fn tree(root: &str, nodes: &[(&str, i64, &[u8])]) -> Content {
    let root = path(root);
    let mut tree = TreeWriter::new(&root);
    for (node, revision, data) in nodes {
        let node = TreeNode { path: path(node), version: version(*revision), born: *revision as u64 };
        tree.add(Arc::new(node), data).unwrap();
    }
    tree.finish().unwrap()
}

fn tree_of(event: &StoreEvent) -> (&Arc<Tree>, &Blob) {
    match event {
        StoreEvent::Observed {
            state: State::Present { content: Content::Tree { tree, blob }, .. }, ..
        } => (tree, blob),
        other => panic!("no tree: {other:?}"),
    }
}

/// Another process decodes it.
fn sent(event: StoreEvent) -> Result<StoreEvent, DecodeError> {
    let (header, blob) = event.encode();
    let json = serde_json::to_string(&header).unwrap();
    serde_json::from_str::<Event>(&json).unwrap().decode(blob, None)
}

#[test]
fn an_observed_state_survives_the_way_to_another_process() {
    let long = vec![b'x'; 3 * Blob::MAX_INLINE];
    for content in [
        Content::Data(Blob::default()),
        Content::Data((*b"\0\xff\n").into()),
        Content::Data(sys::seal(long.clone().into())),
        Content::sample_children(&[]),
        Content::sample_children(&["a", "\u{fc}"]),
        Content::Members { object: b"{}\n".as_slice().into(), count: 0 },
        Content::Members { object: b"{\"a\":{},\"b\":null}\n".as_slice().into(), count: 2 },
        tree("/", &[("/", 1, b"root")]),
        tree("/", &[("/", 1, b""), ("/a", 2, b"\xff"), ("/a-b", 3, b"x"), ("/a/b", 4, b"")]),
        tree("/t/u", &[("/t/u", 1, b""), ("/t/u/a", 2, &long), ("/t/u/\u{fc}", 3, b"x")]),
    ] {
        let node = match &content {
            Content::Tree { tree, .. } => tree.nodes()[0].path.to_string(),
            Content::Data(_) | Content::Children { .. } | Content::Members { .. } => "/n".to_owned(),
        };
        let event = present(&node, content);
        assert_eq!(sent(event.clone()).unwrap(), event);
    }
}

#[test]
fn the_blob_of_a_tree_has_a_piece_for_each_node() {
    let event = sent(present("/t", tree("/t", &[("/t", 1, b""), ("/t/a", 2, b"one"), ("/t/b", 3, b"\n")])));
    let event = event.unwrap();
    let (tree, blob) = tree_of(&event);
    let blob = read(blob).unwrap();
    let pieces: Vec<&[u8]> =
        tree.entries().map(|(_, piece)| &blob[piece.start as usize..piece.end as usize]).collect();
    let expected: [&[u8]; 3] = [
        b"\"size\":0,\"text\":\"\"}\n",
        b"\"size\":3,\"text\":\"one\"}\n",
        b"\"size\":1,\"text\":\"\\n\"}\n",
    ];
    assert_eq!(pieces, expected);
    assert_eq!((tree.data_bytes(), tree.nodes_below()), (4, 2));
}

#[test]
fn a_tree_shares_the_nodes_that_the_one_before_had() {
    let before =
        present("/t", tree("/t", &[("/t", 1, b""), ("/t/a", 2, b""), ("/t/b", 3, b""), ("/t/d", 3, b"")]));
    let now = tree("/t", &[("/t", 1, b""), ("/t/b", 4, b""), ("/t/c", 1, b""), ("/t/d", 3, b"")]);
    let (header, blob) = present("/t", now).encode();
    let (before, _) = tree_of(&before);
    let now = header.decode(blob, Some(before)).unwrap();
    let (now, _) = tree_of(&now);
    let is_shared = |node: &Arc<TreeNode>| before.nodes().iter().any(|was| Arc::ptr_eq(was, node));
    assert_eq!(now.nodes().iter().map(is_shared).collect::<Vec<_>>(), [true, false, false, true]);
}

#[test]
fn what_no_honest_process_sends_is_an_error() {
    let data = || StateHeader::Present {
        version: version(1),
        origin: Origin::UNKNOWN,
        content: ContentHeader::Data,
    };
    let with = |content| StateHeader::Present { version: version(1), origin: Origin::UNKNOWN, content };
    let deletion = || StateHeader::Present {
        version: Version::DELETION,
        origin: Origin::UNKNOWN,
        content: ContentHeader::Data,
    };
    let blob = |bytes: &[u8]| Some(Blob::from(bytes));
    let event = |facet, state| observed("/n", facet, state);
    let other = || Event::MissedChange { subject: Subject { path: path("/n"), facet: Facet::Data } };
    for (header, blob, expected) in [
        (event(Facet::Data, StateHeader::Absent), blob(b""), "no blob"),
        (other(), blob(b""), "no blob"),
        (event(Facet::Data, data()), None, "no blob"),
        (event(Facet::Children, data()), blob(b""), "facet"),
        (event(Facet::Tree, data()), blob(b""), "facet"),
        (event(Facet::Data, with(ContentHeader::Children { count: 0 })), blob(b""), "facet"),
        (event(Facet::Data, deletion()), blob(b""), "deletion"),
        (event(Facet::Children, with(ContentHeader::Children { count: 2 })), blob(b"a\n\n"), "counts"),
        (event(Facet::Children, with(ContentHeader::Children { count: u64::MAX })), blob(b""), "counts"),
        (event(Facet::Data, with(ContentHeader::Members { count: 0 })), blob(b"{}\n"), "facet"),
        (event(Facet::Members, with(ContentHeader::Children { count: 0 })), blob(b""), "facet"),
        (event(Facet::Members, with(ContentHeader::Members { count: 0 })), blob(b"{}"), "counts"),
        (
            event(Facet::Members, with(ContentHeader::Members { count: 2 })),
            blob(b"{\"a\":{},\"b\":{\n"),
            "counts",
        ),
        (event(Facet::Members, with(ContentHeader::Members { count: u64::MAX })), blob(b"{}\n"), "counts"),
    ] {
        let error = header.clone().decode(blob, None).expect_err(&format!("{header:?}")).to_string();
        assert!(error.contains(expected), "{header:?}: {error}");
    }
    for json in [
        r#"{"Observed":{"subject":{"path":"/a/../b","facet":"Data"},"state":"Absent"}}"#,
        r#"{"Observed":{"subject":{"path":"/a","facet":"Data"},"state":{"Present":{}}}}"#,
        r#"{"MissedChange":{"subject":{"path":"a","facet":"Data"}}}"#,
    ] {
        assert!(serde_json::from_str::<Event>(json).is_err(), "{json}");
    }
}

/// An index of these paths, each with its version and the length of its piece.
fn index(nodes: &[(&[u8], u64)]) -> Vec<u8> {
    let mut index = Vec::new();
    for (path, piece_len) in nodes {
        let path_len = path.len() as u32;
        Record { path_len, version: version(1), born: 1, piece_len: *piece_len }.write(&mut index);
        index.extend(*path);
    }
    index
}

#[test]
fn an_index_that_lies_is_an_error() {
    let decode = |nodes, data_bytes, start, index: &[u8], pieces: usize| {
        let content = ContentHeader::Tree { nodes, data_bytes, index: start };
        let header = observed(
            "/t",
            Facet::Tree,
            StateHeader::Present { version: version(1), origin: Origin::UNKNOWN, content },
        );
        header.decode(Some([&vec![b'x'; pieces], index].concat().into()), None)
    };
    let two = index(&[(b"/", 2), (b"/a", 3)]);
    assert!(decode(2, 5, 5, &two, 5).is_ok());
    for (what, nodes, data_bytes, start, index, pieces) in [
        ("too few nodes", 1, 5, 5, two.clone(), 5),
        ("too many nodes", 3, 5, 5, two.clone(), 5),
        ("far too many nodes", u64::MAX, 5, 5, two.clone(), 5),
        ("no nodes", 0, 0, 0, Vec::new(), 0),
        ("more data than pieces", 2, 6, 5, two.clone(), 5),
        ("an index beyond the blob", 2, 5, u64::MAX, two.clone(), 5),
        ("an index elsewhere", 2, 4, 4, two.clone(), 5),
        ("pieces that are too long", 2, 5, 5, index(&[(b"/", 2), (b"/a", 4)]), 5),
        ("pieces that overflow", 2, 5, 5, index(&[(b"/", 6), (b"/a", u64::MAX)]), 5),
        ("another root", 2, 5, 5, index(&[(b"/a", 2), (b"/b", 3)]), 5),
        ("the root twice", 2, 5, 5, index(&[(b"/", 2), (b"/", 3)]), 5),
        ("a node twice", 3, 5, 5, index(&[(b"/", 2), (b"/a", 3), (b"/a", 0)]), 5),
        ("another order", 3, 5, 5, index(&[(b"/", 2), (b"/b", 3), (b"/a", 0)]), 5),
        ("a way out", 2, 5, 5, index(&[(b"/", 2), (b"/../b", 3)]), 5),
        ("a relative path", 2, 5, 5, index(&[(b"/", 2), (b"a", 3)]), 5),
        ("an empty path", 2, 5, 5, index(&[(b"", 2), (b"/a", 3)]), 5),
        ("a newline", 2, 5, 5, index(&[(b"/", 2), (b"/a\n", 3)]), 5),
        ("no text", 2, 5, 5, index(&[(b"/", 2), (b"/\xff", 3)]), 5),
        ("a cut path", 2, 5, 5, two[..two.len() - 1].to_vec(), 5),
        ("a cut record", 2, 5, 5, two[..RECORD_BYTES].to_vec(), 5),
    ] {
        assert!(decode(nodes, data_bytes, start, &index, pieces).is_err(), "{what}");
    }
    let zeros = vec![0; 1 << 20];
    assert!(decode(MAX_TREE_NODES as u64, 0, 0, &zeros, 0).is_err());
}

fn any_tree() -> impl Strategy<Value = Vec<(String, i64, Vec<u8>)>> {
    let node = ("(/[a-c\u{fc}]{1,2}){1,3}", any::<i64>(), prop::collection::vec(any::<u8>(), 0..9));
    prop::collection::btree_map(node.0, (node.1, node.2), 0..9)
        .prop_map(|nodes| nodes.into_iter().map(|(path, (revision, data))| (path, revision, data)).collect())
}

fn encoded(nodes: &[(String, i64, Vec<u8>)]) -> (StoreEvent, Event, Vec<u8>) {
    let below: Vec<_> = nodes.iter().map(|(path, ..)| format!("/t{path}")).collect();
    let nodes = below.iter().zip(nodes).map(|(path, (_, revision, data))| (&**path, *revision, &**data));
    let nodes: Vec<_> = [("/t", 0, b"".as_slice())].into_iter().chain(nodes).collect();
    let event = present("/t", tree("/t", &nodes));
    let (header, blob) = event.clone().encode();
    (event, header, read(&blob.unwrap()).unwrap().into_owned())
}

/// Looks at all of a tree that was decoded.
fn check(event: &StoreEvent) {
    let (tree, blob) = tree_of(event);
    assert_eq!(tree.nodes()[0].path, path("/t"));
    assert!(tree.nodes().is_sorted_by(|a, b| a.path < b.path));
    for (node, piece) in tree.entries() {
        assert!(node.path.as_str() == "/t" || node.path.as_str().starts_with("/t/"));
        assert_eq!(NodePath::parse(node.path.as_str()).as_ref(), Ok(&node.path));
        assert!(piece.start <= piece.end && piece.end <= blob.len());
    }
    assert!(tree.data_bytes() <= blob.len());
}

proptest! {
    #[test]
    fn every_tree_survives_the_way_to_another_process(nodes in any_tree()) {
        let (event, ..) = encoded(&nodes);
        prop_assert_eq!(&sent(event.clone()).unwrap(), &event);
        check(&event);
    }

    #[test]
    fn any_bytes_are_an_error_or_a_valid_tree(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        nodes: u64,
        data_bytes: u64,
        index: u64,
    ) {
        let len = bytes.len() as u64 + 1;
        let (nodes, data_bytes, index) = (nodes % 9, data_bytes % len, index % len);
        let content = ContentHeader::Tree { nodes, data_bytes, index };
        let state = StateHeader::Present { version: version(1), origin: Origin::UNKNOWN, content };
        let header = observed("/t", Facet::Tree, state);
        if let Ok(event) = header.decode(Some(bytes.into()), None) {
            check(&event);
        }
    }

    #[test]
    fn a_damaged_tree_is_an_error_or_a_valid_tree(
        nodes in any_tree(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in 0usize..3,
    ) {
        let (_, header, mut bytes) = encoded(&nodes);
        for (place, byte) in damage {
            *place.get_mut(&mut bytes) = byte;
        }
        bytes.truncate(bytes.len() - cut);
        if let Ok(event) = header.decode(Some(bytes.into()), None) {
            check(&event);
        }
    }
}
