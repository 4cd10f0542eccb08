//! What changed between two trees.

use super::*;
use crate::model::TransactionId;

#[test]
fn changes_are_what_leads_from_one_tree_to_the_other() {
    let (mut bench, first) = Bench::with_two_nodes();
    assert_eq!(changes(first.load()), ["load /t", "load /t/a"]);
    assert_eq!(changes(first.changes_since(&first)), [""; 0]);
    bench.children("/t", &["a", "b"]);
    bench.node("/t/b", &[]);
    let second = bench.tree();
    assert_eq!(changes(second.changes_since(&first)), ["created /t/b"]);
    assert_eq!(changes(first.changes_since(&second)), ["deleted /t/b"]);
    bench.data("/t/a", version(2, 5), b"");
    bench.data("/t", version(1, 5), b"");
    let third = bench.tree();
    assert_eq!(changes(third.changes_since(&second)), ["changed /t", "created /t/a"]);
    let change = &third.changes_since(&first)[0];
    assert_eq!(change.now.as_ref().map(|now| (now.version, now.piece.start)), Some((5, 0)));
}

// In a directory its incarnation is counted anew whenever it is followed anew.
#[test]
fn a_node_that_was_dropped_and_came_back_was_created_whatever_its_version_says() {
    let mut bench = Bench::new(DIRECTORY);
    bench.follow("/t", Facet::Tree);
    bench.node("/t", &["a"]);
    bench.node("/t/a", &[]);
    let first = bench.tree();
    bench.children("/t", &[]);
    bench.children("/t", &["a"]);
    bench.node("/t/a", &[]);
    assert_eq!(changes(bench.tree().changes_since(&first)), ["created /t/a"]);
}

#[test]
fn the_origin_of_a_tree_is_the_latest_change_among_its_nodes() {
    let mut bench = Bench::with_two_nodes().0;
    let change = |bench: &mut Bench, node: &str, zxid, at| {
        let origin = Origin { transaction: Some(TransactionId::Zxid(zxid)), at };
        let (version, content) = (version(1, zxid), NodeContent::Data(node.as_bytes().into()));
        bench.route(node, NodeFacet::Data, Observation::Present { version, origin, content });
        match bench.said() {
            State::Present { origin, .. } => (origin.transaction, origin.at),
            State::Absent => panic!("no tree"),
        }
    };
    let zxid = |id| Some(TransactionId::Zxid(id));
    assert_eq!(change(&mut bench, "/t/a", 5, Some(50)), (zxid(5), Some(50)));
    assert_eq!(change(&mut bench, "/t", 9, None), (zxid(9), None));
    assert_eq!(change(&mut bench, "/t/a", 7, Some(70)), (zxid(9), None), "an older one");
    // The server was restored to an earlier state.
    bench.trees.connected();
    bench.node("/t", &["a"]);
    bench.data("/t/a", version(1, 3), b"");
    bench.children("/t/a", &[]);
    bench.within(DEBOUNCE);
    assert_eq!(change(&mut bench, "/t", 4, Some(40)), (zxid(4), Some(40)));
}
