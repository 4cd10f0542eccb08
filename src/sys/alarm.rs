//! Waits for a time that is far away with one wakeup.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};

use super::process::watch_socket;

/// The runtime waits for nearer times exactly. For others it wakes up to three times: it sorts its timers
/// into slots of 64 ms and of 4 s, and looks into each slot at its beginning.
const NEAR: Duration = Duration::from_millis(64);

/// The timer is set to a later time only if it would go off this much too early. So a task that waits for
/// another time in each turn of its loop seldom sets it, and seldom wakes up for nothing.
const TOO_EARLY: Duration = Duration::from_secs(1);

/// A timer of the kernel, for one task that often waits for long, and does next to nothing else.
pub struct Alarm {
    /// `None` where the kernel gives none; then the runtime's timers serve.
    timer: Option<AsyncFd<OwnedFd>>,
    /// When the timer goes off next.
    set_to: Option<Instant>,
}

impl Alarm {
    /// Must be called inside a tokio runtime.
    pub fn start() -> Self {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok();
        Self { timer: timer.and_then(|timer| watch_socket(timer).ok()), set_to: None }
    }

    /// Waits until `at`. Can be dropped at any time.
    pub async fn until(&mut self, at: Instant) {
        loop {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The runtime's timer would round this up to the next millisecond, which is another wakeup.
                return consume_budget().await;
            }
            if left <= NEAR {
                break;
            }
            // A timer that goes off too early is set once more then.
            if self.set_to.is_none_or(|set_to| set_to > at || set_to + TOO_EARLY < at) {
                self.set(at, left);
            }
            let Some(timer) = self.timer.as_ref().filter(|_| self.set_to.is_some()) else { break };
            let Ok(mut went_off) = timer.readable().await else { break };
            went_off.clear_ready();
            self.set_to = None;
        }
        sleep_until(at).await;
    }

    fn set(&mut self, at: Instant, left: Duration) {
        let Some(timer) = &self.timer else { return };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok(it_value) = Timespec::try_from(left) else { return };
        let set = timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value });
        self.set_to = set.is_ok().then_some(at);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_alarm_is_set_to_a_later_time_only_if_it_would_go_off_much_too_early() {
        let mut alarm = Alarm::start();
        let start = Instant::now();
        for (at, set_to) in [(5.0, 5.0), (5.5, 5.0), (9.0, 9.0), (9.5, 9.0), (7.0, 7.0)] {
            let after = |seconds| start + Duration::from_secs_f64(seconds);
            tokio::select! {
                biased;
                () = alarm.until(after(at)) => panic!("{at} s have not passed"),
                () = tokio::task::yield_now() => {}
            }
            assert_eq!(alarm.set_to, Some(after(set_to)), "{at}");
        }
    }

    #[tokio::test]
    async fn an_alarm_goes_off_at_its_time_and_not_before_whatever_it_was_set_to() {
        let mut alarm = Alarm::start();
        assert!(alarm.timer.is_some());
        let start = Instant::now();
        for (given_up, milliseconds) in [(None, 0), (None, 10), (Some(10_000), 100), (Some(80), 250)] {
            let at = |milliseconds| start + Duration::from_millis(milliseconds);
            if let Some(given_up) = given_up {
                tokio::select! {
                    biased;
                    () = alarm.until(at(given_up)) => {}
                    () = tokio::task::yield_now() => {}
                }
            }
            let went_off = timeout(Duration::from_secs(9), alarm.until(at(milliseconds))).await;
            assert!(went_off.is_ok(), "it never went off");
            assert!(Instant::now() >= at(milliseconds));
        }
        assert!(start.elapsed() < Duration::from_secs(9), "it was not set to an earlier time");
    }
}
