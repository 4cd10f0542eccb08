//! The time of the host's time zone.

use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc;

/// Returns a time as the clocks of this place show it: `2012-12-15 00:45:03`.
pub fn local_time(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = libc::time_t::try_from(seconds).unwrap_or(0);
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are live locals. A `tm` of zeros is valid, and stays so if the call fails.
    let parts = unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    let libc::tm { tm_year, tm_mon, tm_mday, tm_hour, tm_min, tm_sec, .. } = parts;
    format!(
        "{:04}-{:02}-{tm_mday:02} {tm_hour:02}:{tm_min:02}:{tm_sec:02}",
        i64::from(tm_year) + 1900,
        tm_mon + 1
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_shown_to_the_second() {
        let text = local_time(UNIX_EPOCH + Duration::from_secs(1_355_532_303));
        assert_eq!(text.len(), 19);
        // No zone is further away than 14 hours.
        assert!(text.starts_with("2012-12-1"), "{text}");
        assert!(text.ends_with(":03"), "{text}");
    }
}
