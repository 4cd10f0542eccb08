//! "A config change takes effect within 1 s."

use std::fs;

use crate::harness::{Gate, Journal, Sandbox, exec, wait_until, watch};

/// A sandbox in which `/n` contains `content`, with a journal.
pub fn sandbox() -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let journal = sandbox.journal();
    (sandbox, journal)
}

/// A watch on `/n` that journals this word and the content.
pub fn saying(journal: &Journal, word: &str) -> String {
    watch("/n", &exec(&journal.note(&format!("{word} $(cat)"))), r#"description: "n""#)
}

/// A watch on `/n` that journals `WORD starts`, waits at the gate, and journals `WORD ends`.
fn gated(journal: &Journal, gate: &Gate, word: &str) -> String {
    let (start, end) = (journal.note(&format!("{word} starts")), journal.note(&format!("{word} ends")));
    watch("/n", &exec(&format!("{start}; {}; {end}", gate.pass())), r#"description: "n""#)
}

#[test]
fn a_new_file_is_loaded_a_changed_one_runs_again_and_a_removed_one_stops() {
    let (sandbox, journal) = sandbox();
    let _daemon = sandbox.start();
    sandbox.config("app.twc", saying(&journal, "one"));
    journal.wait_for(&["one content"]);
    sandbox.config("app.twc", saying(&journal, "two"));
    journal.wait_for(&["one content", "two content"]);
    sandbox.remove_config("app.twc");
    sandbox.config("other.twc", saying(&journal, "other"));
    journal.wait_for_line("other content");
    let mut update = 0;
    let mut set_and_see = || {
        update += 1;
        sandbox.nodes.set("/n", update.to_string());
        journal.wait_for_line(&format!("other {update}"));
        update
    };
    wait_until("an update that the removed file misses", || {
        let missed = set_and_see();
        set_and_see();
        journal.count(&format!("two {missed}")) == 0
    });
}

// "hot reload that catches same-second same-size edits"
#[test]
fn quick_edits_of_equal_size_are_caught() {
    let (sandbox, journal) = sandbox();
    let _daemon = sandbox.start();
    for n in 10..20 {
        fs::write(sandbox.configs().join("app.twc"), saying(&journal, &n.to_string()))
            .expect("write in place");
        journal.wait_for_line(&format!("{n} content"));
    }
}

// "new nested directories": "`*.twc` (Rhai), read recursively"
#[test]
fn files_in_new_nested_directories_are_loaded_and_watched() {
    let (sandbox, journal) = sandbox();
    let _daemon = sandbox.start();
    sandbox.config("a/b/c/app.twc", saying(&journal, "deep"));
    journal.wait_for(&["deep content"]);
    sandbox.config("a/b/c/app.twc", saying(&journal, "deeper"));
    journal.wait_for(&["deep content", "deeper content"]);
    fs::remove_dir_all(sandbox.configs().join("a")).expect("remove the directories");
    sandbox.config("z/app.twc", saying(&journal, "new"));
    journal.wait_for(&["deep content", "deeper content", "new content"]);
}

// "renames, editors' swap dances": vim moves the file aside and writes a new one, emacs writes a `~` file.
#[test]
fn the_steps_in_which_editors_save_are_one_change() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "old"));
    let _daemon = sandbox.start();
    journal.wait_for(&["old content"]);
    let path = |name: &str| sandbox.configs().join(name);
    fs::write(path(".app.twc.swp"), "binary \0 junk").expect("write the swap file");
    fs::rename(path("app.twc"), path("app.twc~")).expect("move aside");
    fs::write(path("app.twc"), saying(&journal, "new")).expect("write anew");
    fs::remove_file(path("app.twc~")).expect("remove the backup");
    fs::remove_file(path(".app.twc.swp")).expect("remove the swap file");
    journal.wait_for(&["old content", "new content"]);
}

// "(file, description) is its identity across reloads": another file name is another identity.
#[test]
fn a_renamed_file_runs_as_a_new_one() {
    let (sandbox, journal) = sandbox();
    sandbox.config("old.twc", saying(&journal, "x"));
    let _daemon = sandbox.start();
    journal.wait_for(&["x content"]);
    fs::rename(sandbox.configs().join("old.twc"), sandbox.configs().join("new.twc")).expect("rename");
    journal.wait_for(&["x content", "x content"]);
}

// "A file that fails keeps its last good watches", "applies a file whole or not at all", "half-written files"
#[test]
fn a_broken_file_keeps_its_last_good_watches_and_is_said_with_its_place() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "good"));
    let daemon = sandbox.start();
    journal.wait_for(&["good content"]);
    let half = saying(&journal, "never") + "RegisterWatch(#{ znode: \"/n\", act";
    sandbox.config("app.twc", &half);
    daemon.wait_for_log(&["app.twc:2:"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["good content", "good new"]);
    sandbox.config("app.twc", saying(&journal, "fixed"));
    journal.wait_for(&["good content", "good new", "fixed new"]);
}

#[test]
fn a_file_that_is_broken_from_the_start_hurts_no_other_and_loads_once_fixed() {
    let (sandbox, journal) = sandbox();
    sandbox.config("broken.twc", "RegisterWatch(");
    sandbox.config("good.twc", saying(&journal, "good"));
    let daemon = sandbox.start();
    journal.wait_for(&["good content"]);
    daemon.wait_for_log(&["broken.twc:1:"]);
    sandbox.config("broken.twc", saying(&journal, "fixed"));
    journal.wait_for(&["good content", "fixed content"]);
}

// "a reload of an unchanged watch starts no action"
#[test]
fn only_the_changed_watch_of_a_file_runs_again() {
    let (sandbox, journal) = sandbox();
    let other = |word: &str| watch("/n", &exec(&journal.note(word)), r#"description: "other""#);
    sandbox.config("app.twc", [saying(&journal, "same"), other("one")].concat());
    let _daemon = sandbox.start();
    wait_until("both to run", || journal.lines().len() == 2);
    // The watch moves within the file and gets a comment, and its definition stays the same.
    sandbox.config("app.twc", [&other("two"), "\n// A comment.\n", &saying(&journal, "same")].concat());
    journal.wait_for_line("two");
    sandbox.nodes.set("/n", "new");
    journal.wait_for_line("same new");
    assert_eq!((journal.count("same content"), journal.count("one")), (1, 1));
}

// Two functions are equal if their code and their captured values are.
#[test]
fn an_unchanged_function_does_not_run_again() {
    let (sandbox, journal) = sandbox();
    let marker = |word: &str| watch("/n", &exec(&journal.note(word)), r#"description: "marker""#);
    let function = format!(
        "let word = \"captured\";\n{}",
        watch(
            "/n",
            &format!(r#"|event| run(["sh", "-c", "echo function " + word + " >> {}"])"#, journal.path()),
            r#"description: "function""#
        )
    );
    sandbox.config("app.twc", [&*function, &marker("one")].concat());
    let _daemon = sandbox.start();
    wait_until("both to run", || journal.lines().len() >= 2);
    for word in ["two", "three"] {
        sandbox.config("app.twc", [&*function, &marker(word)].concat());
        journal.wait_for_line(word);
    }
    assert_eq!(journal.count("function captured"), 1, "{:?}", journal.lines());
}

// "a running action of a removed or changed watch runs to its end, and the changed watch's first run ...
// waits for it"
#[test]
fn the_first_run_of_a_changed_watch_waits_for_the_running_one() {
    let (sandbox, journal) = sandbox();
    let (gate, seen) = (sandbox.gate(), sandbox.journal_named("seen"));
    sandbox.config("app.twc", gated(&journal, &gate, "old"));
    let _daemon = sandbox.start();
    journal.wait_for(&["old starts"]);
    let marker = watch("/n", &exec(&seen.note("reloaded")), "");
    sandbox.config("app.twc", [saying(&journal, "new"), marker].concat());
    seen.wait_for(&["reloaded"]);
    gate.open();
    journal.wait_for(&["old starts", "old ends", "new content"]);
}

// "(or a removed and re-added one's)"
#[test]
fn the_first_run_of_a_removed_and_readded_watch_waits_for_the_running_one() {
    let (sandbox, journal) = sandbox();
    let (gate, seen) = (sandbox.gate(), sandbox.journal_named("seen"));
    sandbox.config("app.twc", gated(&journal, &gate, "old"));
    let _daemon = sandbox.start();
    journal.wait_for(&["old starts"]);
    let marker = |word: &str| watch("/n", &exec(&seen.note(word)), r#"description: "marker""#);
    sandbox.config("app.twc", marker("removed"));
    seen.wait_for(&["removed"]);
    sandbox.config("app.twc", [saying(&journal, "new"), marker("readded")].concat());
    seen.wait_for(&["removed", "readded"]);
    gate.open();
    journal.wait_for(&["old starts", "old ends", "new content"]);
}

#[test]
fn the_running_action_of_a_removed_watch_runs_to_its_end() {
    let (sandbox, journal) = sandbox();
    let (gate, seen) = (sandbox.gate(), sandbox.journal_named("seen"));
    sandbox.config("app.twc", gated(&journal, &gate, "old"));
    let _daemon = sandbox.start();
    journal.wait_for(&["old starts"]);
    sandbox.remove_config("app.twc");
    sandbox.config("other.twc", watch("/n", &exec(&seen.note("reloaded")), ""));
    seen.wait_for(&["reloaded"]);
    gate.open();
    journal.wait_for(&["old starts", "old ends"]);
}

// "run_on_load: run when the watch is first loaded or its definition changed"
#[test]
fn without_run_on_load_neither_the_first_load_nor_a_change_runs() {
    let (sandbox, journal) = sandbox();
    let seen = sandbox.journal_named("seen");
    let quiet = |word: &str| {
        let action = exec(&journal.note(&format!("{word} $TWITCHER_EVENT $(cat)")));
        watch("/n", &action, r#"run_on_load: false, description: "quiet""#)
    };
    // Both watches share one subscription: what this one has seen, the quiet one has seen.
    let marker = |word: &str| watch("/n", &exec(&seen.note(word)), r#"description: "marker""#);
    sandbox.config("app.twc", [quiet("one"), marker("loaded")].concat());
    let _daemon = sandbox.start();
    seen.wait_for(&["loaded"]);
    sandbox.config("app.twc", [quiet("two"), marker("changed")].concat());
    seen.wait_for(&["loaded", "changed"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["two changed new"]);
}

// "Names starting with a dot are skipped", and files with other extensions, too.
#[test]
fn hidden_files_and_other_extensions_are_skipped() {
    let (sandbox, journal) = sandbox();
    for name in [".hidden.twc", ".git/app.twc", "app.twc.bak", "README"] {
        sandbox.config(name, saying(&journal, "never"));
    }
    sandbox.config("app.twc", saying(&journal, "good"));
    let _daemon = sandbox.start();
    journal.wait_for(&["good content"]);
    sandbox.nodes.set("/n", "new");
    journal.wait_for(&["good content", "good new"]);
}

// "A directory that cannot be read for a moment removes nothing."
#[test]
fn a_config_directory_that_is_gone_for_a_moment_removes_nothing() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "x"));
    let daemon = sandbox.start();
    journal.wait_for(&["x content"]);
    let aside = sandbox.root().join("aside");
    fs::rename(sandbox.configs(), &aside).expect("move the directory away");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.wait_for_log(&["configs"]);
    sandbox.nodes.set("/n", "meanwhile");
    journal.wait_for(&["x content", "x meanwhile"]);
    fs::rename(&aside, sandbox.configs()).expect("put it back");
    sandbox.config("app.twc", saying(&journal, "y"));
    journal.wait_for(&["x content", "x meanwhile", "y meanwhile"]);
}

// A directory that is created anew may get the inode of the old one, but not its inotify watch. Later changes
// must not wait for the full scan that comes every 60 s.
#[test]
fn a_directory_that_is_created_anew_is_followed() {
    for inside in ["", "team"] {
        let (sandbox, journal) = sandbox();
        let directory = sandbox.configs().join(inside);
        fs::create_dir_all(&directory).expect("make the directory");
        let name = format!("{inside}/app.twc");
        sandbox.config(name.trim_start_matches('/'), saying(&journal, "first"));
        let _daemon = sandbox.start();
        journal.wait_for(&["first content"]);
        fs::remove_dir_all(&directory).expect("remove the directory");
        fs::create_dir(&directory).expect("make it again");
        for word in ["second", "third", "fourth"] {
            sandbox.config(name.trim_start_matches('/'), saying(&journal, word));
            journal.wait_for_line(&format!("{word} content"));
        }
    }
}

// "One bad thing stays one bad thing": a config that loops takes two seconds to evaluate, but only once.
#[test]
fn configs_that_loop_do_not_delay_others_at_each_scan() {
    let (sandbox, journal) = sandbox();
    for n in 0..3 {
        sandbox.config(&format!("a{n}.twc"), "loop {}");
    }
    let daemon = sandbox.start();
    daemon.wait_for_log(&["a2.twc", "2 s"]);
    // SIGHUP makes the daemon try them again, but it loads the new file first.
    sandbox.config("z.twc", saying(&journal, "good"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    journal.wait_for(&["good content"]);
}

// "One bad thing is said once, clearly, with the file and the remedy": a reload does not apply twitcher.toml,
// so it says what becomes of it, and the check fails while it lasts.
#[test]
fn a_reload_says_at_once_that_twitcher_toml_has_changed_or_is_broken() {
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", saying(&journal, "one"));
    sandbox.settings("stop_timeout = 3\n");
    let daemon = sandbox.start();
    journal.wait_for(&["one content"]);
    let reload = || sandbox.operator(["reload"]).finish();
    let check = |problem: &[&str]| {
        let done = sandbox.operator(["status", "--check"]).finish();
        assert_eq!(done.code, Some(i32::from(!problem.is_empty())), "{done:#?}");
        done.expect_said(problem);
    };
    sandbox.settings("# A comment changes nothing.\nstop_timeout = 3\n");
    assert_eq!(reload().expect(0).text(), "1 watch loaded\n");
    check(&[]);

    sandbox.settings("stop_timeout = 4\n");
    let changed = ["twitcher.toml has changed since the start (stop_timeout)", "restart the daemon"];
    reload().expect(0).expect_said(&changed);
    check(&changed);

    sandbox.settings("stop_timeout = 4\nstop_timeou = 5\n");
    let broken = ["twitcher.toml:2:1", "stop_timeou", "correct it"];
    reload().expect(1).expect_said(&broken);
    check(&broken);
    daemon.wait_for_log(&broken);
    // A signal has no answer but the log.
    sandbox.settings("stop_timeout = 4\n\nstop_timeou = 5\n");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.wait_for_log(&["twitcher.toml:3:1", "stop_timeou", "correct it"]);

    sandbox.settings("stop_timeout = 3\n");
    assert_eq!(reload().expect(0).text(), "1 watch loaded\n");
    check(&[]);
}
