//! More happens than the kernel keeps: "nothing is deaf".

use super::*;
use crate::store::directory::watches::{ArmResult, Hint, Watches};

/// How many events the kernel keeps for one who does not read them.
fn kept() -> usize {
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    text.trim().parse().unwrap()
}

/// Makes more events in a directory than are kept. Two that follow one another are never the same.
fn overflow(directory: &std::path::Path) {
    let noise = ["one", "two"].map(|name| directory.join(name));
    for _ in 0..kept() / 4 + 1 {
        noise.iter().for_each(|file| fs::write(file, "").unwrap());
    }
}

#[tokio::test]
async fn lost_events_are_said_to_be_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut watches = Watches::new().unwrap();
    assert_eq!(watches.arm("", directory.path()), ArmResult::Yes);
    overflow(directory.path());
    fs::write(directory.path().join("late"), "").unwrap();
    let hints = watches.drain();
    assert_eq!(hints.last(), Some(&Hint::Overflow));
    let is_late = |hint: &Hint| matches!(hint, Hint::Entry { path, .. } if path == "/late");
    assert!(!hints.iter().any(is_late), "the test loses nothing");
    fs::write(directory.path().join("later"), "").unwrap();
    assert!(matches!(watches.drain()[..], [Hint::Entry { .. }, ..]), "the next ones are not lost");
}

// The rescan, which would find it as well, is a minute away.
#[tokio::test]
async fn what_happened_while_events_were_lost_is_found_at_once() {
    LocalSet::new()
        .run_until(async {
            let mut store = Store::open().await;
            store.write("n", "one");
            fs::create_dir(store.file("deep")).unwrap();
            let state = store.subscribe(data("/n")).await;
            assert_eq!(text(&state).as_deref(), Some("one"));
            assert!(matches!(store.subscribe(data("/deep/n")).await, State::Absent));
            // Nothing here lets the store read what the kernel keeps.
            overflow(&store.file(""));
            store.write("n", "two");
            store.write("deep/n", "new");
            let mut seen = [store.text().await, store.text().await];
            seen.sort();
            assert_eq!(seen.map(Option::unwrap), ["new", "two"]);
        })
        .await;
}
