//! Tests of the action's stdin: "exactly the node's bytes, then EOF", also if the action does not read them.

use std::fmt::Write;

use crate::harness::{Sandbox, exec, on_every_store, wait_until, watch};

/// This much fits into a request under the default `jute.maxbuffer`, which is 1 MiB less one byte.
const NEARLY_A_MEBIBYTE: usize = 1_048_000;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

// "stdin: exactly the node's bytes, then EOF"
on_every_store!(stdin_is_exactly_the_nodes_bytes);
fn stdin_is_exactly_the_nodes_bytes(sandbox: &Sandbox) {
    let contents: [&[u8]; 6] =
        [b"plain\n", b"", b"NUL \0 inside", b"\xff\xfe invalid \xc3", &noise(NEARLY_A_MEBIBYTE), b"\n\n"];
    sandbox.nodes.set("/n", "first");
    let (new, got) = (sandbox.path("got.new"), sandbox.path("got"));
    let save = format!("cat > {new}; mv {new} {got}", new = new.display(), got = got.display());
    sandbox.config("app.twc", watch("/n", &exec(&save), ""));
    let _daemon = sandbox.start();
    for content in contents {
        sandbox.nodes.set("/n", content);
        wait_until(&format!("{} bytes on stdin", content.len()), || {
            sandbox.has("got") && sandbox.read("got") == content
        });
    }
}

// "for `WATCH_CHILDREN` the sorted names, each ended by a newline"
on_every_store!(stdin_of_a_children_watch_is_the_sorted_names);
fn stdin_of_a_children_watch_is_the_sorted_names(sandbox: &Sandbox) {
    let journal = sandbox.journal();
    for name in ["b", "a b", "Z", "a"] {
        sandbox.nodes.set(&format!("/members/{name}"), "");
    }
    let names = journal.note("$TWITCHER_EVENT $(od -An -c | tr -d ' \\n')");
    sandbox.config("app.twc", watch("/members", &exec(&names), "watch_type: WATCH_CHILDREN"));
    let _daemon = sandbox.start();
    journal.wait_for(&[r"load Z\na\nab\nb\n"]);
    sandbox.nodes.remove("/members/b");
    journal.wait_for(&[r"load Z\na\nab\nb\n", r"children Z\na\nab\n"]);
    // A change of a child's content does not change the set of children.
    sandbox.nodes.set("/members/a", "content");
    sandbox.nodes.set("/members/new", "");
    let lines = [r"load Z\na\nab\nb\n", r"children Z\na\nab\n", r"children Z\na\nab\nnew\n"];
    journal.wait_for(&lines);
}

// "`/dev/null` where `pipe_stdin` is false"
#[test]
fn stdin_is_the_null_device_without_pipe_stdin() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    let script = journal.note("$(readlink /proc/self/fd/0) $(cat)");
    sandbox.config("app.twc", watch("/n", &exec(&script), "pipe_stdin: false"));
    let _daemon = sandbox.start();
    journal.wait_for(&["/dev/null "]);
}

// "A child that never reads, or closes early, harms nobody." Nor does one that exits at once.
#[test]
fn a_child_that_does_not_read_its_mebibyte_stalls_nobody() {
    let sandbox = Sandbox::directory();
    let (journal, gate) = (sandbox.journal(), sandbox.gate());
    let content = vec![b'x'; 1024 * 1024];
    let mut text = String::new();
    for (name, how) in [
        ("never", format!("{}; {}", gate.pass(), journal.note("never $TWITCHER_EVENT"))),
        ("early", format!("head -c 1 > /dev/null; exec 0<&-; {}", journal.note("early $TWITCHER_EVENT"))),
        ("at-once", format!("{}; exit 0", journal.note("at-once $TWITCHER_EVENT"))),
    ] {
        sandbox.nodes.set(&format!("/{name}"), &content);
        text += &watch(&format!("/{name}"), &exec(&how), "");
    }
    write!(text, "{}", watch("/other", &exec(&journal.record()), "")).expect("a string");
    sandbox.config("app.twc", &text);
    let _daemon = sandbox.start();
    journal.wait_for_line("early load");
    journal.wait_for_line("at-once load");
    // While one action leaves its mebibyte unread, all others go on, also with their next content.
    sandbox.nodes.set("/other", "others go on");
    journal.wait_for_line("others go on");
    for name in ["early", "at-once", "never"] {
        sandbox.nodes.set(&format!("/{name}"), [&content[..], b"more"].concat());
    }
    journal.wait_for_line("early changed");
    journal.wait_for_line("at-once changed");
    assert_eq!(journal.count("never load"), 0);
    gate.open();
    journal.wait_for_line("never changed");
}
