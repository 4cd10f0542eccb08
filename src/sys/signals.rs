//! Signals that a process waits for instead of handling them.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

use super::syscall::check;

/// Signals that are blocked in the thread that called [`Self::block`], and in all threads that it started
/// later.
///
/// They have no handlers. A child of this process must undo each handler before it unblocks the signals to
/// execute its program, and that takes some 15 µs for all signals that the daemon receives.
pub struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    /// Blocks these signals. Call it before any other thread is started, which the signals would end. Fails
    /// if nobody could wait for them.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initializes the set, the calls only write to it or read it, and `at_once` is
        // a live local.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            let at_once = std::mem::zeroed();
            match check(libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &at_once)) {
                Err(error) if error.raw_os_error() != Some(libc::EAGAIN) => return Err(error),
                Ok(_) | Err(_) => {}
            }
            for signal in signals {
                check(libc::sigaddset(set.as_mut_ptr(), *signal))?;
            }
            let set = set.assume_init();
            match libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) {
                0 => Ok(Self(set)),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Waits for the next of these signals.
    pub fn wait(&self) -> io::Result<i32> {
        loop {
            // SAFETY: the set is initialized, and nobody wants to know more than the number.
            match check(unsafe { libc::sigwaitinfo(&self.0, std::ptr::null_mut()) }) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => return waited,
            }
        }
    }
}

/// Has the command start with no signal blocked, whatever this process blocks: it would inherit that.
pub fn unblock_signals_of(command: &mut Command) {
    // SAFETY: the call is async-signal-safe.
    unsafe { command.pre_exec(unblock_all) };
}

/// Unblocks all signals in the calling process, which has one thread. Async-signal-safe.
pub(super) fn unblock_all() -> io::Result<()> {
    // SAFETY: `none` is a live local, and the calls are async-signal-safe.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // In a thread of its own, which alone blocks them.
    #[test]
    fn a_signal_that_is_blocked_waits_until_it_is_waited_for() {
        let wanted = [libc::SIGUSR2, libc::SIGRTMAX()];
        let thread = std::thread::spawn(move || {
            let signals = BlockedSignals::block(&wanted).unwrap();
            for signal in wanted {
                // SAFETY: a call on integers, for this thread.
                assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signal) }, 0);
                assert_eq!(signals.wait().unwrap(), signal);
            }
        });
        thread.join().unwrap();
        assert!(BlockedSignals::block(&[1000]).is_err());
    }
}
