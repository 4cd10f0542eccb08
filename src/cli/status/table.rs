//! The table of `status`.

use std::time::SystemTime;

use crate::cli::shared::table::{self, Cell, Column, Table, duration};
use crate::control::status::{PauseStatus, WatchStatus};
use crate::ledger::RunRecord;
use crate::report::short_version;
use crate::text::Timestamp;

/// Returns the table for a terminal of this width, or the whole one, for programs and for `--wide`.
pub fn rows(watches: &[WatchStatus], width: Option<usize>) -> String {
    let now = SystemTime::now();
    let number = |watch: &WatchStatus, version: Option<i64>| match (version, width) {
        (None, _) => "-".to_owned(),
        (Some(version), Some(_)) => short_version(version, &watch.watch_type, now),
        (Some(version), None) => version.to_string(),
    };
    let mut table = Table::new(COLUMNS);
    for watch in watches {
        let (seen, applied) = (number(watch, watch.version), number(watch, watch.applied_version));
        let differ =
            (width.is_some() && watch.version != watch.applied_version).then(|| difference(&seen, &applied));
        table.row([
            watch.watch.as_str().into(),
            watch.node().into(),
            Cell::new(&watch.state, style(watch)),
            seen.into(),
            applied.into(),
            watch.last_run.as_ref().map_or("-".to_owned(), outcome).into(),
            notes(watch, width.map(|_| now)).into_iter().chain(differ).collect::<Vec<_>>().join(", ").into(),
        ]);
    }
    let without = width.map_or(&[][..], |_| &["SEEN", "APPLIED"]);
    table.render(width, without)
}

const COLUMNS: [Column; 7] = [
    Column::whole("WATCH"),
    Column::path("NODE"),
    Column::whole("STATE"),
    Column::whole("SEEN"),
    Column::whole("APPLIED"),
    Column::optional("LAST RUN"),
    Column::words("NOTE"),
];

/// Tells of two versions, `-` if there is none.
fn difference(seen: &str, applied: &str) -> String {
    match (seen, applied) {
        ("-", applied) => format!("applied {applied}"),
        (seen, "-") => format!("seen {seen}, none applied"),
        (seen, applied) => format!("seen {seen}, applied {applied}"),
    }
}

fn style(watch: &WatchStatus) -> anstyle::Style {
    match watch.state.as_str() {
        "idle" => table::GOOD,
        "running" | "waiting" => table::BUSY,
        "failed" | "stopped" | "retrying" | "unreadable" => table::BAD,
        "paused" | "held" => table::ODD,
        _ => table::PLAIN,
    }
}

/// Returns how the run ended. The reason why it could not start is long, and goes into the note.
fn outcome(run: &RunRecord) -> String {
    if run.error.is_some() { run.outcome.clone() } else { run.summary() }
}

/// Returns details that an operator wants to know next. `now` shortens points in time.
fn notes(watch: &WatchStatus, now: Option<SystemTime>) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(watch.pause.as_ref().and_then(|pause| pause_note(pause, now)));
    if !watch.registered {
        notes.push("no file registers it".to_owned());
    }
    match &watch.runs[..] {
        [] => {}
        [run] => notes.push(format!("{} for {}", run.process(), duration(run.seconds))),
        runs => notes.push(format!("{} running", runs.len())),
    }
    notes.extend(watch.next_start_seconds.map(|left| format!("next start in {}", duration(left))));
    notes.extend(watch.waits_for_place_seconds.map(|waited| {
        format!("has waited {} for others to start or to end (max_actions)", duration(waited))
    }));
    // The next start is one of the waiting updates.
    let next = watch.next_start_seconds.or(watch.waits_for_place_seconds);
    if watch.waiting > usize::from(next.is_some()) {
        notes.push(format!("{} waiting", watch.waiting));
    }
    match watch.failures {
        0 => {}
        1 => notes.push("1 failure".to_owned()),
        failures => notes.push(format!("{failures} failures in a row")),
    }
    notes.extend(watch.held.clone());
    let last = watch.last_run.as_ref().map(|run| run.outcome.as_str());
    if !matches!(last, Some("exit" | "signal" | "timeout" | "killed")) {
        notes.extend(watch.error.clone());
    }
    notes
}

/// Returns who paused a watch, when, until when and why, as far as that is known.
fn pause_note(pause: &PauseStatus, now: Option<SystemTime>) -> Option<String> {
    let PauseStatus { by, since, until, why } = pause;
    let time = |time: &Timestamp| now.map_or_else(|| time.to_the_second(), |now| time.short(now));
    let by = by.as_ref().map(|by| format!("by {by}"));
    let since = since.as_ref().map(|since| format!("at {}", time(since)));
    let until = until.as_ref().map(|until| format!("until {}", time(until)));
    let terms: Vec<_> = by.into_iter().chain(since).chain(until).collect();
    let note = [terms.join(" "), why.clone().unwrap_or_default()];
    let note: Vec<_> = note.into_iter().filter(|part| !part.is_empty()).collect();
    (!note.is_empty()).then(|| note.join(": "))
}
