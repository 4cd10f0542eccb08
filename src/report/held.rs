//! The text about a held update in the log, in `twitcher status` and on the control socket.

use std::fmt;

use super::version::ReadableVersion;
use crate::model::{Facet, Version};
use crate::text::{count, quoted};
use crate::watch::HoldReason;

/// Displays the held version and the reason: `version 7 has 0 bytes (not_empty)`.
pub(crate) struct HeldSummary<'a> {
    pub version: i64,
    pub hold_reason: &'a HoldReason,
    pub facet: Facet,
}

impl fmt::Display for HeldSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |number| match self.facet {
            Facet::Data => count(number, "byte"),
            Facet::Children if number == 1 => "1 child".to_owned(),
            Facet::Children => format!("{number} children"),
            Facet::Tree => format!("{} below it", count(number, "node")),
            Facet::Members => count(number, "member"),
        };
        match self.version {
            number if number == Version::DELETION.number => f.write_str("the deletion ")?,
            number => write!(f, "version {} ", ReadableVersion(number, self.facet))?,
        }
        match *self.hold_reason {
            HoldReason::TooMuch { bytes, limit } => {
                write!(f, "has {} (max_data: {limit})", count(bytes, "byte"))
            }
            HoldReason::Empty => write!(f, "has {} (not_empty)", amount(0)),
            HoldReason::Shrunk { size: now, applied_size, limit } => {
                let (now, limit) = (amount(now), limit.percent());
                write!(f, "has {now}, where the last success had {applied_size} (max_shrink: {limit})")
            }
            HoldReason::HeldBefore => f.write_str("was held before the restart"),
            HoldReason::Faulty(ref why) | HoldReason::Undecided(ref why) => f.write_str(why),
        }
    }
}

/// Returns the command by which an operator forces a held update.
pub(crate) fn force_command(watch: &str) -> String {
    format!("twitcher trigger --force {}", quoted(watch))
}

/// Returns what an operator can do about a held update, as a text that follows a semicolon; none if only
/// other content helps.
pub(crate) fn remedy(watch: &str, hold_reason: &HoldReason) -> Option<String> {
    let command = force_command(watch);
    match hold_reason {
        HoldReason::Faulty(_) => None,
        HoldReason::Undecided(_) => Some(format!("to decode it again: `{command}`")),
        HoldReason::TooMuch { .. }
        | HoldReason::Empty
        | HoldReason::Shrunk { .. }
        | HoldReason::HeldBefore => Some(format!("to run it all the same: `{command}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Share;

    #[test]
    fn what_is_held_is_counted_in_the_words_of_what_is_watched() {
        let said =
            |facet, hold_reason| HeldSummary { version: 7, hold_reason: &hold_reason, facet }.to_string();
        let limit = Share::of_percent(12.5).unwrap();
        let shrunk = |size, applied_size| HoldReason::Shrunk { size, applied_size, limit };
        for (facet, hold_reason, expected) in [
            (Facet::Data, HoldReason::Empty, "version 7 has 0 bytes (not_empty)"),
            (Facet::Children, HoldReason::Empty, "version 7 has 0 children (not_empty)"),
            (Facet::Tree, HoldReason::Empty, "version 7 has 0 nodes below it (not_empty)"),
            (Facet::Members, HoldReason::Empty, "version 7 has 0 members (not_empty)"),
            (
                Facet::Data,
                shrunk(3, 8),
                "version 7 has 3 bytes, where the last success had 8 (max_shrink: 12.5)",
            ),
            (
                Facet::Children,
                shrunk(1, 9),
                "version 7 has 1 child, where the last success had 9 (max_shrink: 12.5)",
            ),
            (
                Facet::Tree,
                shrunk(1, 2),
                "version 7 has 1 node below it, where the last success had 2 (max_shrink: 12.5)",
            ),
            (
                Facet::Tree,
                HoldReason::TooMuch { bytes: 11, limit: 10 },
                "version 7 has 11 bytes (max_data: 10)",
            ),
            (Facet::Data, HoldReason::HeldBefore, "version 7 was held before the restart"),
        ] {
            assert_eq!(said(facet, hold_reason), expected);
        }
    }
}
