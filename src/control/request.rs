//! The requests of the control socket to the daemon's loop, and the replies.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::status::{DaemonStatus, WatchStatus};
use crate::ledger::{RunFilter, RunRecord};
use crate::metrics::Gauges;
use crate::model::WatchCommand;

/// The most watches of one reply, which takes about 0.2 ms of the daemon's time.
pub const WATCHES_PER_PAGE: usize = 200;

/// The most runs of one reply, which takes about 1 ms of the daemon's time.
pub const RUNS_PER_PAGE: usize = 200;

/// How long a client waits for the daemon's reply before it gets an error. On a busy machine, starting
/// hundreds of actions at once or loading thousands of watches takes the daemon some seconds.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// Takes the reply to a request. Sending fails if the client has left, which is not an error.
pub type ReplySender<T> = oneshot::Sender<T>;

/// A request to the daemon's loop, which takes at most a millisecond of its time.
#[derive(Debug)]
pub enum DaemonRequest {
    Daemon(ReplySender<DaemonStatus>),
    /// Asks for the watch of this name.
    Watch {
        named: String,
        reply: ReplySender<Result<WatchStatus, RequestError>>,
    },
    /// Asks for the first [`WATCHES_PER_PAGE`] watches whose number is above `after`, each with its number. A
    /// reply with fewer is the last page.
    Watches {
        after: Option<u64>,
        reply: ReplySender<Vec<(u64, WatchStatus)>>,
    },
    WatchCommand {
        command: WatchCommand,
        watch: String,
        reply: ReplySender<Result<CommandResult, RequestError>>,
    },
    /// The reply comes once all configs were read again.
    Reload(ReplySender<Result<CommandResult, RequestError>>),
    /// Asks for the newest [`RUNS_PER_PAGE`] runs in the ledger whose number is below `before`, newest first.
    History {
        filter: RunFilter,
        before: Option<i64>,
        reply: ReplySender<Result<Vec<(i64, RunRecord)>, RequestError>>,
    },
    Gauges(ReplySender<Gauges>),
    /// Asks for the end of a run's output.
    Output {
        run: String,
        reply: ReplySender<Result<Vec<u8>, RequestError>>,
    },
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The watch's name in log lines; `None` if the command was for the daemon.
    pub watch: Option<String>,
    /// What the command did, in words.
    pub done: String,
}

/// Why a request failed, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Nothing has this name.
    Unknown(String),
    /// Several watches have this name.
    Ambiguous(String),
    /// The present state does not allow it.
    Conflict(String),
    /// The daemon cannot do it now, but perhaps later.
    Unavailable(String),
}
