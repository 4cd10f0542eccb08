//! A log that another process keeps from being emptied.

use super::*;

const OUTPUT: [u8; 4096] = [b'x'; 4096];

/// Does what the daemon does for a run with output.
fn run(ledger: &mut Ledger, number: u32) {
    let run = number.to_string();
    record_intents(ledger, &run);
    ledger.ended(&run, RunOutcome::Exited(0), &OUTPUT);
    ledger.commit();
}

#[test]
fn while_a_reader_lets_the_log_grow_no_output_is_recorded() {
    let dir = TestDir::new();
    let limits = Limits { log_bytes: 24 * 1024 * 1024, ..limits() };
    let mut ledger = Ledger::open_with(dir.root(), limits).unwrap();
    let log_size = || fs::metadata(dir.path("ledger.db-wal")).unwrap().len();
    run(&mut ledger, 0);
    let reader = Connection::open(dir.path(FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    let mut number = 0;
    let event = loop {
        number += 1;
        run(&mut ledger, number);
        assert!(log_size() < limits.log_bytes + 8 * 1024 * 1024);
        if let Some(event) = ledger.next_event() {
            break event;
        }
    };
    let LedgerEvent::Oversized { reason } = event else { panic!("{event:?}") };
    assert!(reason.contains(dir.root().to_str().unwrap()) && reason.contains("-wal"), "{reason}");
    assert!(ledger.growth().is_some());
    let last = number;
    for number in last + 1..last + 50 {
        run(&mut ledger, number);
    }
    assert_eq!(ledger.outputs_dropped(), 49);
    assert_eq!(ledger.next_event(), None, "reported once");
    assert_eq!(ledger.output(&last.to_string()), Ok(Some(OUTPUT.to_vec())));
    assert_eq!(ledger.output(&(last + 1).to_string()), Ok(Some(Vec::new())), "but the run is recorded");
    assert_eq!(ledger.unfinished(), []);

    // An idle daemon notices that the reader has left.
    reader.execute_batch("COMMIT").unwrap();
    ledger.maintain();
    assert!(ledger.wait_for_checkpoint());
    ledger.maintain();
    assert_eq!(ledger.next_event(), Some(LedgerEvent::Shrunk));
    assert_eq!(ledger.growth(), None);
    assert!(log_size() < 1024 * 1024, "{}", log_size());
    run(&mut ledger, last + 100);
    assert_eq!(ledger.output(&(last + 100).to_string()), Ok(Some(OUTPUT.to_vec())));
}

#[test]
fn a_large_log_of_a_killed_daemon_is_emptied_without_many_writes() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    let reader = Connection::open(dir.path(FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM runs").unwrap();
    for number in 0..1_500 {
        run(&mut ledger, number);
    }
    // A killed daemon closes nothing, and none of its threads holds a lock any more.
    assert!(ledger.wait_for_checkpoint());
    std::mem::forget(ledger);
    drop(reader);
    let log_size = || fs::metadata(dir.path("ledger.db-wal")).unwrap().len();
    assert!(log_size() > 16 * 1024 * 1024);
    let mut ledger = dir.open();
    run(&mut ledger, 2_000);
    assert!(ledger.wait_for_checkpoint());
    assert!(log_size() < 1024 * 1024, "{}", log_size());
}
