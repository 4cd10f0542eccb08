//! The one way to wait.

use std::time::{Duration, Instant};

/// Far beyond need on an idle machine, so that a loaded one fails no test by chance.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Short enough to cost no test a noticeable wait, long enough to leave the processor to the daemons.
const POLL: Duration = Duration::from_millis(10);

/// Tries until `attempt` gives something, but no longer than `limit`.
pub fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let found = attempt();
        if found.is_some() || started.elapsed() >= limit {
            return found;
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until `attempt` gives something. Panics at the deadline, naming `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    let found = poll(DEADLINE, attempt);
    found.unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain for {what}"))
}

#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Does something again and again for as long as this. Only for promises about a length of time itself; any other
/// wait is for a condition.
pub fn throughout(length: Duration, mut work: impl FnMut()) {
    poll(length, || -> Option<()> {
        work();
        None
    });
}
