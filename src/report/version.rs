//! Versions of nodes, as people can compare them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::Facet;
use crate::text::Timestamp;

/// A ZooKeeper server counts the versions of a node in 32 bits. Greater numbers come from elsewhere.
const MAX_COUNTED: u64 = u32::MAX as u64;

/// What a number stands for.
enum Meaning {
    Count,
    /// The time at which a file was changed.
    Time(SystemTime),
    Hash,
}

fn meaning(version: i64, facet: Option<Facet>) -> Meaning {
    if version.unsigned_abs() <= MAX_COUNTED {
        return Meaning::Count;
    }
    match (u64::try_from(version), facet) {
        (Ok(nanoseconds), Some(Facet::Data | Facet::Children)) => {
            Meaning::Time(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
        }
        (Ok(_) | Err(_), _) => Meaning::Hash,
    }
}

/// Returns the first digits of a hash, which tell versions apart.
fn digits(hash: i64) -> String {
    format!("{:016x}", hash.cast_unsigned())[..8].to_owned()
}

/// Displays a version of this facet in the log and in messages: a count as it is, the time of a file as a
/// time, and the hash of a tree or of members as its first eight hexadecimal digits.
pub(crate) struct ReadableVersion(pub i64, pub Facet);

impl fmt::Display for ReadableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match meaning(self.0, Some(self.1)) {
            Meaning::Count => self.0.fmt(f),
            Meaning::Time(time) => Timestamp(time).fmt(f),
            Meaning::Hash => f.write_str(&digits(self.0)),
        }
    }
}

/// Returns a version as a few characters: a count as it is, the time of a file as a time, and the hash of a
/// tree as its first eight hexadecimal digits.
pub(crate) fn short_version(version: i64, watch_type: &str, now: SystemTime) -> String {
    let facet = [Facet::Data, Facet::Children].into_iter().find(|facet| facet.as_str() == watch_type);
    match meaning(version, facet) {
        Meaning::Count => version.to_string(),
        // Files change several times in a second.
        Meaning::Time(time) => Timestamp(time).short_with_millis(now),
        Meaning::Hash => digits(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_short_and_can_be_compared() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_277_700);
        let file = 1_795_277_611_042_123_456;
        let readable = |version, facet| ReadableVersion(version, facet).to_string();
        assert_eq!(readable(file, Facet::Data), "2026-11-21T16:13:31.042Z");
        assert_eq!([readable(file, Facet::Tree), readable(7, Facet::Data)], ["18ea1b79", "7"]);
        assert_eq!(readable(file, Facet::Members), "18ea1b79");
        let short = |version, watch_type| short_version(version, watch_type, now);
        assert_eq!([short(3, "data"), short(-1, "tree")], ["3", "-1"]);
        assert_eq!([short(file, "data"), short(file, "children")], ["16:13:31.042Z"; 2]);
        assert_eq!(short(file - 86_400_000_000_000, "data"), "11-20 16:13Z");
        assert_eq!(
            [short(file, "tree"), short(-file, "tree"), short(file, "")],
            ["18ea1b79", "e715e486", "18ea1b79"]
        );
    }
}
