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
    let Some(width) = width else { return whole(watches).render(None, &[]) };
    let table = with_outcomes(watches, now);
    if table.fits(width, VERSIONS, READABLE_NOTE) {
        return table.render(Some(width), VERSIONS);
    }
    // The column of outcomes is empty in most rows, so they go into the notes.
    let table = short(watches, now, true);
    let table = if table.fits(width, FOLDED, usize::MAX) { table } else { short(watches, now, false) };
    table.render(Some(width), FOLDED)
}

const COLUMNS: [Column; 7] = [
    Column::whole("WATCH"),
    Column::path("NODE"),
    Column::whole("STATE"),
    Column::whole("SEEN"),
    Column::whole("APPLIED"),
    Column::optional("LAST RUN"),
    // That of `exit 255, again in 5m12s`.
    Column::long_words("NOTE", 24),
];

/// The versions of a terminal's table are in the notes, where they differ.
const VERSIONS: &[&str] = &["SEEN", "APPLIED"];
const FOLDED: &[&str] = &["SEEN", "APPLIED", "LAST RUN"];

/// In this width, most notes can be read.
const READABLE_NOTE: usize = 40;

fn whole(watches: &[WatchStatus]) -> Table<7> {
    let number = |version: Option<i64>| version.map_or("-".to_owned(), |version| version.to_string());
    let mut table = Table::new(COLUMNS);
    for watch in watches {
        let versions = [number(watch.version), number(watch.applied_version)];
        let last_run = watch.last_run.as_ref().map_or("-".to_owned(), outcome);
        table.row(row(watch, versions, last_run, &notes(watch, None)));
    }
    table
}

fn with_outcomes(watches: &[WatchStatus], now: SystemTime) -> Table<7> {
    let mut table = Table::new(COLUMNS);
    for watch in watches {
        let last_run = watch.last_run.as_ref().map_or("-".to_owned(), outcome);
        let notes: Vec<_> = notes(watch, Some(now)).into_iter().chain(difference(watch, now)).collect();
        table.row(row(watch, Default::default(), last_run, &notes));
    }
    table
}

/// Returns the table for a narrow terminal, with or without the versions that differ.
fn short(watches: &[WatchStatus], now: SystemTime, with_versions: bool) -> Table<7> {
    let mut table = Table::new(COLUMNS);
    for watch in watches {
        let versions = difference(watch, now).filter(|_| with_versions);
        let notes: Vec<_> = short_notes(watch, now).into_iter().chain(versions).collect();
        table.row(row(watch, Default::default(), String::new(), &notes));
    }
    table
}

fn row(watch: &WatchStatus, [seen, applied]: [String; 2], last_run: String, notes: &[String]) -> [Cell; 7] {
    [
        watch.watch.as_str().into(),
        watch.node().into(),
        Cell::new(&watch.state, style(watch)),
        seen.into(),
        applied.into(),
        last_run.into(),
        notes.join(", ").into(),
    ]
}

/// Tells of the versions seen and applied, if they differ.
fn difference(watch: &WatchStatus, now: SystemTime) -> Option<String> {
    let short = |version: i64| short_version(version, &watch.watch_type, now);
    match (watch.version, watch.applied_version) {
        (seen, applied) if seen == applied => None,
        (Some(seen), Some(applied)) => Some(format!("seen {}, applied {}", short(seen), short(applied))),
        (Some(seen), None) => Some(format!("seen {}, none applied", short(seen))),
        (None, applied) => applied.map(|applied| format!("applied {}", short(applied))),
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
    match run.outcome.as_str() {
        NOT_STARTED => "cannot start".to_owned(),
        outcome if run.error.is_some() => outcome.to_owned(),
        _ => run.summary(),
    }
}

const NOT_STARTED: &str = "not_started";

/// Returns the notes for a narrow terminal, in which the times and the outcome of the last run come first.
fn short_notes(watch: &WatchStatus, now: SystemTime) -> Vec<String> {
    let mut notes = Vec::new();
    match &watch.runs[..] {
        [] => {}
        [run] => notes.push(format!("for {}", duration(run.seconds))),
        runs => notes.push(format!("{} running", runs.len())),
    }
    let reasons: Vec<_> = reasons(watch).collect();
    // The reason of a start that failed begins with these words.
    let is_told = |run: &RunRecord| reasons.iter().any(|reason| reason.starts_with(&outcome(run)));
    let last = watch.last_run.as_ref().filter(|run| run.outcome != "success" && !is_told(run));
    notes.extend(last.map(|run| match (run.outcome.as_str(), run.exit_code) {
        ("exit", Some(code)) => format!("exit {code}"),
        _ => outcome(run),
    }));
    let again = if watch.failures > 0 { "again" } else { "next" };
    notes.extend(watch.next_start_seconds.map(|left| format!("{again} in {}", duration(left))));
    let waited = watch.waits_for_place_seconds;
    notes.extend(waited.map(|waited| format!("max_actions for {}", duration(waited))));
    if let Some(pause) = &watch.pause {
        notes.extend(pause.until.map(|until| format!("until {}", until.short(now))));
        notes.extend(pause_note(&PauseStatus { until: None, ..pause.clone() }, Some(now)));
    }
    // The version is long, and `seen` has it.
    let without_version = |reason: String| match reason.strip_prefix("version ") {
        Some(rest) => rest.split_once(' ').map_or(reason.clone(), |(_, why)| why.to_owned()),
        None => reason,
    };
    notes.extend(reasons.into_iter().map(without_version));
    if !watch.registered {
        notes.push("no file registers it".to_owned());
    }
    notes.extend(waiting(watch));
    if watch.failures > 1 {
        notes.push(format!("{} failures", watch.failures));
    }
    notes.extend(commits(watch));
    if notes.is_empty() {
        notes.extend(watch.last_run.as_ref().map(outcome));
    }
    notes
}

/// Returns how many updates wait, apart from the one that the next start runs.
fn waiting(watch: &WatchStatus) -> Option<String> {
    let next = watch.next_start_seconds.or(watch.waits_for_place_seconds);
    (watch.waiting > usize::from(next.is_some())).then(|| format!("{} waiting", watch.waiting))
}

/// Returns why a content is held, a node cannot be read or an action cannot start.
fn reasons(watch: &WatchStatus) -> impl Iterator<Item = String> {
    let last = watch.last_run.as_ref().map(|run| run.outcome.as_str());
    let is_told = matches!(last, Some("exit" | "signal" | "timeout" | "killed"));
    watch.held.clone().into_iter().chain(watch.error.clone().filter(|_| !is_told))
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
    notes.extend(waiting(watch));
    match watch.failures {
        0 => {}
        1 => notes.push("1 failure".to_owned()),
        failures => notes.push(format!("{failures} failures in a row")),
    }
    notes.extend(reasons(watch));
    notes.extend(commits(watch));
    notes
}

/// Returns the commit that the action was given last, and the one that it succeeded with last if that is
/// another.
fn commits(watch: &WatchStatus) -> Vec<String> {
    let last_run = watch.last_run.as_ref().map(|run| &run.cause);
    let given = watch.runs.last().map(|run| &run.cause).or(last_run);
    let given = given.and_then(|cause| cause.commit.as_deref());
    match (given, watch.applied_commit.as_ref()) {
        (Some(given), Some(applied)) if given != applied => {
            vec![given.to_string(), format!("applied {applied}")]
        }
        (given, applied) => given.or(applied).map(ToString::to_string).into_iter().collect(),
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    /// A watch of this name, and what is special about it.
    fn watch(name: &str, special: Value) -> WatchStatus {
        let mut watch = json!({
            "watch": name, "file": "a.twc", "description": "d", "store": "default",
            "znode": "/services/search/eu-west/leader", "watch_type": "data", "state": "idle",
            "registered": true, "paused": false, "pause": null, "stopped": false, "version": 1_234,
            "applied_version": 1_234, "runs": [], "waiting": 0, "next_start_seconds": null,
            "waits_for_place_seconds": null, "failures": 0, "held": null, "held_by": null, "error": null,
            "last_run": null, "notified": false,
        });
        let Value::Object(special) = special else { panic!("{special}") };
        special.into_iter().for_each(|(key, value)| watch[key] = value);
        serde_json::from_value(watch).unwrap()
    }

    fn run(special: Value) -> Value {
        let mut run = json!({
            "run": "7-1", "watch": "w", "znode": "/n", "watch_type": "data", "event": "changed",
            "version": 1, "started": "2026-11-21T16:13:31.000Z", "seconds": 0.043, "outcome": "success",
            "exit_code": 0, "signal": null, "error": null,
        });
        let Value::Object(special) = special else { panic!("{special}") };
        special.into_iter().for_each(|(key, value)| run[key] = value);
        run
    }

    /// A state in which a watch can be, its watch, and what a narrow table must say of it.
    fn cases(name: &str) -> Vec<(WatchStatus, &'static str)> {
        let until = Timestamp(SystemTime::now() + Duration::from_secs(40 * 24 * 60 * 60));
        let why = "cannot start /usr/local/bin/deploy: No such file or directory";
        let live = json!({
            "run": "8-1", "pid": 4711, "event": "changed", "version": 2,
            "started": "2026-11-21T16:13:31.000Z", "seconds": 6.83, "killed_seconds": null,
        });
        let retry = json!({
            "state": "retrying", "failures": 3, "waiting": 1, "next_start_seconds": 312.0,
            "applied_version": 1_200, "error": "exit code 255 after 43 ms",
            "last_run": run(json!({ "outcome": "exit", "exit_code": 255 })),
        });
        let failed = json!({
            "state": "failed", "failures": 1, "applied_version": null, "error": "exit code 3 after 43 ms",
            "last_run": run(json!({ "outcome": "exit", "exit_code": 3 })),
        });
        let missing = json!({
            "state": "failed", "failures": 1, "error": why,
            "last_run": run(json!({ "outcome": "not_started", "exit_code": null, "error": why })),
        });
        let paused = json!({
            "state": "paused", "paused": true, "waiting": 1,
            "pause": { "by": "alice", "since": "2026-11-21T16:13:31.000Z", "until": until.to_string(),
                       "why": "the disks are replaced" },
        });
        let stopped = json!({
            "state": "stopped", "stopped": true, "failures": 1, "error": "killed by SIGKILL after 43 ms",
            "last_run": run(json!({ "outcome": "signal", "exit_code": null, "signal": 9 })),
        });
        let unreadable = json!({
            "state": "unreadable", "error": "cannot be read: no permission; see `twitcher set --acl`",
        });
        let held = json!({
            "state": "held", "waiting": 1, "held_by": "guard",
            "held": "version 2026-11-28T02:01:05.402Z has 9 bytes (max_data: 2)",
        });
        vec![
            (watch(name, json!({ "last_run": run(json!({})) })), "success"),
            (
                watch(
                    name,
                    json!({ "state": "running", "runs": [live], "waiting": 1, "last_run": run(json!({})) }),
                ),
                "for 6.8s",
            ),
            (watch(name, retry), "exit 255, again in 5m12s"),
            (watch(name, failed), "exit 3"),
            (watch(name, missing), "cannot start"),
            (
                watch(name, json!({ "state": "waiting", "waiting": 1, "next_start_seconds": 11.2 })),
                "next in 11s",
            ),
            (watch(name, paused), "until "),
            (watch(name, stopped), "signal 9"),
            (watch(name, unreadable), "cannot be read"),
            (watch(name, held), "has 9 bytes"),
        ]
    }

    #[test]
    fn the_notes_tell_which_commit_was_given_and_which_is_applied() {
        let commit = |version: i64, author: &str, comment: &str| {
            let (author, comment) = (json!(author), json!(comment));
            json!({ "version": version, "author": author, "comment": comment })
        };
        let (old, new) = (commit(7, "gian", "rofl"), commit(8, "eva\u{1b}[31m", "a\nb"));
        let given = |commit: &Value| json!({ "last_run": run(json!({ "commit": commit })) });
        let applied = |mut special: Value, commit: &Value| {
            special["applied_commit"] = commit.clone();
            special
        };
        let running = json!({ "runs": [{
            "run": "8-1", "pid": 4711, "event": "changed", "version": 2, "commit": new,
            "started": "2026-11-21T16:13:31.000Z", "seconds": 6.83, "killed_seconds": null,
        }] });
        let both = "v8 by eva\\u{1b}[31m: a\\nb, applied v7 by gian: rofl";
        for (special, expected) in [
            (applied(given(&old), &old), "v7 by gian: rofl"),
            // After a restart.
            (applied(json!({}), &old), "v7 by gian: rofl"),
            (applied(given(&new), &old), both),
            (applied(running, &old), both),
            (given(&new), "v8 by eva\\u{1b}[31m: a\\nb"),
            (given(&Value::Null), ""),
        ] {
            let watches = [watch("w", special)];
            let whole = anstream::adapter::strip_str(&rows(&watches, None)).to_string();
            let row = whole.lines().nth(1).unwrap().trim_end();
            assert!(row.ends_with(expected), "{row}");
            assert_eq!(row.contains(" by "), !expected.is_empty(), "{row}");
            for width in [80, 120] {
                let shown = anstream::adapter::strip_str(&rows(&watches, Some(width))).to_string();
                assert!(shown.lines().count() == 2 && !shown.contains('\u{1b}'), "{shown}");
                assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
            }
        }
    }

    #[test]
    fn the_notes_of_a_narrow_table_begin_with_the_outcome_and_the_time() {
        for name in ["git.twc:deploy", "search-index.twc:rebuild-the-nightly"] {
            let cases = cases(name);
            let watches: Vec<_> = cases.iter().map(|(watch, _)| watch.clone()).collect();
            // One by one, and in one table.
            let mut tables: Vec<_> =
                cases.iter().map(|(watch, note)| (vec![watch.clone()], vec![*note])).collect();
            tables.push((watches, cases.iter().map(|(_, note)| *note).collect()));
            for (watches, notes) in tables {
                let shown = anstream::adapter::strip_str(&rows(&watches, Some(80))).to_string();
                assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
                assert!(!shown.contains("not_started"), "{shown}");
                for ((line, watch), note) in shown.lines().skip(1).zip(&watches).zip(notes) {
                    assert!(line.starts_with(name), "{shown}");
                    let (_, shown_note) = line.split_once(&watch.state).unwrap();
                    // If there is room, the outcome has a column of its own.
                    let wide = note.replace("exit ", "exit code ").replace(", again in", "  next start in");
                    let wide = wide.replace("next in", "next start in");
                    let is_told = shown_note.trim_start().starts_with(note)
                        || shown.contains("LAST RUN") && shown_note.contains(&wide);
                    assert!(is_told, "{note}:\n{shown}");
                }
            }
        }
    }

    // A wide one has them in a column of their own.
    #[test]
    fn a_wide_table_has_the_outcomes_beside_the_notes() {
        let (retrying, _) = cases("git.twc:deploy").swap_remove(2);
        let shown =
            anstream::adapter::strip_str(&rows(std::slice::from_ref(&retrying), Some(140))).to_string();
        assert!(
            shown.contains("exit code 255  next start in 5m12s, 3 failures in a row, seen 1234"),
            "{shown}"
        );
        let whole = rows(&[retrying], None);
        let whole = anstream::adapter::strip_str(&whole).to_string();
        assert!(whole.contains("1234  1200     exit code 255  next start in 5m12s"), "{whole}");
    }
}
