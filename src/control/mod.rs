//! The control socket: how operators see and steer a running daemon.
//!
//! It speaks HTTP/1.1 over a Unix socket, so that `curl --unix-socket` does, too. A thread of its own serves it, so
//! that slow and hostile clients cost the daemon nothing; for what only the daemon knows it asks the daemon's loop, one
//! small [`DaemonRequest`] at a time, and streams long answers as fast as the client reads them.
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

use crate::ledger::{RunFilter, RunRecord};
use crate::metrics::Gauges;
use crate::model::WatchCommand;
use status::{DaemonStatus, WatchStatus};

/// Watches in one answer: some 0.2 ms of the daemon's time.
pub const WATCHES_PER_PAGE: usize = 200;

/// Runs in one answer: some 1 ms of the daemon's time.
pub const RUNS_PER_PAGE: usize = 200;

/// The longest that a client waits for the daemon before it is told that there is no answer: on a busy machine hundreds of
/// actions that start at once, or thousands of watches that are loaded, take some seconds.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// Where an answer goes. The asker may have left.
pub type ReplySender<T> = oneshot::Sender<T>;

/// What the daemon's loop is asked. Each costs it a millisecond at most.
#[derive(Debug)]
pub enum DaemonRequest {
    Daemon(ReplySender<DaemonStatus>),
    /// The one watch that goes by this name, or what is wrong with the name.
    Watch {
        named: String,
        reply: ReplySender<Result<WatchStatus, RequestError>>,
    },
    /// The next [`WATCHES_PER_PAGE`] after the one of this number; none are left if they are fewer.
    Watches {
        after: Option<u64>,
        reply: ReplySender<Vec<(u64, WatchStatus)>>,
    },
    WatchCommand {
        command: WatchCommand,
        watch: String,
        reply: ReplySender<Result<CommandResult, RequestError>>,
    },
    /// Answered when the files are about to be read.
    Reload(ReplySender<Result<CommandResult, RequestError>>),
    /// The next [`RUNS_PER_PAGE`] that the ledger has, newest first, before the one of this number.
    History {
        filter: RunFilter,
        before: Option<i64>,
        reply: ReplySender<Result<Vec<(i64, RunRecord)>, RequestError>>,
    },
    Gauges(ReplySender<Gauges>),
    /// What a run printed, as far as it is kept.
    Output {
        run: String,
        reply: ReplySender<Result<Vec<u8>, RequestError>>,
    },
}

/// What came of an order, in words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct CommandResult {
    /// As the log names it; `None` where the order was to the daemon.
    pub watch: Option<String>,
    pub done: String,
}

/// Why a question has no answer; the words are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// There is no such thing.
    Unknown(String),
    /// The name means several.
    Ambiguous(String),
    /// It cannot be done as things are.
    Conflict(String),
    /// Not now.
    Unavailable(String),
}
