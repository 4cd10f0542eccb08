//! The output of `--dry-run`: the actions that a daemon would run now, and the reasons.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::cli::shared::table::{self, Cell, Column, Table, duration};
use crate::control::status::WatchStatus;
use crate::daemon::{FinalStatus, PlannedRun};
use crate::report::short_version;
use crate::watch::Event;

/// Renders one line per watch, sorted by name.
pub fn show(ended: &mut FinalStatus) -> String {
    let FinalStatus { daemon, watches, planned } = ended;
    WatchStatus::sort_by_name(watches);
    let mut starts: HashMap<&str, Vec<&PlannedRun>> = HashMap::new();
    for start in planned {
        starts.entry(&start.watch).or_default().push(start);
    }
    let mut table = Table::new([
        Column::whole("WATCH"),
        Column::path("NODE"),
        Column::whole("WOULD"),
        Column::words("WHY"),
    ]);
    for watch in watches {
        let (would, why) = match starts.get(&*watch.watch).map_or(&[][..], Vec::as_slice) {
            [] => (Cell::from("not run"), why_not(watch)),
            [start, more @ ..] => {
                let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
                (Cell::new("run", table::BUSY), format!("{}{more}", why(watch, start)))
            }
        };
        table.row([watch.watch.as_str().into(), watch.node().into(), would, why.into()]);
    }
    let watches = table.render(table::terminal_width(), &[]);
    if daemon.services.is_empty() {
        return watches;
    }
    let mut table = Table::new([
        Column::whole("SERVICE"),
        Column::path("MEMBER"),
        Column::whole("WOULD"),
        Column::words("WHY"),
    ]);
    for service in &daemon.services {
        let (would, why) = match (service.state.as_str(), service.is_checked) {
            ("drained", _) => (Cell::from("not announce"), "paused by an operator"),
            (_, true) => (Cell::new("check", table::BUSY), "its member is announced once its check succeeds"),
            (_, false) => (Cell::new("announce", table::BUSY), "it has no check"),
        };
        table.row([service.service.as_str().into(), service.place().into(), would, why.into()]);
    }
    format!("{watches}\n{}", table.render(table::terminal_width(), &[]))
}

fn why(watch: &WatchStatus, PlannedRun { event, version, commit, why, .. }: &PlannedRun) -> String {
    if *event == Event::Deleted.as_str() {
        return format!("{event}: {why}");
    }
    let version = short_version(*version, &watch.watch_type, SystemTime::now());
    match commit {
        Some(commit) => format!("{event}, version {version}: {why}; {commit}"),
        None => format!("{event}, version {version}: {why}"),
    }
}

fn why_not(watch: &WatchStatus) -> String {
    let short = |version| short_version(version, &watch.watch_type, SystemTime::now());
    let version =
        |version: Option<i64>| version.map_or(String::new(), |version| format!(" {}", short(version)));
    match watch.state.as_str() {
        "idle" if watch.applied_version.is_some() => {
            format!("version{} is applied", version(watch.applied_version))
        }
        "idle" => {
            format!("version{} is no change, and run_on_load does not ask for it", version(watch.version))
        }
        "absent" => "there is no such node".into(),
        "deleted" => "its node was deleted, and run_on_delete does not ask for it".into(),
        "paused" => "paused by an operator".into(),
        "stopped" => "stopped by a failure (on_failure: STOP)".into(),
        "unknown" => "its store could not be asked".into(),
        "waiting" | "retrying" => match watch.next_start_seconds {
            Some(left) => format!("not yet: in {}", duration(left)),
            None => "not yet: an action of it still runs".into(),
        },
        "held" => watch.held.as_ref().map_or("held".into(), |held| format!("it would be held: {held}")),
        "failed" => "it failed with what is there, and waits for the next update".into(),
        _ => watch.error.clone().unwrap_or_else(|| watch.state.clone()),
    }
}
