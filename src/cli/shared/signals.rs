//! Receives the signals of this process.

use std::io;

use signal_hook::iterator::Signals;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::sys::BlockedSignals;
use crate::sys::kernel::{THREAD_CALLS, cannot};

/// Receives these signals from now on, on a thread of its own.
pub fn receive(wanted: &[i32]) -> io::Result<UnboundedReceiver<i32>> {
    let calls = "socketpair, rt_sigaction or fcntl";
    let mut signals = Signals::new(wanted).map_err(cannot("receive signals", calls))?;
    start(move |sender| {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })
}

/// Receives these signals like [`receive`], but without handlers, which would make each start of an action
/// take longer. Call it before any other thread is started.
pub fn wait_for(wanted: &[i32]) -> io::Result<UnboundedReceiver<i32>> {
    let calls = "rt_sigprocmask or rt_sigtimedwait";
    let signals = BlockedSignals::block(wanted).map_err(cannot("receive signals", calls))?;
    start(move |sender| {
        while let Ok(signal) = signals.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })
}

fn start(forward: impl FnOnce(UnboundedSender<i32>) + Send + 'static) -> io::Result<UnboundedReceiver<i32>> {
    let (sender, receiver) = unbounded_channel();
    let started = std::thread::Builder::new().name("signals".into()).spawn(move || forward(sender));
    started.map_err(cannot("start the thread that receives signals", THREAD_CALLS))?;
    Ok(receiver)
}
