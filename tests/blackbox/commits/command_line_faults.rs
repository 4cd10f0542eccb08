//! `twitcher commits` and servers that do what no server of commits does.

use std::time::Instant;

use super::fake_server::FakeServer;

/// A fault, and what is said of it beside the URL.
const FAULTS: [(&str, &[&str]); 17] = [
    ("401", &["wants a token"]),
    ("403", &["Forbidden: gian may not read diary", "[[serve.users]]"]),
    ("404", &["no such address", "namespace"]),
    ("413", &["Payload too large"]),
    ("500", &["500", "bytes that are no text"]),
    ("cut", &["before its answer was complete"]),
    ("cut-chunk", &["before its answer was complete"]),
    ("no-length", &["does not say how long it is"]),
    ("empty", &["before its answer was complete"]),
    ("no-http", &["does not speak HTTP"]),
    ("page", &["is this a server of commits?"]),
    ("huge", &["more than 1048576 bytes"]),
    ("endless", &["more than 1048576 bytes"]),
    ("long-head", &["head of the answer is too large"]),
    ("silent", &["no answer within 1.5s", "--timeout"]),
    ("slow", &["no answer within 1.5s", "--timeout"]),
    ("redirect", &["redirects to http://127.0.0.1:", "/elsewhere, where nothing is sent"]),
];

#[test]
fn whatever_a_server_does_ends_in_an_error_that_names_it() {
    for (fault, said) in FAULTS {
        let server = FakeServer::with(fault, &[]);
        let started = Instant::now();
        let done = server.commits(["show", "foo", "--timeout", "1.5"]).finish();
        let (code, stdout) = (done.code, done.text());
        assert_eq!((code, &*stdout), (Some(1), ""), "{fault}: {}", done.stderr);
        done.expect_said(&[&server.url()]);
        done.expect_said(said);
        assert!(!done.stderr.contains('\u{1b}'), "{fault}: {:?}", done.stderr);
        assert!(started.elapsed().as_secs() < 30, "{fault}");
        if fault == "redirect" {
            assert_eq!(server.requests().len(), 1, "it was followed");
        }
    }
}

#[test]
fn every_command_survives_every_fault() {
    const COMMANDS: [&[&str]; 9] = [
        &["list"],
        &["show", "foo"],
        &["log", "foo"],
        &["diff", "foo"],
        &["save", "foo", "-m", "x"],
        &["edit", "foo", "-m", "x"],
        &["revert", "foo", "1", "-m", "x"],
        &["remove", "foo", "-m", "x"],
        &["publish"],
    ];
    for fault in ["cut", "page", "no-http", "404"] {
        let server = FakeServer::with(fault, &[]);
        for words in COMMANDS {
            let command = words.iter().fold(server.commits([]), |command, word| command.arg(word));
            let done = command.env("VISUAL", "false").stdin("x").finish();
            assert_eq!((done.code, &*done.text()), (Some(1), ""), "{fault} {words:?}: {}", done.stderr);
            done.expect_said(&[&server.url()]);
        }
    }
}

#[test]
fn an_answer_about_something_else_is_no_answer() {
    let server = FakeServer::with("another-key", &[]);
    let save = server.commits(["save", "foo", "-m", "x", "--version", "1"]).stdin("x");
    save.finish().expect(0);
    for words in [["show", "foo"], ["diff", "foo"]] {
        let done = server.commits(words).finish().expect(1);
        done.expect_said(&["asked for", "foo", "other", "is this a server of commits?"]);
        assert_eq!(done.text(), "");
    }
    let save = server.commits(["save", "foo", "-m", "x"]).stdin("x").finish().expect(1);
    save.expect_said(&["asked for", "other"]);
    let again = FakeServer::with("log-again", &[]);
    again.save("foo", "1");
    again.save("foo", "2");
    again.save("foo", "3");
    again.sandbox.executable("fill", include_str!("fill.sh"));
    assert!(
        crate::harness::command(again.sandbox.path("fill")).arg(&again.address).status().unwrap().success()
    );
    again.commits(["log", "full"]).finish().expect(1).expect_said(&["not in order"]);
}

// Whoever saves must know whether it was saved, or that nobody knows.
#[test]
fn what_became_of_a_save_is_said_or_that_it_is_not_known() {
    let save = |fault: &str, more: &[&str]| {
        let server = FakeServer::with(fault, &[]);
        let command = server.commits(["save", "foo", "-m", "x"]).stdin("x");
        let done = more.iter().fold(command, |command, word| command.arg(word)).finish().expect(1);
        (server, done)
    };
    let (server, lost) = save("lost-save", &[]);
    lost.expect_said(&["is not known", "twitcher commits log"]);
    assert_eq!(server.commits(["show", "foo"]).finish().expect(0).text(), "x");
    let (_, refused) = save("422", &[]);
    refused.expect_said(&["refused, and nothing was saved", "line 3: \\u{1b}[2Jno such port", "line 4: bad"]);
    assert!(!refused.stderr.contains("not known"));
    save("503", &[]).1.expect_said(&["Journal is not available: \\u{1b}[2Jthe disk", "is not known"]);
    save("silent", &["--version", "1", "--timeout", "1"]).1.expect_said(&["is not known"]);
    save("bad-conflict", &[]).1.expect_said(&["not the JSON that it should be"]);
    let nobody = FakeServer::start();
    let save = nobody.elsewhere(["save", "foo", "-m", "x", "--version", "1"]).stdin("x");
    let unsent = save.args(["--url", "http://127.0.0.1:1/diary"]).finish().expect(1);
    unsent.expect_said(&["http://127.0.0.1:1/diary", "does the server run there?", "nothing was saved"]);
}

#[test]
fn nothing_that_an_author_wrote_steers_a_terminal() {
    let server = FakeServer::with("escapes", &[]);
    let commands: [&[&str]; 6] = [
        &["save", "foo", "-m", "x", "--author", "gian", "--version", "1", "/etc/hostname"],
        &["save", "foo", "-m", "x", "--author", "gian", "--version", "1", "/etc/hostname"],
        &["list"],
        &["log", "foo"],
        &["log", "foo", "--json"],
        &["list", "--json"],
    ];
    for words in commands {
        let command = words.iter().fold(server.commits([]), |command, word| command.arg(word));
        let (_, shown) = command.finish_on_terminal(100);
        assert!(!shown.contains("\u{1b}]") && !shown.contains('\u{7}'), "{words:?}: {shown:?}");
        assert!(shown.contains("gian"), "{words:?}: {shown:?}");
        let escaped = shown.contains("\\u{1b}]0;author\\u{7}") || shown.contains("\\u001b]0;author\\u0007");
        assert!(escaped, "{words:?}: {shown:?}");
    }
}
