//! `twitcher commits` on the server that it is made for. What it does with every answer is tested against
//! [`super::fake_server`].

use std::fs;

use serde_json::{Value, json};

use super::fake_server::objects;
use crate::harness::{CommitServer, Sandbox, Twitcher, wait_until};

/// A server that publishes in the store of a sandbox, in which the commands run.
struct Diary {
    sandbox: Sandbox,
    server: CommitServer,
}

impl Diary {
    #[track_caller]
    fn start() -> Self {
        let sandbox = Sandbox::directory();
        // No round comes by itself.
        let place =
            format!("store = \"{}\"\npath = \"/config/diary\"\npublish_period = 86400", sandbox.nodes.url());
        Self { sandbox, server: CommitServer::diary(&place) }
    }

    /// `twitcher commits` with these words.
    fn commits<const N: usize>(&self, words: [&str; N]) -> Twitcher {
        let directory = self.sandbox.path("");
        let command = self.sandbox.twitcher(["commits"]).current_dir(directory.to_str().expect("a path"));
        words.into_iter().fold(command, Twitcher::arg).env("TWITCHER_URL", self.server.url())
    }

    /// Returns what a command prints that succeeds.
    #[track_caller]
    fn says<const N: usize>(&self, words: [&str; N]) -> String {
        self.commits(words).finish().expect(0).text()
    }

    /// Returns the JSON of a command that succeeds, one value a line.
    #[track_caller]
    fn json<const N: usize>(&self, words: [&str; N]) -> Vec<Value> {
        objects(&self.commits(words).arg("--json").finish().expect(0).text())
    }

    #[track_caller]
    fn save(&self, author: &str, payload: &str) {
        let words = ["save", "foo", "-m", "why", "--author", author];
        self.commits(words).stdin(payload).finish().expect(0);
    }
}

#[test]
fn each_command_does_what_it_says() {
    let diary = Diary::start();
    let first = ["save", "foo", "-m", "first try", "--author", "gian", "--json"];
    let saved = objects(&diary.commits(first).stdin("one\n").finish().expect(0).text());
    let meta =
        |json: &Value| json!([json["key"], json["version"], json["author"], json["comment"], json["empty"]]);
    let expected = json!(["foo", 1, "gian", "first try", false]);
    assert_eq!(meta(&saved[0]), expected);
    let second = diary.commits(["save", "foo", "-m", "größer", "--author", "eva"]).stdin("two\n");
    assert_eq!(second.finish().expect(0).text(), "foo: saved as version 2 by eva\n");

    let list = diary.says(["list"]);
    let row: Vec<&str> = list.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!([row[0], row[1], row[2], row[4]], ["foo", "2", "eva", "größer"]);
    assert_eq!(diary.json(["list"]).len(), 1);
    assert_eq!(diary.says(["show", "foo"]), "two\n");
    assert_eq!(diary.says(["show", "foo", "1"]), "one\n");
    assert_eq!(diary.json(["show", "foo"])[0]["payload_utf8"], "two\n");
    let log = diary.json(["log", "foo"]);
    assert_eq!((log.len(), meta(&log[1])), (2, expected));
    assert_eq!(diary.json(["log", "foo", "-n", "1"])[0]["version"], 2);
    assert!(diary.says(["diff", "foo"]).ends_with("@@ -1 +1 @@\n-one\n+two\n"));
    assert_eq!(diary.json(["diff", "foo", "2", "2"])[0]["equal"], true);

    let late = ["save", "foo", "-m", "late", "--author", "max", "--version", "2"];
    let conflict = diary.commits(late).stdin("mine").finish().expect(3);
    conflict.expect_said(&["not saved as version 2 by max", "the newest is version 2, by eva (größer)"]);

    let by_max = ["-m", "back", "--author", "max"];
    assert_eq!(diary.json(["revert", "foo", "1", "-m", "back", "--author", "max"])[0]["version"], 3);
    assert_eq!(diary.says(["show", "foo"]), "one\n");
    let removed = diary.commits(["remove", "foo"]).args(by_max).finish().expect(0);
    assert_eq!(removed.text(), "foo: removed by version 4 by max\n");
    diary
        .commits(["show", "foo"])
        .finish()
        .expect(1)
        .expect_said(&["version 4 of foo, by max, removes the key"]);
    assert_eq!((diary.json(["list"]).len(), diary.json(["list", "--all"]).len()), (0, 1));
    assert_eq!(diary.json(["revert", "foo", "2", "-m", "again", "--author", "max"])[0]["version"], 5);

    wait_until("it to be published", || diary.commits(["publish", "--check"]).finish().code == Some(0));
    let published = &diary.json(["publish", "--check"])[0];
    assert_eq!((&published["checked"], &published["trouble"]), (&1.into(), &Value::Null));
    diary.sandbox.nodes.set("/config/diary/data/foo", "evil");
    let differs = diary.commits(["publish", "--check"]).finish();
    assert_eq!(differs.code, Some(1));
    differs.expect_said(&["foo: the journal has version 5, the store has no commit (", "1 difference"]);
    diary.commits(["publish"]).finish().expect(0).expect_said(&["which was put right"]);
    diary
        .commits(["publish", "--check"])
        .finish()
        .expect(0)
        .expect_said(&["1 key compared", "no difference"]);
    // What the journal does not know stays, and differs.
    diary.sandbox.nodes.set("/config/diary/data/stranger", "x");
    let told =
        "stranger: the journal has no such key, the store has a node of which the journal knows nothing";
    let checked = diary.commits(["publish", "--check"]).finish();
    assert_eq!((checked.code, &*checked.stderr), (Some(1), ""));
    checked.expect_said(&[told, "1 difference"]);
    let stays = diary.commits(["publish"]).finish();
    assert_eq!(stays.code, Some(1));
    stays.expect_said(&[told, "which could not be put right: the journal knows nothing of this key"]);
    diary.sandbox.nodes.remove("/config/diary/data/stranger");
    for words in [["show", "nothing"], ["log", "nothing"]] {
        diary.commits(words).finish().expect(1).expect_said(&["there is no key nothing"]);
    }

    // What watches the server sees all of this.
    let metrics = diary.server.get("/-/metrics").text();
    for (name, label, value) in [
        ("saves_total", ",result=\"kept\"", 5),
        ("saves_total", ",result=\"conflict\"", 1),
        ("journal_up", "", 1),
        ("keys", "", 1),
        ("commits", "", 5),
        ("publish_lag_seconds", "", 0),
        ("store_connected", "", 1),
    ] {
        let line = format!("twitcher_serve_{name}{{namespace=\"diary\"{label}}} {value}\n");
        assert!(metrics.contains(&line), "no {line}{metrics}");
    }
    let manual = include_str!("../../../docs/man/twitcher-serve.1.md");
    for name in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(manual.contains(&format!("`{name}`")), "the manual does not name {name}");
    }

    // A directory has no such node.
    diary.commits(["save", ".hidden", "-m", "x", "--author", "eva"]).stdin("x").finish().expect(0);
    wait_until("what is wrong to be told", || {
        let published = diary.commits(["publish", "--check"]).finish();
        published.code == Some(1) && published.text().contains("\n.hidden is not published: ")
    });
    let repaired = diary.commits(["publish"]).finish();
    assert_eq!(repaired.code, Some(1));
    repaired.expect_said(&["which could not be put right: ", "dot"]);
}

// "a conflict offers to go on with both texts"
#[test]
fn an_edit_merges_what_others_have_saved_meanwhile() {
    let diary = Diary::start();
    diary.save("gian", "a\nb\nc\n");
    let save = |text: &str| {
        let binary = env!("CARGO_BIN_EXE_twitcher");
        let url = diary.server.url();
        format!("printf '{text}' | {binary} commits save foo -m faster --author eva --url {url} >said")
    };
    let edit = |script: &str| {
        let editor = diary.sandbox.executable("editor", &format!("#!/bin/sh\n{script}\n"));
        let command = diary.commits(["edit", "foo", "-m", "mine", "--author", "max"]);
        command.env("VISUAL", editor).env("TMPDIR", diary.sandbox.path(""))
    };
    // Each has changed another line, so that both changes are in the text when the editor opens again.
    let script = format!(
        "if [ -e said ]; then cp \"$1\" merged; else {}; sed -i s/a/A/ \"$1\"; fi",
        save("a\\nb\\nC\\n")
    );
    let (code, shown) = edit(&script).finish_typing("y\n");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("merged with that of version 2 by eva: no line was changed by both"), "{shown}");
    assert_eq!(diary.sandbox.read_text("merged"), "A\nb\nC\n");
    assert_eq!(diary.says(["show", "foo"]), "A\nb\nC\n");
    assert_eq!(diary.json(["log", "foo"])[0]["author"], "max");

    // Where nobody can be asked, the text stays in its file.
    let conflict = edit(&format!("{}; echo ours >\"$1\"", save("hers\\n"))).finish().expect(3);
    conflict.expect_said(&["not saved as version 4 by max", "version 4, by eva (faster)"]);
    let kept = conflict.stderr.trim().rsplit("the edited text is in ").next().expect("never empty");
    assert_eq!(fs::read_to_string(kept).unwrap_or_else(|error| panic!("{kept}: {error}")), "ours\n");
    assert_eq!(diary.says(["show", "foo"]), "hers\n");
}
