//! `twitcher pause WATCH... [--for SPAN] [--why TEXT]`

use super::shared::exit::Exit;
use super::shared::named::NamedWatches;
use crate::control::{MAX_PAUSE, MAX_WHY_BYTES};
use crate::model::WatchCommand;
use crate::text::parse_span;

/// Start no new runs of watches until they are resumed, even after a restart; running actions continue
///
/// The member of a service is withdrawn, and its checks go on. This command ends when the store has confirmed
/// that, and when clients have had the `drain` of the service to see it.
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    watches: NamedWatches,
    /// Resume them by itself after this time, such as 90s, 30m, 2h or 1d, also if the daemon is restarted
    #[arg(long = "for", value_name = "SPAN", value_parser = length, allow_hyphen_values = true)]
    length: Option<String>,
    /// Why: shown in `status`, with who paused the watch and when, and in the log
    #[arg(long, value_name = "TEXT", value_parser = why)]
    why: Option<String>,
}

impl Pause {
    pub fn run(self) -> Exit {
        let mut query = Vec::new();
        query.extend(self.length.as_deref().map(|length| ("for", length)));
        query.extend(self.why.as_deref().map(|why| ("why", why)));
        // A later pause replaces an earlier one.
        self.watches.post(WatchCommand::Pause, &query, false)
    }
}

fn length(text: &str) -> Result<String, String> {
    match parse_span(text) {
        None => Err("give a span such as 90s, 30m, 2h or 1d".to_owned()),
        Some(span) if span.is_zero() => Err("give a span above zero, or use `twitcher resume`".to_owned()),
        Some(span) if span > MAX_PAUSE => {
            Err("give at most ten years, or leave --for out for a pause without an end".to_owned())
        }
        Some(_) => Ok(text.to_owned()),
    }
}

fn why(text: &str) -> Result<String, String> {
    match text.len() {
        0..=MAX_WHY_BYTES => Ok(text.to_owned()),
        bytes => Err(format!("it has {bytes} bytes, and at most {MAX_WHY_BYTES} are kept")),
    }
}
