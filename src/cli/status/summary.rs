//! What `status` says of the daemon, above the table.

use unicode_width::UnicodeWidthStr;

use crate::cli::shared::stdout::line;
use crate::control::status::{DaemonStatus, DegradedPart};
use crate::text::count;

/// Returns the lines for a terminal of this width, in which the address of a connection is left out if it has
/// no room, or the whole ones.
pub fn summary(daemon: &DaemonStatus, width: Option<usize>) -> String {
    let mut lines = Vec::new();
    let DaemonStatus { version, pid, started, state, .. } = daemon;
    lines.push(format!("twitcher {version}, pid {pid}, {state}, started {started}"));
    for store in &daemon.stores {
        let state = match store.connected {
            Some(true) => "connected",
            Some(false) => "NOT CONNECTED",
            None => "not tried yet",
        };
        let detail = store.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
        let restarts = match store.restarts {
            0 => String::new(),
            restarts => format!(", its process was replaced {}", count(restarts, "time")),
        };
        let keepers = match store.keeper_restarts {
            0 => String::new(),
            restarts => format!(", its keeper of members was replaced {}", count(restarts, "time")),
        };
        let replaced = format!("{restarts}{keepers}");
        let whole = format!("store {} {}: {state}{detail}{replaced}", store.name, store.url);
        let is_long = width.is_some_and(|width| whole.width() > width);
        lines.push(match store.connected {
            Some(true) if is_long => format!("store {} {}: {state}{replaced}", store.name, store.url),
            _ => whole,
        });
    }
    if let (Some(limit), 1..) = (daemon.max_actions, daemon.waiting_for_place) {
        let DaemonStatus { running_actions, waiting_for_place, .. } = daemon;
        lines.push(format!(
            "MAX_ACTIONS: {running_actions} actions run, at most {limit} may; {waiting_for_place} wait"
        ));
    }
    lines.extend(daemon.ledger.reason.iter().map(|reason| format!("LEDGER LOST: {reason}")));
    if daemon.untrusted_allowed {
        lines.push("UNTRUSTED CONFIGS ALLOWED: users other than root may decide what root runs".to_owned());
    }
    for DegradedPart { part, what, since } in &daemon.degraded {
        lines.push(format!("DEGRADED: {part}: {what} (since {since})"));
    }
    for error in &daemon.config_errors {
        lines.push(format!("NOT LOADED: {}", error.first_line()));
    }
    lines.iter().map(|text| line(text)).chain(["\n".to_owned()]).collect()
}
