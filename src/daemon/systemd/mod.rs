//! Telling systemd how the daemon does (sd_notify(3)): that it is ready, reads its configs again or stops,
//! the line that `systemctl status` shows, and, again and again, that the loop still turns.
//!
//! Only the daemon's loop sends these messages, so that a loop that hangs falls silent and is noticed.
//! Nothing here blocks. Without the `NOTIFY_SOCKET` of a service manager nothing is sent.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::time::Duration;
use std::{fmt, io};

use sd_notify::NotifyState;
use thiserror::Error;
use tokio::time::Instant;

use crate::sys::NotifySocket;
use crate::text::count;

#[cfg(test)]
mod tests;

/// The pause between two status lines: people read them, and a busy daemon's figures change at every run.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// The pause before a message is sent again that systemd had no room for.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// The pause before a message is sent again for which nobody listened.
const ERROR_DELAY: Duration = Duration::from_secs(10);

/// The figures of the status line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts {
    pub watches: usize,
    pub running: usize,
    /// How many watches failed last, or were stopped by a failure.
    pub failing: usize,
}

/// A message could not be sent, so systemd will take the daemon for one that does not start, or hangs.
#[derive(Debug, Error)]
#[error(
    "systemd cannot be told that the daemon is alive, and may stop it: {name:?} (NOTIFY_SOCKET): {source}"
)]
pub struct NotifyError {
    name: OsString,
    source: io::Error,
}

/// The daemon as its service manager sees it. What happens to the daemon is noted here, and sent by
/// [`Self::send_updates`].
pub struct Systemd {
    socket: Option<NotifySocket>,
    pending: Pending,
    stage: Stage,
    counts: StatusCounts,
    /// Messages about the stage. A few at most, as a reload makes those before it obsolete.
    unsent: VecDeque<String>,
    retry_at: Instant,
    sent_status: Option<Status>,
    next_status_at: Instant,
    watchdog: Option<Watchdog>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// What the daemon waits for before it is ready: at its start for all of these, after a reload for the
/// rescans.
struct Pending {
    first_scan: bool,
    rescans: usize,
    /// How many stores have to say once whether they are connected. The daemon does not wait for a
    /// connection: a store may be away for days, and the configs are in force all the same.
    stores: usize,
    /// What each of them said last, by name.
    connected: BTreeMap<String, bool>,
}

struct Watchdog {
    period: Duration,
    feed_at: Instant,
}

impl Systemd {
    /// Follows the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    ///
    /// # Errors
    ///
    /// There is no descriptor left for the socket.
    pub fn from_environment() -> io::Result<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET");
        let socket = name.map(NotifySocket::new).transpose()?;
        let watchdog = socket.as_ref().and_then(|_| watchdog_period());
        Ok(Self::new(socket, watchdog, 1))
    }

    /// Sends nothing: for a daemon that is no service.
    pub fn disabled() -> Self {
        Self::new(None, None, 1)
    }

    fn new(socket: Option<NotifySocket>, watchdog: Option<Duration>, stores: usize) -> Self {
        let now = Instant::now();
        Self {
            socket,
            pending: Pending { first_scan: true, rescans: 0, stores, connected: BTreeMap::new() },
            stage: Stage::Starting,
            counts: StatusCounts::default(),
            unsent: VecDeque::new(),
            retry_at: now,
            sent_status: None,
            next_status_at: now,
            watchdog: watchdog.map(|period| Watchdog { period, feed_at: now }),
        }
    }

    /// Notes how many stores are used by the watches that were loaded until now.
    pub fn set_store_count(&mut self, stores: usize) {
        self.pending.stores = stores;
    }

    /// Notes that every config that was there at the start was loaded, or its errors reported.
    pub fn first_scan_done(&mut self) {
        self.pending.first_scan = false;
        self.update_stage();
    }

    /// Notes whether a store is connected.
    pub fn store(&mut self, name: &str, connected: bool) {
        self.pending.connected.insert(name.to_owned(), connected);
        self.pending.stores = self.pending.stores.max(self.pending.connected.len());
        self.update_stage();
    }

    /// Notes that the configs are to be read again; [`Self::rescanned`] must follow.
    pub fn reloading(&mut self) {
        self.pending.rescans += 1;
        match self.stage {
            // Systemd waits for the start already, and the start waits for the rescan.
            Stage::Starting | Stage::Stopping => {}
            Stage::Ready | Stage::Reloading => {
                self.stage = Stage::Reloading;
                self.unsent.clear();
                // The time lets systemd tell the answer to its own request from the answer to an older one.
                let time = NotifyState::monotonic_usec_now().ok();
                self.unsent.push_back(message([NotifyState::Reloading].into_iter().chain(time)));
            }
        }
    }

    /// Notes that this many rescans are done.
    pub fn rescanned(&mut self, requests: usize) {
        self.pending.rescans = self.pending.rescans.saturating_sub(requests);
        self.update_stage();
    }

    pub fn stopping(&mut self) {
        if self.stage != Stage::Stopping {
            self.stage = Stage::Stopping;
            self.unsent.push_back(message([NotifyState::Stopping]));
        }
    }

    fn update_stage(&mut self) {
        match self.stage {
            Stage::Starting | Stage::Reloading if self.pending.are_done() => {
                self.stage = Stage::Ready;
                self.unsent.push_back(message([NotifyState::Ready]));
            }
            Stage::Starting | Stage::Reloading | Stage::Ready | Stage::Stopping => {}
        }
    }

    /// When [`Self::send_updates`] is due even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        self.socket.as_ref()?;
        let retry = (!self.unsent.is_empty()).then_some(self.retry_at);
        let status = (self.sent_status != Some(self.status())).then_some(self.next_status_at);
        let feed = self.watchdog.as_ref().map(|watchdog| watchdog.feed_at);
        [retry, status, feed].into_iter().flatten().min()
    }

    /// Sends the messages that are due. The loop calls it at each turn: it costs next to nothing if nothing
    /// has changed. Returns whether systemd got a message. What it did not get is sent again.
    pub fn send_updates(&mut self, counts: StatusCounts) -> Result<bool, NotifyError> {
        self.counts = counts;
        let Some(socket) = &self.socket else { return Ok(false) };
        let now = Instant::now();
        let (mut is_heard, mut error) = (false, None);
        // Returns after which time to try again.
        let mut send = |message: &str| match socket.send(message) {
            Ok(true) => {
                is_heard = true;
                None
            }
            Ok(false) => Some(RETRY_DELAY),
            Err(source) => {
                error = Some(NotifyError { name: socket.name.clone(), source });
                Some(ERROR_DELAY)
            }
        };
        // The status first: a client that waited for the daemon to be ready then finds the figures of that
        // moment.
        let status = self.status();
        let stage_follows = !self.unsent.is_empty() && now >= self.retry_at;
        if self.sent_status != Some(status) && (now >= self.next_status_at || stage_follows) {
            let again = send(&message([NotifyState::Status(&status.to_string())]));
            self.next_status_at = now + again.unwrap_or_default().max(STATUS_INTERVAL);
            if again.is_none() {
                self.sent_status = Some(status);
            }
        }
        while let Some(message) = self.unsent.front().filter(|_| now >= self.retry_at) {
            match send(message) {
                None => drop(self.unsent.pop_front()),
                Some(delay) => self.retry_at = now + delay,
            }
        }
        // A daemon that has something else to do in the second half of a period does not wake up for this.
        if let Some(Watchdog { period, feed_at }) = &mut self.watchdog
            && now + *period / 2 >= *feed_at
        {
            let again = send(&message([NotifyState::Watchdog]));
            *feed_at = now + again.unwrap_or(*period).min(*period);
        }
        error.map_or(Ok(is_heard), Err)
    }

    fn status(&self) -> Status {
        let Pending { stores, connected, .. } = &self.pending;
        Status {
            counts: self.counts,
            stores: *stores,
            tried: connected.len(),
            connected: connected.values().filter(|connected| **connected).count(),
        }
    }
}

impl Pending {
    fn are_done(&self) -> bool {
        !self.first_scan && self.rescans == 0 && self.connected.len() >= self.stores
    }
}

/// The line that `systemctl status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Status {
    counts: StatusCounts,
    stores: usize,
    tried: usize,
    connected: usize,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatusCounts { watches, running, failing } = self.counts;
        write!(f, "{}, {running} running, {failing} failing; ", count(watches as u64, "watch"))?;
        match (self.stores, self.tried, self.connected) {
            (1, 0, _) => f.write_str("store not tried yet"),
            (1, _, 0) => f.write_str("store not connected"),
            (1, _, _) => f.write_str("store connected"),
            (stores, _, connected) => write!(f, "{connected} of {stores} stores connected"),
        }
    }
}

fn message<'a>(states: impl IntoIterator<Item = NotifyState<'a>>) -> String {
    states.into_iter().map(|state| format!("{state}\n")).collect()
}

/// Half of the watchdog's timeout (sd_watchdog_enabled(3)); `None` if systemd does not watch this process.
fn watchdog_period() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    let allowed = number("WATCHDOG_USEC").filter(|microseconds| is_ours && *microseconds > 0)?;
    Some(Duration::from_micros(allowed / 2).max(Duration::from_millis(1)))
}
