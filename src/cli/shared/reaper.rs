//! Reaps what others left to this process, as the first process of a container must.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

use crate::sys::Reaper;
use crate::sys::kernel::{THREAD_CALLS, cannot};

/// The time between two looks, while there is something to reap. The second look reaps.
const PAUSE: Duration = Duration::from_millis(250);

/// Reaps on a thread of its own, if this process can get children of others.
pub fn start() -> io::Result<()> {
    let Some(mut reaper) = Reaper::if_needed() else { return Ok(()) };
    let calls = "socketpair, rt_sigaction or fcntl";
    let mut signals = Signals::new([SIGCHLD]).map_err(cannot("receive SIGCHLD", calls))?;
    let started = thread::Builder::new().name("reaper".into()).spawn(move || {
        loop {
            while reaper.reap() {
                thread::sleep(PAUSE);
            }
            if signals.forever().next().is_none() {
                return;
            }
            // One look for many ends.
            thread::sleep(PAUSE);
        }
    });
    started.map(drop).map_err(cannot("start the thread that reaps processes", THREAD_CALLS))
}
