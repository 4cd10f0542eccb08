//! The requests of the control socket to the daemon's loop, and the replies.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;

use super::status::{DaemonStatus, WatchStatus};
use crate::action::output::Piece;
use crate::ledger::{MemberFilter, MemberRecord, RunFilter, RunRecord};
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
        order: Order,
        reply: ReplySender<Result<CommandResult, RequestError>>,
    },
    /// The reply comes once all configs were read again.
    Reload {
        /// Who asks, as in [`Order::by`].
        by: Option<String>,
        reply: ReplySender<Result<CommandResult, RequestError>>,
    },
    /// Asks for the newest [`RUNS_PER_PAGE`] runs in the ledger whose number is below `before`, newest first.
    History {
        filter: RunFilter,
        before: Option<i64>,
        reply: ReplySender<Result<Vec<(i64, RunRecord)>, RequestError>>,
    },
    /// Asks for as many announcements and withdrawals of members, likewise.
    MemberHistory {
        filter: MemberFilter,
        before: Option<i64>,
        reply: ReplySender<Result<Vec<(i64, MemberRecord)>, RequestError>>,
    },
    Gauges(ReplySender<Gauges>),
    /// Asks for the end of a run's output.
    Output {
        run: String,
        reply: ReplySender<Result<Vec<u8>, RequestError>>,
    },
    /// Asks for what a run has printed after its first `from` bytes, also while it runs.
    OutputSince {
        run: String,
        from: u64,
        reply: ReplySender<Result<OutputPiece, RequestError>>,
    },
}

/// What a run printed.
#[derive(Clone, Debug)]
pub struct OutputPiece {
    /// The id of the run.
    pub run: String,
    /// Bytes that came before it and were not read in time are dropped.
    pub piece: Piece,
    pub is_running: bool,
}

/// A command of an operator to a watch.
#[derive(Clone, Debug)]
pub struct Order {
    pub command: WatchCommand,
    /// The name by which the operator means the watch.
    pub watch: String,
    /// Who the operator is, from the credentials of the connection; `None` if the kernel does not tell.
    pub by: Option<String>,
    /// When the pause is to end by itself.
    pub length: Option<Duration>,
    /// Why the operator pauses the watch.
    pub why: Option<String>,
}

/// The longest text of [`Order::why`]: a few lines of a terminal, and 5 MB for ten thousand watches.
pub const MAX_WHY_BYTES: usize = 500;

/// The longest [`Order::length`]. Who needs more wants a pause without an end.
pub const MAX_PAUSE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The watch's name in log lines; `None` if the command was for the daemon.
    pub watch: Option<String>,
    /// What the command did, in words.
    pub done: String,
}

/// Why a request failed, in words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Nothing has this name.
    #[error("{0}")]
    Unknown(String),
    /// Several watches have this name.
    #[error("{0}")]
    Ambiguous(String),
    /// The present state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The daemon cannot do it now, but perhaps later.
    #[error("{0}")]
    Unavailable(String),
}
