//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// The deadline, far beyond need on an idle machine, so that no test fails because the machine is busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The time between two attempts: short enough not to slow tests down, long enough to leave the processor to
/// the daemons.
const POLL: Duration = Duration::from_millis(10);

/// Calls `attempt` until it returns something, but no longer than `timeout`.
pub fn poll<T>(timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let found = attempt();
        if found.is_some() || started.elapsed() >= timeout {
            return found;
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until `attempt` returns something. Panics at the deadline and says `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    let found = poll(DEADLINE, attempt);
    found.unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain for {what}"))
}

#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Does something again and again for this long. Use it only for promises about a length of time; any other
/// wait is for a condition.
pub fn throughout(length: Duration, mut work: impl FnMut()) {
    poll(length, || -> Option<()> {
        work();
        None
    });
}
