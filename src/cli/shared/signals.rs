//! Receives the signals of this process.

use std::io;

use signal_hook::iterator::Signals;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::sys::kernel::{THREAD_CALLS, cannot};

/// Receives these signals from now on, on a thread of its own.
pub fn receive(wanted: &[i32]) -> io::Result<UnboundedReceiver<i32>> {
    let calls = "socketpair, rt_sigaction or fcntl";
    let mut signals = Signals::new(wanted).map_err(cannot("receive signals", calls))?;
    let (sender, receiver) = unbounded_channel();
    let forward = move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("signals".into()).spawn(forward);
    started.map_err(cannot("start the thread that receives signals", THREAD_CALLS))?;
    Ok(receiver)
}
