//! The server as its service manager sees it: it starts, it is ready, its loop turns, it stops.
//!
//! Nothing here blocks. Without the `NOTIFY_SOCKET` of a service manager nothing is sent.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{interval, sleep};

use crate::sys::NotifySocket;

/// The pause before a message is sent again that systemd had no room for.
const RETRY: Duration = Duration::from_millis(250);

/// The least pause between two signs of life, whatever the unit asks for.
const MIN_FEED: Duration = Duration::from_millis(1);

pub struct Systemd(Option<NotifySocket>);

impl Systemd {
    /// Follows the environment.
    ///
    /// # Errors
    ///
    /// There is no descriptor left for the socket.
    pub fn from_environment() -> io::Result<Self> {
        Ok(Self(std::env::var_os("NOTIFY_SOCKET").map(NotifySocket::new).transpose()?))
    }

    /// Says that the start is to be waited for that much longer.
    pub fn starts_for(&self, longer: Duration) {
        self.tell(NotifyState::ExtendTimeoutUsec(u32::try_from(longer.as_micros()).unwrap_or(u32::MAX)));
    }

    /// Says that the server is ready, and then again and again that this loop turns.
    pub async fn live(&self) -> Infallible {
        while !self.tell(NotifyState::Ready) {
            sleep(RETRY).await;
        }
        let mut micros = 0;
        if !sd_notify::watchdog_enabled(false, &mut micros) {
            return pending().await;
        }
        let mut ticks = interval((Duration::from_micros(micros) / 2).max(MIN_FEED));
        loop {
            ticks.tick().await;
            self.tell(NotifyState::Watchdog);
        }
    }

    pub fn stops(&self) {
        self.tell(NotifyState::Stopping);
    }

    /// Returns whether there is nothing to say again. A service manager that does not listen stops the
    /// server, and says why.
    fn tell(&self, state: NotifyState<'_>) -> bool {
        self.0.as_ref().is_none_or(|socket| socket.send(&format!("{state}\n")).unwrap_or(true))
    }
}
