//! Follows a node with the daemon's code, for commands that go on until they are interrupted.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::exit::print_error;
use super::signals;
use super::stdout::{PrintError, print_bytes};
use crate::model::{State, Subject};
use crate::store::{StoreChannel, StoreEvent, StoreSettings};
use crate::sys::kernel::{THREAD_CALLS, cannot};

/// What a store reports of what is followed. A state can come twice.
pub enum Found {
    State(Subject, State),
    /// It cannot be read, for this reason.
    Unreadable(Subject, String),
}

/// What is followed.
pub struct Following(StoreChannel);

impl Following {
    /// Waits for the next report. Losses of the connection, and what else a store says, go to stderr.
    pub async fn next(&mut self) -> Option<Found> {
        loop {
            match self.0.next().await? {
                StoreEvent::Observed { subject, state } => return Some(Found::State(subject, state)),
                StoreEvent::Unreadable { subject, reason } => {
                    return Some(Found::Unreadable(subject, reason));
                }
                StoreEvent::Connected { what, identity: _ } => {
                    print_error(format_args!("twitcher: connected again to {what}"));
                }
                StoreEvent::Disconnected { reason } | StoreEvent::Refused { reason } => {
                    print_error(format_args!("twitcher: not connected: {reason}; trying again"));
                }
                StoreEvent::Degraded { reason } | StoreEvent::RootMissing { reason } => {
                    print_error(format_args!("twitcher: {reason}"));
                }
                // The observation came before this event.
                StoreEvent::MissedChange { .. } => {}
                // Only the daemon reports this.
                StoreEvent::Exposed(_)
                | StoreEvent::HalfStarted(_)
                | StoreEvent::Remember { .. }
                | StoreEvent::HalfEnded => {}
                // The node that is watched tells more.
                StoreEvent::RootFound => {}
            }
        }
    }
}

/// Follows `subject`, and runs `command` until it ends, a signal interrupts it, or stdout is closed. Fails if
/// there is no connection within the session timeout; a later loss of the connection is reported on stderr,
/// and the connection made again.
pub async fn until_interrupted(
    settings: &StoreSettings,
    subject: Subject,
    command: impl AsyncFnOnce(&mut Following) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut signals = signals::receive(&[SIGINT, SIGTERM])?;
    let closed = stdout_closed()?;
    let mut following = Following(settings.open());
    following.0.follow(subject);
    let run = async {
        first_connection(settings, &mut following.0).await?;
        command(&mut following).await
    };
    let done = tokio::select! {
        done = run => done,
        _ = signals.recv() => Ok(()),
        _ = closed => Ok(()),
    };
    following.0.close().await;
    done
}

/// Becomes ready when the reader of stdout is gone. Otherwise this process would stay until the next change
/// of the node, which may be far.
fn stdout_closed() -> io::Result<oneshot::Receiver<()>> {
    let (sender, closed) = oneshot::channel();
    let started = thread::Builder::new().name("stdout".into()).spawn(move || {
        let stdout = io::stdout();
        // poll() reports errors and hang-ups even without flags. A file has none.
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while poll(&mut polled, PollTimeout::NONE) == Err(Errno::EINTR) {}
        let _ = sender.send(());
    });
    started.map_err(cannot("start the thread that watches stdout", THREAD_CALLS))?;
    Ok(closed)
}

async fn first_connection(settings: &StoreSettings, store: &mut StoreChannel) -> Result<(), Box<dyn Error>> {
    let mut failure = None;
    let connected = async {
        loop {
            match store.next().await {
                Some(StoreEvent::Disconnected { reason } | StoreEvent::Refused { reason }) => {
                    failure = Some(reason);
                }
                Some(
                    StoreEvent::Connected { .. }
                    // These come only from a store that is connected.
                    | StoreEvent::Observed { .. }
                    | StoreEvent::Unreadable { .. }
                    | StoreEvent::RootMissing { .. }
                    | StoreEvent::RootFound
                    | StoreEvent::Exposed(_)
                    | StoreEvent::HalfStarted(_)
                    | StoreEvent::Remember { .. }
                    | StoreEvent::HalfEnded
                    | StoreEvent::MissedChange { .. }
                    | StoreEvent::Degraded { .. },
                )
                | None => return,
            }
        }
    };
    if timeout(settings.session_timeout(), connected).await.is_ok() {
        return Ok(());
    }
    let seconds = settings.session_timeout().as_secs_f64();
    let reason = failure.unwrap_or_else(|| format!("no answer within {seconds} s"));
    Err(format!("{settings}: {reason}; check that it runs, and --store or --zkservers").into())
}

/// Prints on a thread of its own, because a reader may block it for ever, and signals must still be handled.
pub async fn print(text: String) -> Result<(), PrintError> {
    let written = tokio::task::spawn_blocking(move || print_bytes(text.as_bytes()));
    written.await.map_err(io::Error::other)?
}
