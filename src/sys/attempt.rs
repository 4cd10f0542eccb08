//! A start under way, which another thread can follow and give up.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::step::Step;

/// What the thread that starts a process shares with the one that waits for it.
///
/// A start can take as long as somebody else likes: a file system may not answer, and whoever holds a lease
/// on a program holds up those who execute it.
#[derive(Debug)]
pub struct Attempt {
    /// The child, or 0. The kernel sets it before the child runs.
    pub(super) child: AtomicI32,
    /// The position of the step under way in [`Step::all`].
    pub(super) step: AtomicU8,
    given_up: AtomicBool,
    /// Set once the child may be reaped, after which its number may be somebody else's.
    over: Mutex<bool>,
}

impl Default for Attempt {
    fn default() -> Self {
        let step = AtomicU8::new(Step::Basics.position());
        Self { child: AtomicI32::new(0), step, given_up: AtomicBool::new(false), over: Mutex::new(false) }
    }
}

impl Attempt {
    /// Notes that `step` begins.
    pub fn enter(&self, step: Step) {
        self.step.store(step.position(), Ordering::Relaxed);
    }

    /// The step under way.
    pub fn step(&self) -> Step {
        Step::at(self.step.load(Ordering::Relaxed))
    }

    /// Gives the start up: the program is not executed any more, and a child that was made for it is killed.
    /// Returns false if the program is being executed, or could not be.
    ///
    /// A child that is made in this moment is missed: call this again while the start goes on. One that has
    /// executed its program all the same is killed at the end of the start.
    pub fn give_up(&self) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        if *over {
            return false;
        }
        self.given_up.store(true, Ordering::SeqCst);
        match self.child.load(Ordering::SeqCst) {
            0 => {}
            // It was not reaped, because the start is not over.
            child => kill_all(Pid::from_raw(child)),
        }
        true
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Ends the start. Returns whether it was given up before.
    pub(super) fn finish(&self) -> bool {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        *over = true;
        self.is_given_up()
    }
}

/// Kills a child that was not reaped, and what its program may have started by now.
pub(super) fn kill_all(child: Pid) {
    // A child that does not lead its group yet has started nothing.
    let _ = killpg(child, Signal::SIGKILL);
    let _ = kill(child, Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_is_over_cannot_be_given_up() {
        let attempt = Attempt::default();
        attempt.enter(Step::Cwd);
        assert_eq!(attempt.step(), Step::Cwd);
        assert!(attempt.give_up() && attempt.give_up());
        assert!(attempt.finish(), "it was given up");
        let attempt = Attempt::default();
        assert!(!attempt.finish());
        assert!(!attempt.give_up() && !attempt.is_given_up());
    }
}
