//! The table of services of `status`.

use std::time::SystemTime;

use crate::cli::shared::table::{self, Cell, Column, Table};
use crate::control::status::ServiceStatus;
use crate::text::Timestamp;

/// Returns the table for a terminal of this width, or the whole one, for programs and for `--wide`.
pub fn rows(services: &[ServiceStatus], width: Option<usize>) -> String {
    let now = width.map(|_| SystemTime::now());
    let time = |time: &Timestamp| now.map_or_else(|| time.to_the_second(), |now| time.short(now));
    let mut table = Table::new(COLUMNS);
    for service in services {
        table.row([
            service.service.as_str().into(),
            service.place().into(),
            Cell::new(&service.state, style(service)),
            time(&service.since).into(),
            service.check.as_deref().unwrap_or("-").into(),
            note(service, time).into(),
        ]);
    }
    table.render(width, &[])
}

const COLUMNS: [Column; 6] = [
    Column::whole("SERVICE"),
    Column::path("MEMBER"),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::whole("CHECK"),
    Column::words("NOTE"),
];

fn style(service: &ServiceStatus) -> anstyle::Style {
    match service.state.as_str() {
        "announced" => table::GOOD,
        "waiting" => table::BUSY,
        "failing" | "conflict" => table::BAD,
        "drained" => table::ODD,
        _ => table::PLAIN,
    }
}

/// Returns what an operator wants to know next: who paused it, or what is wrong.
fn note(service: &ServiceStatus, time: impl Fn(&Timestamp) -> String) -> String {
    let pause = service.pause.as_ref().map(|pause| {
        let by = pause.by.as_ref().map(|by| format!("by {by}"));
        let until = pause.until.as_ref().map(|until| format!("until {}", time(until)));
        by.into_iter().chain(until).chain(pause.why.clone()).collect::<Vec<_>>().join(" ")
    });
    pause
        .into_iter()
        .chain(service.error.clone())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}
