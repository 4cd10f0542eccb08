//! Reads the login of a store for its halves.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::store::question::LoginReply;
use crate::store::settings::StoreSettings;

/// How long a reading may take before the half hears why it gets none. It gives up an attempt to connect
/// after some seconds, and would then say that its server does not answer.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest time between two readings.
const LOGIN_INTERVAL: Duration = Duration::from_millis(250);

/// A reading happens on a thread, because a file system can hang. There is one at a time: what takes longer
/// than a half waits answers the next question.
#[derive(Default)]
pub(super) struct LoginReader {
    began: Option<Instant>,
    reading: Option<JoinHandle<LoginReply>>,
    /// Until when the half waits for the answer; `None` if it does not.
    deadline: Option<Instant>,
    files: Vec<PathBuf>,
}

impl LoginReader {
    /// The half asks for the login.
    pub(super) fn ask(&mut self, settings: &StoreSettings) {
        let now = Instant::now();
        self.deadline = Some(now + LOGIN_TIMEOUT.min(settings.session_timeout() / 2));
        if self.reading.is_some() {
            return;
        }
        let last = self.began.replace(now);
        let pause = last.map_or(Duration::ZERO, |last| LOGIN_INTERVAL.saturating_sub(last.elapsed()));
        self.files = settings.login_files();
        let settings = settings.clone();
        self.reading = Some(spawn_blocking(move || {
            std::thread::sleep(pause);
            settings.read_login()
        }));
    }

    /// Nobody waits for an answer any more.
    pub(super) fn forget(&mut self) {
        self.deadline = None;
    }

    /// Waits for the answer, for ever if nobody asked. Can be dropped at any time.
    pub(super) async fn answer(&mut self) -> LoginReply {
        let (Some(deadline), Some(reading)) = (self.deadline, &mut self.reading) else {
            return pending().await;
        };
        let reply = tokio::select! {
            read = reading => {
                self.reading = None;
                read.unwrap_or_else(|error| Err(error.to_string()))
            }
            () = sleep_until(deadline) => Err(self.overdue()),
        };
        self.deadline = None;
        reply
    }

    fn overdue(&self) -> String {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        format!(
            "the login cannot be read in time; look whether the file system of {} hangs",
            files.join(" or ")
        )
    }
}
