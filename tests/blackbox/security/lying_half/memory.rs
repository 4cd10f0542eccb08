//! What one half of a directory leaves for the next one, which is all that outlives it.

use super::*;

fn remember(half: &Impostor, memory: &str) {
    half.say(&json!({ "Remember": { "memory": memory } })).expect("it is allowed");
}

#[test]
fn a_word_for_the_next_half_that_makes_no_sense_harms_nothing() {
    let scene = Scene::new();
    for memory in
        ["", "no JSON", "[[1,2,{\"secs_since_epoch\":18446744073709551615}],true]", &"[".repeat(MAX_TEXT)]
    {
        let half = scene.impostor();
        let pid = half.half.0;
        remember(&half, memory);
        half.end();
        wait_until("the next process", || {
            scene.is_healthy() && scene.status()["daemon"]["stores"][0]["pid"] != pid
        });
    }
    scene.recovers(scene.impostor());
}

// "At worst, a false word has an empty directory refused until some file is put into it, as the log says."
#[test]
fn a_false_word_for_the_next_half_has_an_empty_directory_refused_and_the_log_says_what_helps() {
    let scene = Scene::new();
    let half = scene.impostor();
    // Another directory than this one, with nodes.
    remember(&half, "[[1,2,null],true]");
    for node in ["/n", "/quiet"] {
        scene.sandbox.nodes.remove(node);
    }
    half.end();
    scene.daemon.wait_for_log(&[
        "not connected",
        "it is empty, and another one than before",
        "put any file into it",
    ]);
    assert!(!scene.is_healthy());
    scene.sandbox.nodes.set("/n", "recovered");
    scene.journal.wait_for_line_where("what is true", |line| line.ends_with(" recovered"));
    wait_until("a healthy daemon", || scene.is_healthy());
}
