//! "A validator that hangs, forks, is missing": it refuses, harms no other save, and leaves nothing behind.

use std::fs;
use std::thread;

use crate::harness::{CommitServer, Process, wait_until};

/// How long sleeps what a validator leaves behind. Nothing else does, not even in another run of this test.
fn sleep() -> String {
    format!("86397.{}", std::process::id())
}

/// The validator, by key.
const VALIDATOR: &str = r#"
case "$TWITCHER_KEY" in
hang) sleep $SLEEP & sleep $SLEEP ;;
background) sleep $SLEEP & exit 0 ;;
session) : $(setsid sh -c "echo is there; exec sleep $SLEEP >/dev/null" &) ; exit 0 ;;
many) for n in $(seq 300); do sleep $SLEEP & done; exit 0 ;;
esac
"#;

fn sleepers() -> Vec<Process> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let end = format!("sleep\0{}\0", sleep());
    let is_sleeper = |process: &Process| {
        let words = fs::read(format!("/proc/{}/cmdline", process.0)).unwrap_or_default();
        words.ends_with(end.as_bytes())
    };
    pids.map(Process).filter(is_sleeper).collect()
}

#[test]
fn whatever_a_validator_does_it_holds_up_no_other_save_and_leaves_nothing_behind() {
    let validator = VALIDATOR.replace("$SLEEP", &sleep());
    let server = CommitServer::diary(&format!("validate = [\"/bin/sh\", \"-c\", '''{validator}''']"));
    thread::scope(|scope| {
        // It takes 10 s, in which everything else goes on.
        let hanging = scope.spawn(|| server.save("hang", 1, b"x"));
        wait_until("it to hang", || sleepers().len() == 2);
        assert_eq!(server.save("good", 1, b"x").status, 200);
        assert!(!hanging.is_finished(), "it is saved while the first validator hangs");
        let left = sleepers().len();
        for key in ["background", "session"] {
            assert_eq!(server.save(key, 1, b"x").status, 200, "it has accepted the payload");
            // Only the one that still runs keeps its own.
            assert_eq!(sleepers().len(), left, "{key}");
        }
        // As root's, it may have 64 processes. Otherwise nothing keeps it from having as many as its user.
        let many = server.save("many", 1, b"x");
        assert!([200, 422].contains(&many.status), "{}", many.text());
        assert_eq!(server.get("/diary/good").text(), "x");
        let refused = hanging.join().expect("a reply");
        let why = "the validator /bin/sh cannot be asked, so nothing is saved: it took longer than 10 s, and \
                   was killed";
        assert_eq!((refused.status, &*refused.text()), (422, why));
    });
    assert_eq!(server.get("/diary/hang").status, 404);
    wait_until("their processes to be gone", || sleepers().is_empty());
    assert_eq!(server.process().children().len(), 0, "no zombie is left");
}
