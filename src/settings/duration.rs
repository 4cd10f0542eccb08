//! Parses durations, which users write in seconds, as an integer or a float.

use std::time::Duration;

/// Parses the value of a flag that must be above zero.
pub fn positive_seconds(text: &str) -> Result<Duration, String> {
    positive(number(text)?)
}

/// Parses the value of a flag that may be zero.
pub fn seconds(text: &str) -> Result<Duration, String> {
    not_negative(number(text)?)
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))
}

pub(super) fn not_negative(seconds: f64) -> Result<Duration, String> {
    if seconds == 0.0 { Ok(Duration::ZERO) } else { positive(seconds) }
}

pub(super) fn positive(seconds: f64) -> Result<Duration, String> {
    match Duration::try_from_secs_f64(seconds) {
        // ZooKeeper sends a session timeout as milliseconds in a signed 32-bit integer.
        Ok(duration) if (1..=i32::MAX as u128).contains(&duration.as_millis()) => Ok(duration),
        Ok(_) | Err(_) => Err(format!("{seconds} is not between 0.001 and {} seconds", i32::MAX / 1000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_above_zero_and_finite() {
        let seconds = positive_seconds;
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("1e2"), Ok(Duration::from_secs(100)));
        assert_eq!(seconds("010"), Ok(Duration::from_secs(10)), "seconds are never octal");
        for wrong in [
            "0", "-1", "nan", "inf", "1e300", "1e-5", "1e9", "ten", "", "10s", "5m", "1_000", "0x10", "1,5",
            " 1", "1 ", "1\u{a0}", "\u{661}",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
