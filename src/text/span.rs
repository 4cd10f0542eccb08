//! Spans of time as people write them.

use std::time::Duration;

/// Parses `90`, `90s`, `1.5h`, `2h30m`, `3d` or `1w`. A number without a unit counts seconds.
pub fn parse_span(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let unit = after.chars().next();
        seconds += number
            * match unit {
                None if digits == text.len() => 1.0,
                Some('s') => 1.0,
                Some('m') => 60.0,
                Some('h') => 3600.0,
                Some('d') => 86_400.0,
                Some('w') => 604_800.0,
                Some(_) | None => return None,
            };
        rest = &after[unit.map_or(0, char::len_utf8)..];
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        let seconds = |text| parse_span(text).map(|span| span.as_secs_f64());
        assert_eq!(
            ["90", "90s", "1.5h", "2h30m", "3d", "1w", "0"].map(seconds),
            [Some(90.0), Some(90.0), Some(5400.0), Some(9000.0), Some(259_200.0), Some(604_800.0), Some(0.0)]
        );
        assert_eq!(["", "h", "2x", "-1", "2h30", "1e9", "inf", "2 h", "."].map(seconds), [None; 9]);
    }
}
