//! What changed between two trees.

use super::*;

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
