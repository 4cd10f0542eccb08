//! Parses points in time and numbers on the command line.

use std::time::SystemTime;

use crate::text::{Timestamp, parse_span};

/// Parses `2h` (two hours ago), a time (`2026-11-21T16:13Z`) or a date.
pub fn point(text: &str) -> Result<SystemTime, String> {
    let ago = parse_span(text).and_then(|span| SystemTime::now().checked_sub(span));
    ago.or_else(|| Timestamp::parse(text).map(|time| time.0))
        .ok_or_else(|| "give a span such as 2h or 3d, a date, or a time such as 2026-11-21T16:13Z".to_owned())
}
