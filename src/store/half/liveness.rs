//! Whether a half still answers. No IO.
//!
//! A half that hangs would report nothing any more, and nobody would notice. So it is asked now and then.
//! Whatever it says is an answer. Time that the daemon itself had no room for an answer does not count.

use std::time::Duration;

use tokio::time::Instant;

/// How long a half may take from its start to its first word.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest time for an answer. A session timeout may be shorter than a busy host needs to let each of
/// its processes run once.
const MIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for an answer passes in so many steps. The clock also runs while the daemon itself is stopped or
/// busy. Afterwards it finds one step overdue, not all of them, and reads the answer that came meanwhile.
const STEPS: u32 = 4;

pub(super) struct Liveness {
    /// How long the half may be silent before it is asked, and then may take to answer.
    timeout: Duration,
    /// How many steps are left for the answer, and how long each is; `None` if nothing was asked.
    awaited: Option<(u32, Duration)>,
    due: Instant,
}

/// What to do when the next step is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Ask,
    Wait,
    GiveUp,
}

impl Liveness {
    /// A half was just told to start, which it answers.
    pub(super) fn new(session_timeout: Duration, now: Instant) -> Self {
        let mut new = Self { timeout: session_timeout.max(MIN_TIMEOUT), awaited: None, due: now };
        new.ask(START_TIMEOUT, now);
        new
    }

    fn ask(&mut self, patience: Duration, now: Instant) {
        let step = patience / STEPS;
        (self.awaited, self.due) = (Some((STEPS, step)), now + step);
    }

    /// When [`Self::step`] is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The half said something.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.awaited, self.due) = (None, now + self.timeout);
    }

    /// The daemon listens again, and did not for a while. What was asked meanwhile is asked as of now.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Some((_, step)) = self.awaited {
            self.ask(step * STEPS, now);
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        match &mut self.awaited {
            None => {
                self.ask(self.timeout, now);
                Step::Ask
            }
            Some((0 | 1, _)) => Step::GiveUp,
            Some((left, step)) => {
                *left -= 1;
                self.due = now + *step;
                Step::Wait
            }
        }
    }

    /// How long the half had no answer when it was given up.
    pub(super) fn patience(&self) -> Duration {
        self.awaited.map_or(self.timeout, |(_, step)| step * STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Lets the time pass until something other than waiting is to be done. Returns when that is, and what.
    fn until(liveness: &mut Liveness) -> (Instant, Step) {
        loop {
            let now = liveness.due();
            match liveness.step(now) {
                Step::Wait => {}
                step => return (now, step),
            }
        }
    }

    #[test]
    fn a_half_that_is_silent_is_asked_and_then_given_up() {
        let start = Instant::now();
        let mut liveness = Liveness::new(TIMEOUT, start);
        assert_eq!(until(&mut liveness), (start + START_TIMEOUT, Step::GiveUp));
        assert_eq!(liveness.patience(), START_TIMEOUT);
        let mut liveness = Liveness::new(TIMEOUT, start);
        liveness.heard(start);
        assert_eq!(until(&mut liveness), (start + TIMEOUT, Step::Ask));
        assert_eq!(until(&mut liveness), (start + 2 * TIMEOUT, Step::GiveUp));
        assert_eq!(liveness.patience(), TIMEOUT);
        let mut liveness = Liveness::new(Duration::from_millis(1), start);
        liveness.heard(start);
        assert_eq!(until(&mut liveness), (start + MIN_TIMEOUT, Step::Ask));
    }

    #[test]
    fn whatever_it_says_is_an_answer() {
        let mut liveness = Liveness::new(TIMEOUT, Instant::now());
        let mut now = Instant::now();
        liveness.heard(now);
        for _ in 0..3 {
            let (asked, step) = until(&mut liveness);
            assert_eq!((asked, step), (now + TIMEOUT, Step::Ask));
            now = asked + TIMEOUT / 2;
            while liveness.due() < now {
                assert_eq!(liveness.step(liveness.due()), Step::Wait);
            }
            liveness.heard(now);
        }
    }

    #[test]
    fn a_daemon_that_was_away_itself_blames_nobody() {
        let now = Instant::now();
        let mut liveness = Liveness::new(TIMEOUT, now);
        liveness.heard(now);
        assert_eq!(until(&mut liveness).1, Step::Ask);
        let woken = now + Duration::from_secs(3600);
        assert_eq!(liveness.step(woken), Step::Wait, "the answer may lie there");
        liveness.resume(woken);
        assert_eq!(until(&mut liveness), (woken + TIMEOUT, Step::GiveUp), "there was no room for the answer");
    }
}
