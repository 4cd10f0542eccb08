//! The lies of a half of an etcd, which looks at no ACLs, and whose versions outlive it.

use super::*;

fn scene() -> Scene {
    Scene::on(Sandbox::of_kind(Store::Etcd))
}

const LIES: &[(&str, Lie)] = &[
    // The same servers with another prefix have other nodes.
    ("another store", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&up("etcd:/")));
    }),
    ("a question for the login out of turn", |half, _| while half.say(&json!("NeedsLogin")).is_ok() {}),
    ("nodes that others can change", |half, _| {
        let _ = half.say(&json!({ "Writable": { "path": "/n", "facet": "Data" } }));
    }),
    ("nodes that others can change", |half, _| {
        let _ = half.say(&json!("MoreWritable"));
    }),
    ("another directory", |half, _| {
        let _ = half.say(&json!("Moved"));
    }),
    ("another directory", |half, _| {
        let _ = half.say(&json!({ "Remember": { "memory": "" } }));
    }),
    ("again and again who can read or change", |half, _| {
        let plaintext =
            |number: u32| json!({ "Plaintext": { "server": number.to_string(), "with_credentials": true } });
        let _ = (0..).try_for_each(|number| half.say(&plaintext(number)));
    }),
    ("a root out of turn", |half, _| {
        let _ = half.say(&down("one")).and_then(|()| half.say(&json!("RootFound")));
    }),
    ("a node that it was not asked for", |half, _| {
        let _ = half.say_with(&data(2, 9), b"forged", &[]);
    }),
    ("no sealed file", |half, _| with_file(half, &memory_file(&[7; 100_000], SealFlags::empty()))),
];

#[test]
fn a_half_of_an_etcd_that_breaks_a_rule_is_replaced_as_well() {
    each_is_replaced(LIES, scene);
}

#[test]
fn forged_versions_of_an_etcd_keep_no_true_one_from_running() {
    let scene = scene();
    let half = scene.impostor();
    half.say_with(&data(0, i64::MAX), b"forged", &[]).expect("it is allowed");
    scene.journal.wait_for(&["load true", "created forged"]);
    scene.sandbox.nodes.set("/n", "true again");
    let from = half.end();
    scene.journal.wait_for(&["load true", "created forged", "created true again"]);
    assert!(!from.is_alive());
    scene.sandbox.nodes.set("/n", "recovered");
    scene.journal.wait_for_last("changed recovered");
    assert_eq!(scene.other.lines(), ["load still"], "nothing happened to it");
}
