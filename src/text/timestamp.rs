//! Points in time as text: RFC 3339, UTC, with milliseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

pub(crate) const TIMESTAMP_FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A point in time, shown and serialized like `2026-11-21T16:13:31.042Z`. One that RFC 3339 cannot write is
/// shown as the nearest that it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

const TIME: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]:[second]Z");

const TIME_WITH_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second].[subsecond digits:3]Z");

const DAY_AND_TIME: &[BorrowedFormatItem<'_>] = format_description!("[month]-[day] [hour]:[minute]Z");

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

impl Timestamp {
    /// The end of the year 9999, the last year that RFC 3339 can write, in milliseconds since 1970-01-01 UTC.
    pub const MAX_MILLIS: i64 = 253_402_300_799_999;

    /// Makes a time of milliseconds since 1970-01-01 UTC. `None` if it lies before, or after the year 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        let millis = u64::try_from(millis.min(Self::MAX_MILLIS + 1)).ok()?;
        let time = UNIX_EPOCH + Duration::from_millis(millis);
        (millis <= Self::MAX_MILLIS.unsigned_abs()).then_some(Self(time))
    }

    /// Returns `2026-11-21T16:13:31Z`, the shorter form for tables.
    pub fn to_the_second(self) -> String {
        self.utc().format(SECONDS).unwrap_or_default()
    }

    /// Returns what people need to see of it: the time of this day, `11-21 16:13Z` of this year, or the date.
    pub fn short(self, now: SystemTime) -> String {
        self.short_as(TIME, now)
    }

    /// Likewise, but the time of this day has milliseconds.
    pub fn short_with_millis(self, now: SystemTime) -> String {
        self.short_as(TIME_WITH_MILLIS, now)
    }

    /// Parses a time in RFC 3339 (`2026-11-21T16:13:31Z`), also without its seconds, or a date, which means
    /// its beginning. Without an offset it is UTC. `None` also if in UTC it lies outside of the years 0
    /// to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            17 if text.ends_with('Z') => format!("{}:00Z", &text[..16]),
            19 => format!("{text}Z"),
            _ => text.to_owned(),
        };
        Self::parse_rfc3339(&whole.replacen(' ', "T", 1)).ok()?
    }

    /// `None` for a time that is one only with its offset: in UTC it lies in a year that cannot be written.
    fn parse_rfc3339(text: &str) -> Result<Option<Self>, time::error::Parse> {
        let time = OffsetDateTime::parse(text, &Rfc3339)?.checked_to_offset(UtcOffset::UTC);
        Ok(time.filter(|time| time.year() >= 0).map(|time| Self(time.into())))
    }

    /// The nearest time that can be written.
    fn utc(self) -> OffsetDateTime {
        let span = |span: Duration| span.try_into().unwrap_or(time::Duration::MAX);
        match self.0.duration_since(UNIX_EPOCH) {
            Ok(after) => OffsetDateTime::UNIX_EPOCH.saturating_add(span(after)),
            Err(before) => OffsetDateTime::UNIX_EPOCH.saturating_sub(span(before.duration())),
        }
    }

    fn short_as(self, today: &[BorrowedFormatItem<'_>], now: SystemTime) -> String {
        let (at, now) = (self.utc(), Self(now).utc());
        let format = match () {
            () if at.date() == now.date() => today,
            () if at.year() == now.year() => DAY_AND_TIME,
            () => DATE,
        };
        at.format(format).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.utc().format(TIMESTAMP_FORMAT).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = Self::parse_rfc3339(&text).map_err(de::Error::custom)?;
        time.ok_or_else(|| de::Error::custom("a time outside of the years 0 to 9999"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_timestamp_is_text_with_milliseconds_and_back() {
        let time = Timestamp(UNIX_EPOCH + Duration::from_millis(1_795_277_611_042));
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, "\"2026-11-21T16:13:31.042Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        assert_eq!(time.to_the_second(), "2026-11-21T16:13:31Z");
    }

    #[test]
    fn a_time_may_leave_out_its_seconds_and_a_date_is_its_beginning() {
        let parsed = |text| Timestamp::parse(text).map(|time| time.to_the_second());
        for text in ["2026-11-21T16:13:31Z", "2026-11-21 16:13:31", "2026-11-21T17:13:31+01:00"] {
            assert_eq!(parsed(text).as_deref(), Some("2026-11-21T16:13:31Z"), "{text}");
        }
        assert_eq!(parsed("2026-11-21 16:13").as_deref(), Some("2026-11-21T16:13:00Z"));
        assert_eq!(parsed("2026-11-21").as_deref(), Some("2026-11-21T00:00:00Z"));
        assert_eq!(
            ["", "yesterday", "2026-13-01", "16:13", "日本日本日本日本日本日"].map(parsed),
            [const { None }; 5]
        );
    }

    // Who makes a time of somebody else's text or number must not end for one that cannot be written.
    #[test]
    fn no_time_is_too_far_away_to_be_shown() {
        let last = "9999-12-31T23:59:59";
        assert_eq!(Timestamp::parse(last).map(Timestamp::to_the_second), Some(format!("{last}Z")));
        for text in [format!("{last}-00:01"), "0000-01-01T00:00:00+00:01".to_owned()] {
            assert_eq!(Timestamp::parse(&text), None, "{text}");
            let json = serde_json::Value::from(text);
            assert!(serde_json::from_value::<Timestamp>(json).is_err());
        }
        let far = Duration::from_secs(i64::MAX as u64);
        let later = Timestamp(UNIX_EPOCH + far);
        let earlier = Timestamp(UNIX_EPOCH - far);
        assert_eq!((later.to_string(), later.to_the_second()), (format!("{last}.999Z"), format!("{last}Z")));
        assert_eq!(later.short(UNIX_EPOCH), "9999-12-31");
        assert_eq!(later.short_with_millis(UNIX_EPOCH + far), "23:59:59.999Z");
        assert!(earlier.to_string().starts_with('-'), "{earlier}");
    }

    #[test]
    fn a_short_timestamp_leaves_out_what_is_as_today() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_277_611);
        let short = |later: u64| Timestamp(at).short(at + Duration::from_secs(later));
        assert_eq!(Timestamp(at).short_with_millis(at), "16:13:31.000Z");
        assert_eq!([0, 86_400, 86_400 * 60].map(short), ["16:13:31Z", "11-21 16:13Z", "2026-11-21"]);
    }
}
