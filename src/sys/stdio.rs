//! Which of stdin, stdout and stderr were closed when this process was started.
//!
//! Rust opens `/dev/null` in place of a closed one before `main`, so that no other file gets its number.
//! Afterwards nobody can tell a closed stdout from one that the caller sent to `/dev/null` on purpose. The
//! first is a mistake by which results and log lines get lost, so it is noted before that.

use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc;

/// A bit for each closed descriptor.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// A standard stream of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    Stdin,
    Stdout,
    Stderr,
}

impl Stdio {
    const ALL: [Self; 3] = [Self::Stdin, Self::Stdout, Self::Stderr];

    /// Whether it was closed when this process was started.
    pub fn was_closed(self) -> bool {
        CLOSED.load(Ordering::Relaxed) & (1 << self.number()) != 0
    }

    const fn number(self) -> libc::c_int {
        match self {
            Self::Stdin => libc::STDIN_FILENO,
            Self::Stdout => libc::STDOUT_FILENO,
            Self::Stderr => libc::STDERR_FILENO,
        }
    }
}

// SAFETY: the C library calls each function in this section once, before `main` and so before Rust's own
// preparations.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_CLOSED: extern "C" fn() = note_closed;

/// Makes system calls only, because nothing of Rust's library is ready yet.
extern "C" fn note_closed() {
    for stream in Stdio::ALL {
        let number = stream.number();
        // SAFETY: a bare system call on an integer.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
}
