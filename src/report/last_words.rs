//! What a daemon that ends says about its log when it cannot say it there.

use super::fallback;
use super::line::LogLine;
use super::output::LogDaemon;
use super::syslog::Syslog;

/// Writes a line to stderr, or to syslog if nobody sees it there. Takes little more than a second, even if
/// neither takes it.
pub fn say(line: LogLine) {
    if fallback::say(&line.to_text()).is_err() {
        // Nothing is left if this fails as well.
        let _ = Syslog::connect().and_then(|mut syslog| syslog.send(&line));
    }
}
