//! "A full disk": 503, nothing is half there, and saves work again once there is room.

use std::fs;
use std::path::PathBuf;

use crate::harness::{CommitServer, require_root};

const LARGE: usize = 100 << 10;

/// Saves versions of the key `foo` until one is refused, at most `most`. Returns how many were kept.
#[track_caller]
fn save_until_refused(server: &CommitServer, payload: &[u8], most: u32) -> u32 {
    for version in 1..=most {
        let saved = server.save("foo", version, payload);
        if saved.status == 200 {
            continue;
        }
        let told = saved.text();
        let expected = "Journal is not available: the database is not available: ";
        assert!(saved.status == 503 && told.starts_with(expected), "{} {told}", saved.status);
        return version - 1;
    }
    panic!("{most} saves found room")
}

/// Checks that these versions of `foo` are there, whole, and no other one.
#[track_caller]
fn expect_whole(server: &CommitServer, versions: u32, payload: &[u8]) {
    for version in 1..=versions {
        let read = server.get(&format!("/diary/foo/{version}"));
        assert!(read.status == 200 && read.body == payload, "version {version}: {}", read.status);
    }
    assert_eq!(server.get(&format!("/diary/foo/{}", versions + 1)).status, 404);
    assert_eq!(server.get("/diary").json()["foo"]["version"], versions);
}

#[test]
fn a_full_disk_refuses_saves_keeps_nothing_half_and_works_again_with_room() {
    require_root();
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let directory = home.path().join("disk");
    fs::create_dir(&directory).unwrap();
    let mount = format!("mount -t tmpfs -o size=2m tmpfs {} && exec \"$@\"", directory.display());
    let settings = "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"sqlite:$HOME/disk/commits.db\"\n\
                    [serve.commits.diary]\n";
    let server = CommitServer::start_under(&["unshare", "--mount", "sh", "-c", &mount, "sh"], home, settings);
    // The disk as the server sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", server.process().0));
    let fill = seen.join(directory.join("fill").strip_prefix("/").unwrap());
    fs::write(&fill, vec![0; 1 << 20]).expect("room for a half");
    let payload = vec![b'x'; LARGE];
    let kept = save_until_refused(&server, &payload, 20);
    expect_whole(&server, kept, &payload);
    // A refusal changes nothing, however often.
    assert_eq!(server.save("foo", kept + 1, &payload).status, 503);
    expect_whole(&server, kept, &payload);
    assert_eq!(server.metric("twitcher_serve_commits"), f64::from(kept));
    fs::remove_file(&fill).expect("make room");
    assert_eq!(server.save("foo", kept + 1, &payload).status, 200);
    expect_whole(&server, kept + 1, &payload);
}

// The kernel sends a signal, which would end the server.
#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_ends_nobody() {
    let mut server = CommitServer::diary("");
    server.limit("fsize", "300000");
    let payload = vec![b'x'; LARGE];
    let kept = save_until_refused(&server, &payload, 20);
    expect_whole(&server, kept, &payload);
    server.limit("fsize", "unlimited");
    assert_eq!(server.save("foo", kept + 1, &payload).status, 200);
    server.kill_and_start_again();
    expect_whole(&server, kept + 1, &payload);
}
