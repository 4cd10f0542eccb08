//! Receives the signals of this process.

use std::io;

use signal_hook::iterator::Signals;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Receives these signals from now on, on a thread of its own.
pub fn receive(wanted: &[i32]) -> io::Result<UnboundedReceiver<i32>> {
    let mut signals = Signals::new(wanted)?;
    let (sender, receiver) = unbounded_channel();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
