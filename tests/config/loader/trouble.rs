//! Files and directories that the loader cannot read or does not trust.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use twitcher::config::files::{FileChange, start_with};
use twitcher::config::scan;
use twitcher::trust::Trust;
use twitcher::trust::root::Root;

use super::{Follower, RESCAN_INTERVAL, stores};
use crate::{DEADLINE, TWITCHER, set_umask, watch};

#[test]
fn a_missing_directory_is_an_error_at_once() {
    assert!(
        start_with(
            "/no/such/directory".into(),
            Trust::Anyone,
            stores(),
            RESCAN_INTERVAL,
            TWITCHER.into(),
            |_| {}
        )
        .is_err()
    );
}

#[test]
fn a_failing_file_is_reported_once_and_loads_once_mended() {
    let follower = Follower::ready(&[("a.twc", &watch("/a"))]);
    follower.write("a.twc", "RegisterWatch(#{znode: `/a`, action: Exec(`x`), uid: `nosuchuser`});");
    match follower.next() {
        FileChange::Failed { error, .. } => {
            assert!(error.contains("a.twc:1:49: `uid`: unknown user \"nosuchuser\"\n  | Reg"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // It is tried again and fails in the same way.
    follower.rest();
    follower.quiet();
    follower.write("a.twc", &watch("/b"));
    assert_eq!(follower.short(), "a.twc: /b");
}

// One user that a host does not have keeps out only what names it.
#[test]
fn a_watch_of_an_unknown_user_alone_is_left_out_and_tried_again() {
    let unknown = "RegisterWatch(#{znode: `/b`, action: Exec(`x`), description: `b`, uid: `nosuchuser`});\n";
    let follower = Follower::ready(&[]);
    follower.write("a.twc", &format!("{}{unknown}{}", watch("/a"), watch("/c")));
    match follower.next() {
        FileChange::Loaded { watches, left_out: Some(left_out), .. } => {
            let nodes: Vec<&str> = watches.iter().map(|watch| watch.subject.path.as_str()).collect();
            assert_eq!((nodes, left_out.watches), (vec!["/a", "/c"], vec!["b".to_owned()]));
            let expected = "a.twc:2:67: `uid`: unknown user \"nosuchuser\"; this watch is left out\n";
            assert!(left_out.error.contains(expected), "{}", left_out.error);
        }
        other => panic!("{other:?}"),
    }
    // It is tried again, and nothing changed.
    follower.rest();
    follower.quiet();
    follower.write("a.twc", &watch("/a"));
    assert!(matches!(follower.next(), FileChange::Loaded { left_out: None, .. }));
    // A mistake in the text keeps out the whole file.
    follower.write("a.twc", &format!("{}{unknown}RegisterWatch(#{{}});", watch("/a")));
    match follower.next() {
        FileChange::Failed { error, .. } => {
            assert!(error.contains("nosuchuser") && error.contains("missing key `znode`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rescan_is_answered_while_other_files_change_all_the_time() {
    let follower = Follower::ready(&[]);
    let paths = ["a.twc", "b.twc", "c.twc"].map(|name| follower.root.join(name));
    let (answered, writing) = mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        for (n, path) in paths.iter().cycle().enumerate() {
            fs::write(path, format!("// {n}")).unwrap();
            let pause = Duration::from_millis(7);
            if writing.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    });
    follower.next();
    follower.loader.rescan();
    follower.until_answered(1);
    drop(answered);
    writer.join().unwrap();
}

#[test]
fn a_root_that_vanishes_removes_nothing() {
    let follower = Follower::ready(&[("a.twc", &watch("/a")), ("b.twc", &watch("/b"))]);
    let aside = follower.root.with_extension("aside");
    fs::rename(&follower.root, &aside).unwrap();
    assert!(follower.short().contains("cannot read"));
    fs::create_dir(&follower.root).unwrap();
    follower.write("a.twc", &watch("/changed"));
    assert_eq!(follower.short(), "./ opened");
    assert_eq!(follower.short(), "a.twc: /changed");
    assert_eq!(follower.short(), "b.twc removed");
    // The loader follows the new directory, too.
    follower.write("b.twc", &watch("/b"));
    assert_eq!(follower.short(), "b.twc: /b");
}

#[test]
fn a_directory_that_cannot_be_read_removes_nothing() {
    let follower = Follower::ready(&[("sub/a.twc", &watch("/a"))]);
    let sub = follower.root.join("sub");
    // A symlink to itself cannot be read, not even by root.
    fs::rename(&sub, follower.root.join(".sub")).unwrap();
    symlink("sub", &sub).unwrap();
    assert!(follower.short().contains("sub: cannot read"));
    follower.quiet();
    fs::remove_file(&sub).unwrap();
    fs::rename(follower.root.join(".sub"), &sub).unwrap();
    assert_eq!(follower.short(), "sub/ opened");
    follower.write("sub/a.twc", &watch("/b"));
    assert_eq!(follower.short(), "sub/a.twc: /b");
}

// A release is often put in place by removing a link and making another one.
#[test]
fn a_link_whose_target_is_away_removes_nothing() {
    let follower = Follower::ready(&[(".r1/app.twc", &watch("/a")), (".r1/team/b.twc", &watch("/b"))]);
    let link = |target: &str, name: &str| symlink(target, follower.root.join(name)).unwrap();
    let remove = |name: &str| fs::remove_file(follower.root.join(name)).unwrap();
    link(".r1", ".current");
    link(".current/app.twc", "app.twc");
    assert_eq!(follower.short(), "app.twc: /a");
    link(".current/team", "team");
    assert_eq!(follower.short(), "team/b.twc: /b");
    // What else a link may lead to is not said.
    link("none", "lib.rhai");
    link("none", "web.json");
    follower.rest();
    remove(".current");
    let remedy = "which does not exist; restore that, or remove the link";
    let closed = follower.short();
    assert!(closed.contains(&format!("team: a link to .current/team, {remedy}")), "{closed}");
    match follower.next() {
        FileChange::Failed { file, error } if file == "app.twc" => {
            assert!(error.ends_with(&format!("app.twc: a link to .current/app.twc, {remedy}")), "{error}");
        }
        other => panic!("{other:?}"),
    }
    follower.quiet();
    link(".r1", ".current");
    assert_eq!([follower.short(), follower.short()], ["team/ opened", "app.twc: /a"]);
    follower.rest();
    // A link that is removed takes its watches along.
    remove("app.twc");
    assert_eq!(follower.short(), "app.twc removed");
    remove("team");
    assert_eq!(follower.short(), "team/b.twc removed");
}

#[test]
fn loose_permissions_that_are_allowed_bring_a_warning() {
    let follower = Follower::trusting(Trust::Warned, &[]);
    while !matches!(follower.next(), FileChange::FirstScanDone) {}
    follower.write(".new", &watch("/a"));
    fs::set_permissions(follower.root.join(".new"), Permissions::from_mode(0o666)).unwrap();
    fs::rename(follower.root.join(".new"), follower.root.join("a.twc")).unwrap();
    match follower.next() {
        FileChange::Loaded { warnings, .. } => {
            assert!(warnings.iter().any(|warning| warning.contains("writable by its group")), "{warnings:?}");
        }
        other => panic!("{other:?}"),
    }
}

// The files are swapped faster than any loader looks.
#[test]
fn a_file_swapped_between_check_and_read_is_never_read() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    set_umask();
    let directory = tempfile::tempdir().unwrap();
    let (root, outside) = (directory.path().join("configs"), directory.path().join("outside"));
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        path.to_owned()
    };
    write(&outside.join("a.twc"), "evil");
    let foreign = write(&root.join(".foreign.twc"), "evil");
    lchown(&foreign, Some(65534), None).unwrap();
    symlink("../outside/a.twc", root.join(".link.twc")).unwrap();
    symlink("../outside", root.join(".into")).unwrap();
    let loose = write(&root.join(".loose/a.twc"), "evil");
    fs::set_permissions(loose.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
    let kinds = ["foreign.twc", "link.twc", "into", "loose"];
    let (mut good, mut refused) = ([0; 4], [0; 4]);
    let done = AtomicBool::new(false);
    let files =
        kinds.map(|kind| if kind.ends_with(".twc") { kind.to_owned() } else { format!("{kind}/a.twc") });
    files.iter().for_each(|file| drop(write(&root.join(file), "good")));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for kind in kinds {
                    let (one, other) = (root.join(kind), root.join(format!(".{kind}")));
                    let flags = RenameFlags::RENAME_EXCHANGE;
                    renameat2(AT_FDCWD, &one, AT_FDCWD, &other, flags).unwrap();
                }
            }
        });
        let started = Instant::now();
        let mut read_evil = false;
        for n in 0.. {
            let opened = Root::open(&root, Trust::Root).unwrap();
            for (kind, file) in files.iter().enumerate() {
                match scan::read(&opened, Path::new(file)) {
                    Ok(Some(read)) if read.text == "good" => good[kind] += 1,
                    Ok(Some(_)) => read_evil = true,
                    Ok(None) => {}
                    Err(_) => refused[kind] += 1,
                }
            }
            let enough = n > 5_000 && good.iter().chain(&refused).all(|count| *count > 100);
            if enough || read_evil || started.elapsed() > DEADLINE {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(!read_evil);
    });
    eprintln!("read {good:?}, refused {refused:?}");
    assert!(good.iter().chain(&refused).all(|count| *count > 0), "read {good:?}, refused {refused:?}");
}
