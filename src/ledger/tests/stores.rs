//! What a ledger keeps of stores.

use super::*;

fn memories(ledger: &mut Ledger) -> [Option<String>; 3] {
    ["dir:/a", "dir:/b", "dir:/c"].map(|store| ledger.memory(store))
}

fn told(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn what_a_store_has_its_next_process_told_outlives_the_daemon() {
    let dir = TestDir::new();
    let mut ledger = dir.open();
    assert_eq!(memories(&mut ledger), [None, None, None]);
    ledger.remember("dir:/a", "first");
    ledger.remember("dir:/b", "other");
    ledger.remember("dir:/a", "last");
    let expected = [told("last"), told("other"), None];
    assert_eq!(memories(&mut ledger), expected);
    drop(ledger);
    assert_eq!(memories(&mut dir.open()), expected);
}

#[test]
fn a_ledger_from_before_stores_were_remembered_remembers_them() {
    let dir = with_records();
    Connection::open(dir.path(FILE)).unwrap().execute("DROP TABLE roots", []).unwrap();
    let mut ledger = dir.open();
    assert_eq!((ledger.next_event(), memories(&mut ledger)), (None, [None, None, None]));
    ledger.remember("dir:/b", "other");
    drop(ledger);
    assert_eq!(memories(&mut dir.open()), [None, told("other"), None]);
    assert_works(&dir, dir.open());
}
