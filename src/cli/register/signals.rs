//! The signals of `register`, which go on to its command.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::sys::kernel::{THREAD_CALLS, cannot};

/// Those that are passed on. The others end or stop this process as they would any other.
const PASSED_ON: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
];

/// The `ssi_code` of a signal that the kernel sent, such as that of Ctrl-C.
const FROM_KERNEL: i32 = 0x80;

/// A signal that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    pub signal: Signal,
    /// Whether a terminal sent it, which sends it to the command as well.
    pub is_from_terminal: bool,
}

impl Arrived {
    /// Whether this tells a command to end.
    pub fn is_end(self) -> bool {
        matches!(self.signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM)
    }
}

/// Receives the signals from now on, on a thread of its own. Call it before the first thread is started: a
/// thread that does not block them would be ended by them. A command that is started later must
/// [unblock](crate::sys::unblock_signals_of) them.
pub fn receive() -> io::Result<UnboundedReceiver<Arrived>> {
    let set = SigSet::from_iter(PASSED_ON);
    set.thread_block()?;
    let signals =
        SignalFd::new(&set).map_err(|error| cannot("receive signals", "signalfd4")(error.into()))?;
    let (sender, receiver) = unbounded_channel();
    let forward = move || {
        while let Ok(Some(info)) = signals.read_signal() {
            let number = info.ssi_signo.cast_signed();
            let Ok(signal) = Signal::try_from(number) else { continue };
            let is_from_terminal = info.ssi_code == FROM_KERNEL;
            if sender.send(Arrived { signal, is_from_terminal }).is_err() {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("signals".into()).spawn(forward);
    started.map_err(cannot("start the thread that receives signals", THREAD_CALLS))?;
    Ok(receiver)
}
