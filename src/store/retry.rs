//! Trying a command again while its store is away.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::backoff::Backoff;
use super::client::Client;
use super::client_error::{ClientError, Doubt};
use super::settings::StoreSettings;
use crate::model::NodePath;

/// The pauses between two tries. A server that restarts is away for some seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a command tries again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub time: Duration,
    /// Whether doing the command twice does the same as doing it once. Otherwise the command is not tried
    /// again after a try of which nobody knows what it did.
    pub repeatable: bool,
}

impl Retry {
    /// Connects and runs `attempt`, for at most `self.time`, until it succeeds or fails for a reason that
    /// will not pass by itself. `failed` is told of the first failure that is followed by another try.
    pub async fn run<T>(
        self,
        settings: &StoreSettings,
        node: &NodePath,
        failed: impl Fn(&ClientError),
        attempt: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.time;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut last: Option<ClientError> = None;
        loop {
            let rest = deadline - Instant::now();
            let settings = settings.clone().with_timeout_below(rest);
            let is_asked = Cell::new(false);
            let attempt = async {
                let client = Client::connect(&settings).await?;
                is_asked.set(true);
                let done = attempt(&client).await;
                client.close().await;
                done
            };
            let error = match timeout_at(deadline, attempt).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => error,
                Err(_) if is_asked.get() => {
                    let (store, timeout) = (settings.to_string(), self.time);
                    return Err(ClientError::NoAnswer { store, timeout, doubt: Doubt::Change(node.clone()) });
                }
                Err(_) => last.take().unwrap_or_else(|| {
                    let (store, timeout) = (settings.to_string(), self.time);
                    ClientError::NoAnswer { store, timeout, doubt: Doubt::None }
                }),
            };
            let next = Instant::now() + backoff.next();
            if next >= deadline || !error.is_transient() || (error.leaves_doubt() && !self.repeatable) {
                return Err(error);
            }
            if last.is_none() {
                failed(&error);
            }
            last = Some(error);
            sleep_until(next).await;
        }
    }
}
