//! The control socket: how operators see and steer a running daemon.
//!
//! It speaks HTTP/1.1 over a Unix socket, so that `curl --unix-socket` does, too. A thread of its own serves it, so
//! that slow and hostile clients cost the daemon nothing; for what only the daemon knows it asks the daemon's loop, one
//! small [`Question`] at a time, and streams long answers as fast as the client reads them.
//!
//! * [`status`] is what clients get to see, as plain data: the documented JSON.
//! * [`name`] finds the watch that somebody means.
//! * [`socket`] puts the socket in its place.
//! * [`server`] accepts and limits connections, [`routes`] answers what they ask.
//! * [`client`] is the other end, for `twitcher status` and its like.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::oneshot;

pub mod client;
pub mod name;
pub mod routes;
pub mod server;
pub mod socket;
pub mod status;

use crate::ledger::{RunRecord, Which};
use crate::metrics::Gauges;
use crate::model::Order;
use status::{DaemonStatus, WatchStatus};

/// Watches in one answer: some 0.2 ms of the daemon's time.
pub const WATCHES_AT_ONCE: usize = 200;

/// Runs in one answer: some 1 ms of the daemon's time.
pub const RUNS_AT_ONCE: usize = 200;

/// The longest that a client waits for the daemon before it is told that there is no answer: on a busy machine hundreds of
/// actions that start at once, or thousands of watches that are loaded, take some seconds.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Where an answer goes. The asker may have left.
pub type Answer<T> = oneshot::Sender<T>;

/// What the daemon's loop is asked. Each costs it a millisecond at most.
#[derive(Debug)]
pub enum Question {
    Daemon(Answer<DaemonStatus>),
    /// The one watch that goes by this name, or what is wrong with the name.
    Watch {
        named: String,
        answer: Answer<Result<WatchStatus, Refusal>>,
    },
    /// The next [`WATCHES_AT_ONCE`] after the one of this number; none are left if they are fewer.
    Watches {
        after: Option<u64>,
        answer: Answer<Vec<(u64, WatchStatus)>>,
    },
    Order {
        order: Order,
        watch: String,
        answer: Answer<Result<Done, Refusal>>,
    },
    /// Answered when the files are about to be read.
    Reload(Answer<Result<Done, Refusal>>),
    /// The next [`RUNS_AT_ONCE`] that the ledger has, newest first, before the one of this number.
    History {
        which: Which,
        before: Option<i64>,
        answer: Answer<Result<Vec<(i64, RunRecord)>, Refusal>>,
    },
    Gauges(Answer<Gauges>),
    /// What a run printed, as far as it is kept.
    Output {
        run: String,
        answer: Answer<Result<Vec<u8>, Refusal>>,
    },
}

/// What came of an order, in words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Done {
    /// As the log names it; `None` where the order was to the daemon.
    pub watch: Option<String>,
    pub done: String,
}

/// Why a question has no answer; the words are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    Unknown(String),
    /// The name means several.
    Ambiguous(String),
    /// It cannot be done as things are.
    Conflict(String),
    /// Not now.
    Unavailable(String),
}
