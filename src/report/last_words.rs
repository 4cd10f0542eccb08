//! What a daemon that ends says about its log when it cannot say it there.

use super::fallback;
use super::level::Level;
use super::line::LogLine;
use super::output::LogDaemon;
use super::syslog::Syslog;

/// Writes a warning to stderr, or to syslog if nobody sees it there. Takes little more than a second, even if
/// neither takes it.
pub fn say(text: &str) {
    let line = LogLine::new(Level::Warning, text.to_owned());
    if fallback::say(&line.to_text()).is_err() {
        // Nothing is left if this fails as well.
        let _ = Syslog::connect().and_then(|mut syslog| syslog.send(&line));
    }
}
