//! The members of services.

use super::*;

impl Bench {
    /// The members that there are to say, as JSON, with their version.
    #[track_caller]
    fn members(&mut self) -> (String, Version) {
        match <[_; 1]>::try_from(self.within(DEBOUNCE)) {
            Ok([StoreEvent::Observed { subject, state: State::Present { version, content, .. } }]) => {
                assert_eq!(subject, super::subject("/s", Facet::Members));
                let text = content::read(content.blob()).unwrap().into_owned();
                assert!(matches!(content, Content::Members { .. }));
                (String::from_utf8(text).unwrap(), version)
            }
            other => panic!("not one state: {other:?}"),
        }
    }

    /// `/s` with the members `a` and `b`, given.
    fn with_two_members() -> (Self, Version) {
        let mut bench = Self::new(ZOOKEEPER);
        bench.follow("/s", Facet::Members);
        bench.children("/s", &["a", "b"]);
        bench.data("/s/a", version(2, 2), b"{\"n\": 1}");
        bench.data("/s/b", version(3, 3), b"");
        let (text, version) = bench.members();
        assert_eq!(text, "{\"a\":{\"n\":1},\"b\":null}\n");
        bench.commands();
        (bench, version)
    }
}

#[test]
fn members_take_the_list_and_the_data_of_each_and_nothing_else() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/s", Facet::Members);
    assert_eq!(bench.commands(), ["+Children /s"]);
    bench.children("/s", &["a", "b"]);
    assert_eq!(bench.commands(), ["+Data /s/a", "+Data /s/b"]);
    bench.data("/s/b", version(3, 3), b"x");
    bench.silent();
    bench.data("/s/a", version(2, 2), b"\xff\0");
    let (text, said) = bench.members();
    let expected = r#"{"a":{"string_value":{"$bytes":"/wA="}},"b":{"string_value":"x"}}"#;
    assert_eq!((text.trim_end(), said.incarnation), (expected, 1));
    bench.leave("/s", Facet::Members);
    assert_eq!(bench.commands(), ["-Children /s", "-Data /s/a", "-Data /s/b"]);
    bench.silent();
}

#[test]
fn a_member_that_came_is_waited_for_and_one_that_went_is_not_given() {
    let (mut bench, first) = Bench::with_two_members();
    bench.children("/s", &["a", "b", "c"]);
    bench.silent();
    bench.data("/s/c", version(4, 4), b"{}");
    assert_eq!(bench.members().0, "{\"a\":{\"n\":1},\"b\":null,\"c\":{}}\n");
    // It goes: the list and the member tell of it, in any order.
    bench.trees.outdated(&node_subject("/s", NodeFacet::Children));
    bench.route("/s/c", NodeFacet::Data, Observation::Absent);
    bench.silent();
    bench.children("/s", &["a", "b"]);
    assert_eq!(bench.members(), ("{\"a\":{\"n\":1},\"b\":null}\n".to_owned(), first));
}

// A transaction replaces one by another.
#[test]
fn while_the_list_is_read_nothing_is_given_however_long() {
    let (mut bench, _) = Bench::with_two_members();
    bench.trees.outdated(&node_subject("/s", NodeFacet::Children));
    for revision in 4..20 {
        bench.data("/s/a", version(2, revision), b"{\"n\": 2}");
        bench.silent();
    }
    bench.children("/s", &["a", "c"]);
    bench.silent();
    bench.data("/s/c", version(30, 30), b"");
    assert_eq!(bench.members().0, "{\"a\":{\"n\":2},\"c\":null}\n");
}

#[test]
fn a_link_to_nowhere_is_no_member_and_is_not_waited_for_for_ever() {
    let (mut bench, first) = Bench::with_two_members();
    bench.children("/s", &["a", "b", "link"]);
    bench.route("/s/link", NodeFacet::Data, Observation::Absent);
    assert!(bench.within(COHERENCE_TIMEOUT / 2).is_empty());
    let events = bench.within(COHERENCE_TIMEOUT / 2);
    let [StoreEvent::Observed { state: State::Present { version, .. }, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*version, first);
}

#[test]
fn what_the_members_say_is_one_version_however_often_they_are_written_or_created() {
    let (mut bench, first) = Bench::with_two_members();
    bench.data("/s/a", version(2, 9), b"{\"n\":1}");
    assert_eq!(bench.members().1, first);
    bench.children("/s", &["b"]);
    assert!(!bench.members().1.is_same_state(first));
    bench.children("/s", &["a", "b"]);
    bench.data("/s/a", version(50, 50), b"{\"n\": 1 }");
    assert_eq!(bench.members().1, first);
    bench.data("/s/a", version(50, 51), b"{\"n\":2}");
    let (_, second) = bench.members();
    assert!(!second.is_same_state(first) && second.number > 0 && second.number == second.revision);
    // The version of the next daemon is the same, in this release and in the next.
    assert_eq!(first.number, 9_210_789_661_800_486_006);
}

#[test]
fn a_member_that_cannot_be_read_is_named_and_none_is_left_out() {
    let (mut bench, first) = Bench::with_two_members();
    bench.unreadable("/s/b", NodeFacet::Data);
    let events = bench.within(DEBOUNCE);
    let [StoreEvent::Unreadable { subject, reason }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((subject.facet, &**reason), (Facet::Members, r#""/s/b": locked"#));
    bench.data("/s/a", version(2, 9), b"{}");
    bench.silent();
    bench.data("/s/a", version(2, 10), b"{\"n\":1}");
    bench.data("/s/b", version(3, 3), b"");
    assert_eq!(bench.members().1, first);
}

#[test]
fn a_missing_service_is_absent_and_a_session_reads_all_anew() {
    let mut bench = Bench::new(ZOOKEEPER);
    bench.follow("/s", Facet::Members);
    bench.route("/s", NodeFacet::Children, Observation::Absent);
    let absent = StoreEvent::Observed { subject: subject("/s", Facet::Members), state: State::Absent };
    assert_eq!(bench.within(DEBOUNCE), std::slice::from_ref(&absent));
    bench.children("/s", &["a"]);
    bench.data("/s/a", version(2, 2), b"");
    let (_, first) = bench.members();
    bench.trees.connected();
    bench.children("/s", &["a"]);
    bench.silent();
    bench.data("/s/a", version(2, 2), b"");
    assert_eq!(bench.members().1, first);
    bench.route("/s", NodeFacet::Children, Observation::Absent);
    assert_eq!(bench.within(DEBOUNCE), [absent]);
    // Another node, with the same members.
    let content = NodeContent::Children(["a".to_owned()].into());
    bench.route(
        "/s",
        NodeFacet::Children,
        Observation::Present { version: version(9, 9), origin: Default::default(), content },
    );
    bench.data("/s/a", version(10, 10), b"");
    let (_, second) = bench.members();
    assert_eq!((second.incarnation, second.revision), (9, first.revision));
}

#[test]
fn too_many_members_or_too_much_of_them_is_unreadable_until_there_is_less() {
    let (mut bench, first) = Bench::with_two_members();
    let names: Vec<String> = (0..=MAX_TREE_NODES).map(|n| format!("{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.children("/s", &names);
    let trouble = |bench: &mut Bench| match <[_; 1]>::try_from(bench.within(DEBOUNCE)) {
        Ok([StoreEvent::Unreadable { reason, .. }]) => reason,
        other => panic!("not one trouble: {other:?}"),
    };
    assert_eq!(trouble(&mut bench), "it has more than 10000 members; remove some");
    bench.children("/s", &names[1..]);
    for name in &names[1..] {
        bench.data(&format!("/s/{name}"), version(4, 4), b"");
    }
    bench.silent();
    bench.data("/s/10000", version(4, 4), b"");
    assert_eq!(bench.members().0.len(), 10_000 * "\"00000\":null,".len() + 2);
    bench.children("/s", &["a", "b"]);
    bench.data("/s/b", version(3, 3), b"");
    bench.data("/s/a", version(2, 2), &vec![b'x'; MAX_BYTES as usize + 1]);
    assert_eq!(trouble(&mut bench), "its members hold more than 64 MiB; remove some");
    // What it says takes six bytes for each.
    bench.data("/s/a", version(2, 3), &vec![1; MAX_BYTES as usize / 4]);
    bench.silent();
    bench.data("/s/a", version(2, 4), b"{\"n\":1}");
    assert_eq!(bench.members().1, first);
}

#[test]
fn what_trees_and_members_share_is_followed_once() {
    let (mut bench, _) = Bench::with_two_members();
    bench.follow("/s", Facet::Tree);
    assert_eq!(bench.commands(), ["+Data /s", "!Children /s"]);
    bench.children("/s", &["a", "b"]);
    assert_eq!(bench.commands(), ["!Data /s/a", "+Children /s/a", "!Data /s/b", "+Children /s/b"]);
    bench.follow("/s/a", Facet::Data);
    assert_eq!(bench.commands(), ["!Data /s/a"]);
    bench.leave("/s", Facet::Tree);
    assert_eq!(bench.commands(), ["-Data /s", "-Children /s/a", "-Children /s/b"]);
    bench.leave("/s", Facet::Members);
    assert_eq!(bench.commands(), ["-Children /s", "-Data /s/b"]);
    assert!(bench.data("/s/a", version(5, 5), b"x"), "the daemon wants it");
}
