//! Fuzzes the ledger's files. Whatever is on the disk, the daemon must be able to use it, or set it aside for
//! a new ledger, or report that it cannot be used; and must be able to work with what it reads.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arbitrary::{Result, Unstructured};
use rusqlite::Connection;
use rusqlite::types::Value;
use twitcher::action::proc::ProcessId;
use twitcher::ledger::{
    FILE, Intent, Ledger, LedgerEvent, RunCause, RunFilter, RunOutcome, UnfinishedRun, WatchRecord,
};
use twitcher::model::{CommitNote, Facet, NodePath, Policy, Subject, Version, WatchKey};
use twitcher::text::Timestamp;
use twitcher::watch::{Event, Record, Recovery, Seen, Snapshot};

use super::watch;

const CONFIG: &str = "git.twc";
const WATCHES: [&str; 2] = ["pull", "git.twc-2"];
const RUN: &str = "19a.1-7";

/// An undamaged ledger: the contents of its database and of its write-ahead log.
#[derive(Clone)]
struct Seed {
    main: Vec<u8>,
    log: Vec<u8>,
}

/// The first byte of `data` says what the others are: the files themselves, or what happens to an undamaged
/// ledger.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let dir = tempfile::tempdir().expect("a directory");
    if write_ledger(dir.path(), &mut input).is_err() {
        return;
    }
    use_ledger(dir.path(), &mut input);
    // The next daemon must find what this one recorded.
    let Ok(mut ledger) = Ledger::open(dir.path()) else { return };
    if ledger.lost_reason().is_none() && ledger.next_event().is_none() {
        assert!(ledger.load_watches(CONFIG).contains_key(WATCHES[0]), "a record is gone");
    }
}

/// Writes a ledger into `dir`, damaged in a way that `input` chooses.
fn write_ledger(dir: &Path, input: &mut Unstructured<'_>) -> Result<()> {
    let [main, log] = [dir.join(FILE), dir.join(format!("{FILE}-wal"))];
    let write = |seed: &Seed| {
        fs::write(&main, &seed.main).expect("room");
        if !seed.log.is_empty() {
            fs::write(&log, &seed.log).expect("room");
        }
    };
    match input.int_in_range(0..=4)? {
        0 => {
            let length = input.arbitrary_len::<u8>()?;
            let (main, log) = (input.bytes(length)?.to_vec(), input.bytes(input.len())?.to_vec());
            write(&Seed { main, log });
        }
        1 | 2 => {
            let [closed, open] = seeds();
            let mut seed = if input.arbitrary()? { open.clone() } else { closed.clone() };
            while !input.is_empty() && input.arbitrary()? {
                let file = if input.arbitrary()? { &mut seed.log } else { &mut seed.main };
                damage(file, input)?;
            }
            write(&seed);
        }
        _ => {
            write(&seeds()[0]);
            while !input.is_empty() && input.arbitrary()? {
                falsify(&main, input)?;
            }
        }
    }
    Ok(())
}

fn damage(file: &mut Vec<u8>, input: &mut Unstructured<'_>) -> Result<()> {
    if file.is_empty() {
        return Ok(());
    }
    let at = usize::try_from(input.arbitrary::<u32>()?).expect("64 bits") % file.len();
    match input.int_in_range(0..=3)? {
        0 => file.truncate(at),
        1 => {
            // Copies one page over another.
            let (from, to) = (at / 4096 * 4096, usize::from(input.arbitrary::<u8>()?) * 4096);
            let page: Vec<u8> = file[from..].iter().take(4096).copied().collect();
            file.iter_mut().skip(to).zip(page).for_each(|(old, new)| *old = new);
        }
        _ => {
            let bytes: &[u8] = input.arbitrary()?;
            file[at..].iter_mut().zip(bytes).for_each(|(old, new)| *old = *new);
        }
    }
    Ok(())
}

/// Sets a column to a value that no daemon writes, in one row or in all.
fn falsify(main: &Path, input: &mut Unstructured<'_>) -> Result<()> {
    let (table, one, columns) = input.choose(&COLUMNS)?;
    let rows = if input.arbitrary()? { *one } else { "TRUE" };
    let column = input.choose(columns)?;
    let value = match input.int_in_range(0..=5)? {
        0 => Value::Null,
        1 => Value::Integer(*input.choose(&[0, 1, -1, 1 << 31, 1 << 32, 1 << 62, i64::MAX, i64::MIN])?),
        2 => Value::Integer(input.arbitrary()?),
        3 => Value::Real(*input.choose(&[0.5, f64::INFINITY, f64::MAX, -0.0])?),
        4 => Value::Blob(input.arbitrary::<&[u8]>()?.into()),
        _ => Value::Text(input.arbitrary::<&str>()?.into()),
    };
    // A cast also makes text that is no UTF-8.
    let cast = if input.arbitrary()? { "CAST(?1 AS TEXT)" } else { "?1" };
    let connection = Connection::open(main).expect("a sound ledger");
    connection.pragma_update(None, "ignore_check_constraints", true).expect("a setting");
    // The tables themselves refuse some values.
    let _ = connection.execute(&format!("UPDATE {table} SET {column} = {cast} WHERE {rows}"), [value]);
    Ok(())
}

/// For each table its name, a condition that one of its rows fulfils, and its columns.
const COLUMNS: [(&str, &str, &[&str]); 2] = [
    (
        "watches",
        "description = 'pull'",
        &[
            "store",
            "node",
            "facet",
            "definition",
            "observed_state",
            "observed_incarnation",
            "observed_revision",
            "observed_number",
            "owed",
            "applied_incarnation",
            "applied_definition",
            "applied_at",
            "discarded_number",
            "held_number",
            "admitted_number",
            "failures",
            "stopped",
            "paused",
            "last_error",
            "next_try",
            "updated",
            "description",
        ],
    ),
    (
        "runs",
        "outcome IS NULL",
        &[
            "seq",
            "run",
            "file",
            "description",
            "store",
            "node",
            "facet",
            "definition",
            "incarnation",
            "version",
            "event",
            "started",
            "timeout",
            "boot",
            "pid",
            "pid_started",
            "ended",
            "outcome",
            "exit_code",
            "signal",
            "error",
            "output",
        ],
    ),
];

/// Does what a daemon does that starts, runs something and stops.
fn use_ledger(dir: &Path, input: &mut Unstructured<'_>) {
    let Ok(mut ledger) = Ledger::open(dir) else { return };
    let first = ledger.next_event();
    assert!(ledger.lost_reason().is_none() || matches!(first, Some(LedgerEvent::Lost { .. })));
    for stored in ledger.load_watches(CONFIG).into_values() {
        let known = Record { snapshot: stored.snapshot, same_subject: true, same_definition: true };
        let recovery = Recovery { record: Some(known), ..Recovery::default() };
        watch::live(Policy { max_parallel: 2, ..Policy::UNLOADED }, Facet::Data, recovery, input);
    }
    for UnfinishedRun { intent, process, .. } in ledger.unfinished() {
        assert!(
            process.is_none_or(|ProcessId { pid, .. }| pid > 0),
            "this names a process group: {process:?}"
        );
        drop(intent.watch.to_string());
        // The daemon computes the end of the timeout, which must not overflow.
        let _ = intent.timeout.map(|timeout| Duration::from_secs(1) + timeout);
        ledger.record_intent_again(&intent);
    }
    let watch = Some(WATCHES[0].into());
    let (since, until) = (Some(std::time::UNIX_EPOCH), Some(std::time::SystemTime::now()));
    let narrow = RunFilter { watch, failed: true, since, until };
    for filter in [RunFilter::default(), narrow] {
        for (_, run) in ledger.history(&filter, None, 200).unwrap_or_default() {
            serde_json::to_string(&run).expect("a run can be shown");
            drop((run.summary(), run.started.to_the_second()));
        }
    }
    let _ = (ledger.output(RUN), ledger.output("7"));
    record(&mut ledger, "19b.1-1");
    ledger.end_unfinished(|run| run == RUN);
    ledger.retire(&key(WATCHES[1]));
    ledger.prune_watches(|watch| &*watch.description == WATCHES[0]);
    ledger.commit();
    let second = ledger.next_event();
    assert!(
        ledger.lost_reason().is_none()
            || [first, second].iter().any(|event| matches!(event, Some(LedgerEvent::Lost { .. })))
    );
    // If the ledger was set aside meanwhile, what was recorded before is gone, and is recorded again.
    record(&mut ledger, "19b.1-2");
    ledger.commit();
    let _ = ledger.size();
}

/// Records the watches, and a run.
fn record(ledger: &mut Ledger, run: &str) {
    let version = Version { incarnation: 1, revision: 2, number: 3 };
    let snapshot = Snapshot {
        seen: Some(Seen::Present(version)),
        pending: Some(Event::Changed),
        applied: Some(version),
        discarded: Some(version),
        admitted: Some(version),
        failures: 2,
        ..Snapshot::default()
    };
    let subject = Subject { path: NodePath::parse("/git/head").expect("a path"), facet: Facet::Data };
    let commit = CommitNote { version: 7, author: "gian".into(), comment: "rofl".into() };
    let cause = RunCause {
        commit: Some(Arc::new(commit.clone())),
        transaction: Some("0x1f3".into()),
        changed: Timestamp::from_millis(1_795_277_611_042),
    };
    for description in WATCHES {
        ledger.save_watch(&WatchRecord {
            watch: &key(description),
            store: "default zk:/",
            subject: &subject,
            definition: 7,
            snapshot: &snapshot,
            applied_commit: Some(&commit),
            last_error: Some("exit code 1"),
            next_try: Some(SystemTime::UNIX_EPOCH),
        });
    }
    let intent = |run: &str| Intent {
        run: run.into(),
        watch: key(WATCHES[0]),
        store: Arc::from("default zk:/"),
        subject: subject.clone(),
        definition: 7,
        version,
        event: Event::Created,
        cause: cause.clone(),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_277_611),
        timeout: Some(Duration::from_secs(60)),
    };
    ledger.record_intents([intent(run), intent(RUN)].iter());
    ledger.started(run, ProcessId { pid: 4_000_000, started: 1 }, Some(Duration::from_secs(60)));
    ledger.started(RUN, ProcessId { pid: 4_000_001, started: 1 }, Some(Duration::from_secs(60)));
    ledger.ended(run, RunOutcome::Exited(1), b"printed\n");
}

fn key(description: &str) -> WatchKey {
    WatchKey { file: CONFIG.into(), description: description.into() }
}

/// The ledger of a daemon that stopped, and that of a daemon that was killed.
fn seeds() -> &'static [Seed; 2] {
    static SEEDS: OnceLock<[Seed; 2]> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let read = || Seed {
            main: fs::read(dir.path().join(FILE)).expect("a ledger"),
            log: fs::read(dir.path().join(format!("{FILE}-wal"))).unwrap_or_default(),
        };
        let mut ledger = Ledger::open(dir.path()).expect("a new ledger");
        record(&mut ledger, "19a.1-6");
        ledger.commit();
        let open = read();
        drop(ledger);
        [read(), open]
    })
}
