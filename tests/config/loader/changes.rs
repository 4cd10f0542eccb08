//! Tests of which changes the loader sees, how soon, and how often.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, Instant};

use twitcher::config::files::FileChange;

use super::{Follower, short};
use crate::watch;

/// The loader waits at least 50 ms for a file that is missing or half-written. A busy machine may hold up the
/// test, which writes it, for longer.
const SETTLING: Duration = Duration::from_millis(40);

#[test]
fn the_first_scan_gives_every_file_and_then_its_end() {
    let (a, b) = (watch("/a"), watch("/b"));
    let follower = Follower::new(&[
        ("a.twc", &a),
        ("sub/deep/b.twc", &b),
        (".hidden.twc", &a),
        (".git/c.twc", &a),
        ("readme.txt", "no config"),
        ("bad.twc", "nosuch()"),
        ("empty.twc", "// nothing"),
    ]);
    let changes: Vec<FileChange> = (0..5).map(|_| follower.next()).collect();
    let said: Vec<String> = changes.iter().map(short).collect();
    assert_eq!(said, ["a.twc: /a", "bad.twc failed", "empty.twc: ", "sub/deep/b.twc: /b", "done"]);
    let warns = |change: &FileChange| {
        let FileChange::Loaded { warnings, .. } = change else { return false };
        warnings.iter().any(|warning| warning.contains("registers no watch"))
    };
    assert!(changes.iter().any(warns));
    follower.quiet();
}

#[test]
fn changes_take_effect_within_a_second() {
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    for n in 0..5 {
        let written = Instant::now();
        follower.write("a.twc", &watch(&format!("/{n}")));
        assert_eq!(follower.short(), format!("a.twc: /{n}"));
        assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
    }
    let written = Instant::now();
    fs::remove_file(follower.root.join("a.twc")).unwrap();
    assert_eq!(follower.short(), "a.twc removed");
    assert!(written.elapsed() < Duration::from_secs(1), "{:?}", written.elapsed());
}

#[test]
fn edits_within_the_same_second_and_of_the_same_size_are_seen() {
    let follower = Follower::ready(&[("a.twc", &watch("/0"))]);
    let path = follower.root.join("a.twc");
    let times = fs::metadata(&path).unwrap();
    for n in 1..5 {
        follower.write("a.twc", &watch(&format!("/{n}")));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(times.modified().unwrap()).unwrap();
        assert_eq!(follower.short(), format!("a.twc: /{n}"));
    }
}

#[test]
fn an_unchanged_file_is_not_evaluated_again() {
    let follower = Follower::ready(&[("a.twc", &watch("/a")), ("bad.twc", "nosuch()")]);
    follower.write("a.twc", &watch("/a"));
    follower.write("bad.twc", "nosuch()");
    follower.rest();
    follower.quiet();
}

#[test]
fn a_rescan_is_answered_after_every_change_made_before_the_request() {
    let follower = Follower::ready(&[("a.twc", &watch("/a")), ("gone.twc", &watch("/gone"))]);
    for n in 0..5 {
        follower.write("a.twc", &watch(&format!("/{n}")));
        fs::remove_file(follower.root.join("gone.twc")).unwrap();
        (0..3).for_each(|_| follower.loader.rescan());
        let mut said = follower.until_answered(3);
        said.sort();
        assert_eq!(said, [&format!("a.twc: /{n}"), "gone.twc removed"]);
        follower.write("gone.twc", &watch("/gone"));
        assert_eq!(follower.short(), "gone.twc: /gone");
    }
    // A change without a request brings no answer.
    follower.write("a.twc", &watch("/end"));
    assert_eq!(follower.short(), "a.twc: /end");
    assert!(follower.changes.recv_timeout(Duration::from_millis(1200)).is_err());
}

#[test]
fn nested_new_directories_are_found() {
    let follower = Follower::ready(&[]);
    fs::create_dir_all(follower.root.join("x/y/z")).unwrap();
    follower.write("x/y/z/a.twc", &watch("/a"));
    assert_eq!(follower.short(), "x/y/z/a.twc: /a");
    follower.write("x/y/z/a.twc", &watch("/b"));
    assert_eq!(follower.short(), "x/y/z/a.twc: /b");
    fs::rename(follower.root.join("x"), follower.root.join("w")).unwrap();
    let mut said = [follower.short(), follower.short()];
    said.sort();
    assert_eq!(said, ["w/y/z/a.twc: /b", "x/y/z/a.twc removed"]);
    fs::remove_dir_all(follower.root.join("w")).unwrap();
    assert_eq!(follower.short(), "w/y/z/a.twc removed");
}

#[test]
fn editors_that_swap_files_remove_nothing() {
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    let path = follower.root.join("a.twc");
    for n in 0..3 {
        let moved = Instant::now();
        fs::rename(&path, follower.root.join("a.twc~")).unwrap();
        // The loader looks in the meantime.
        follower.loader.rescan();
        thread::sleep(Duration::from_millis(20));
        follower.write("a.twc", &watch(&format!("/{n}")));
        let held_up = moved.elapsed() > SETTLING;
        let mut said = follower.short();
        if held_up && said == "a.twc removed" {
            said = follower.short();
        }
        assert_eq!(said, format!("a.twc: /{n}"));
        follower.write(".a.twc.new", &watch(&format!("/new{n}")));
        fs::rename(follower.root.join(".a.twc.new"), &path).unwrap();
        assert_eq!(follower.short(), format!("a.twc: /new{n}"));
    }
    follower.quiet();
}

#[test]
fn half_written_files_are_waited_for() {
    use std::io::Write;
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    let mut file = fs::File::create(follower.root.join("a.twc")).unwrap();
    let (mut last_write, mut longest_pause) = (Instant::now(), Duration::ZERO);
    let mut write = |text: &str| {
        file.write_all(text.as_bytes()).unwrap();
        longest_pause = longest_pause.max(last_write.elapsed());
        last_write = Instant::now();
    };
    for n in 0..10 {
        let text = watch(&format!("/{n}"));
        let (first, second) = text.split_at(20);
        write(first);
        // The loader looks in the meantime.
        follower.loader.rescan();
        thread::sleep(Duration::from_millis(15));
        write(second);
    }
    let mut said = follower.short();
    while longest_pause > SETTLING && !said.ends_with("/9") {
        said = follower.short();
    }
    assert_eq!(said, "a.twc: /0,/1,/2,/3,/4,/5,/6,/7,/8,/9");
}

#[test]
fn symlinked_files_and_directories_are_followed() {
    let follower = Follower::ready(&[]);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("real"), watch("/a")).unwrap();
    symlink(outside.path().join("real"), follower.root.join("a.twc")).unwrap();
    assert_eq!(follower.short(), "a.twc: /a");
    // No scan is under way that would see the change by chance.
    follower.rest();
    fs::write(outside.path().join("real"), watch("/b")).unwrap();
    assert_eq!(follower.short(), "a.twc: /b");
    follower.rest();
    fs::write(outside.path().join("new"), watch("/new")).unwrap();
    fs::rename(outside.path().join("new"), outside.path().join("real")).unwrap();
    assert_eq!(follower.short(), "a.twc: /new");
    follower.rest();
    fs::write(outside.path().join("real"), watch("/newer")).unwrap();
    assert_eq!(follower.short(), "a.twc: /newer");
    // A link in a circle.
    symlink(".", follower.root.join("loop")).unwrap();
    follower.write("b.twc", &watch("/c"));
    assert_eq!(follower.short(), "b.twc: /c");
    follower.quiet();
}

#[test]
fn a_changed_or_created_module_reloads_its_importers() {
    let user = "import \"lib/m\" as m; RegisterWatch(#{znode: m::node(), action: Exec(`x`)});";
    let follower = Follower::ready(&[("a.twc", user), ("b.twc", &watch("/b"))]);
    fs::create_dir(follower.root.join("lib")).unwrap();
    follower.write("lib/m.rhai", "fn node() { `/one` }");
    assert_eq!(follower.short(), "a.twc: /one");
    follower.write("lib/m.rhai", "fn node() { `/two` }");
    assert_eq!(follower.short(), "a.twc: /two");
    fs::remove_file(follower.root.join("lib/m.rhai")).unwrap();
    match follower.next() {
        FileChange::Failed { file, error } => {
            assert_eq!(file, "a.twc");
            assert!(error.contains("lib/m.rhai: no such module"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    follower.write("lib/m.rhai", "fn node() { `/three` }");
    assert_eq!(follower.short(), "a.twc: /three");
    // A module cannot be a link that leads out of the directory.
    fs::remove_file(follower.root.join("lib/m.rhai")).unwrap();
    symlink("/etc/hostname", follower.root.join("lib/m.rhai")).unwrap();
    match follower.next() {
        FileChange::Failed { error, .. } => assert!(error.contains("outside"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_thousand_files_load_and_one_of_them_reloads() {
    let files: Vec<(String, String)> =
        (0..10_000).map(|n| (format!("d{}/{n}.twc", n % 100), watch(&format!("/{n}")))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let follower = Follower::new(&files);
    let mut loaded = 0;
    loop {
        match follower.next() {
            FileChange::Loaded { .. } => loaded += 1,
            FileChange::FirstScanDone => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(loaded, 10_000);
    follower.write("d0/0.twc", &watch("/changed"));
    assert_eq!(follower.short(), "d0/0.twc: /changed");
}
