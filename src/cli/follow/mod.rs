//! `twitcher watch NODE`: follows one node live, by the daemon's own means, until it is interrupted.

mod line;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;
use std::time::SystemTime;

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use thiserror::Error;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::table::terminal_width;
use super::{StoreArgs, fail, print_error, report_settings_error, startup};
use crate::model::{Facet, NodePath, Subject};
use crate::settings::client_store;
use crate::store::{self, StoreEvent, StoreSettings, StoreUrl};
use crate::text::Timestamp;
use line::Follower;

#[derive(Debug, Args)]
pub struct FollowArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Absolute path, such as /git/head
    #[arg(value_parser = NodePath::parse)]
    pub node: NodePath,
    /// Follow the set of its children instead of its data
    #[arg(long)]
    pub children: bool,
    /// Print one JSON object a line, of time, znode, event, version, size and text (or children, or the reason), with
    /// the whole content
    #[arg(long)]
    pub json: bool,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Debug, Error)]
enum FollowError {
    #[error("{store}: {reason}; check that it runs, and --store or --zkservers")]
    Unreachable { store: StoreUrl, reason: String },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// Prints the node's present state, and then a line for each change. Ends well when it is interrupted, when it has
/// printed enough, and when nobody reads stdout any more; fails if there is no connection within the session timeout.
/// Later it says on stderr that the connection is lost or back, and goes on.
pub fn run(args: FollowArgs) -> ExitCode {
    let settings = match client_store(&args.store.flags()) {
        Ok(settings) => settings,
        Err(error) => return report_settings_error(error),
    };
    match block_on(follow_until_interrupted(&args, &settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn block_on(work: impl Future<Output = Result<(), FollowError>>) -> Result<(), FollowError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, work);
    // Not dropped: that would wait for a resolver that hangs, or a reader that does not read.
    runtime.shutdown_background();
    done
}

async fn follow_until_interrupted(args: &FollowArgs, settings: &StoreSettings) -> Result<(), FollowError> {
    let mut signals = startup::signals(&[SIGINT, SIGTERM])?;
    let closed = stdout_closed()?;
    let facet = if args.children { Facet::Children } else { Facet::Data };
    let (subscriptions, mut events) = store::open(settings);
    subscriptions.subscribe(Subject { path: args.node.clone(), facet });
    let followed = tokio::select! {
        followed = follow(args, settings, &mut events) => followed,
        _ = signals.recv() => Ok(()),
        _ = closed => Ok(()),
    };
    drop(events);
    subscriptions.close().await;
    followed
}

/// Becomes ready when the other end of stdout is gone: the node may not change again for long, and a reader that took
/// one line should not be waited for until then.
fn stdout_closed() -> io::Result<oneshot::Receiver<()>> {
    let (sender, closed) = oneshot::channel();
    thread::Builder::new().name("stdout".into()).spawn(move || {
        let stdout = io::stdout();
        // Errors and hang-ups are told unasked; a file has none.
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while poll(&mut polled, PollTimeout::NONE) == Err(Errno::EINTR) {}
        let _ = sender.send(());
    })?;
    Ok(closed)
}

async fn follow(
    args: &FollowArgs,
    settings: &StoreSettings,
    events: &mut Receiver<StoreEvent>,
) -> Result<(), FollowError> {
    first_connection(settings, events).await?;
    let mut follower = Follower::default();
    let mut printed = 0;
    while args.count.is_none_or(|count| printed < count) {
        let Some(event) = events.recv().await else { break };
        let now = Timestamp(SystemTime::now());
        let line = match &event {
            StoreEvent::Observed { subject, state } => follower.observed(subject, state, now),
            StoreEvent::Unreadable { subject, reason } => Some(follower.unreadable(subject, reason, now)),
            StoreEvent::Connected { what } => {
                print_error(format_args!("twitcher: connected again to {what}"));
                None
            }
            StoreEvent::Disconnected { reason } | StoreEvent::Refused { reason } => {
                print_error(format_args!("twitcher: not connected: {reason}; trying again"));
                None
            }
            StoreEvent::Degraded { reason } => {
                print_error(format_args!("twitcher: {reason}"));
                None
            }
            // The observation came before it.
            StoreEvent::MissedChange { .. } => None,
            // The daemon says so.
            StoreEvent::Exposed(_) => None,
        };
        let Some(line) = line else { continue };
        match print(if args.json { line.json() } else { line.text(terminal_width()) }).await {
            Ok(()) => printed += 1,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(FollowError::Stdout(error)),
        }
    }
    Ok(())
}

async fn first_connection(
    settings: &StoreSettings,
    events: &mut Receiver<StoreEvent>,
) -> Result<(), FollowError> {
    let mut failure = None;
    let connected = async {
        loop {
            match events.recv().await {
                Some(StoreEvent::Disconnected { reason } | StoreEvent::Refused { reason }) => {
                    failure = Some(reason);
                }
                Some(
                    StoreEvent::Connected { .. }
                    // Nothing of these comes before.
                    | StoreEvent::Observed { .. }
                    | StoreEvent::Unreadable { .. }
                    | StoreEvent::Exposed(_)
                    | StoreEvent::MissedChange { .. }
                    | StoreEvent::Degraded { .. },
                )
                | None => return,
            }
        }
    };
    if timeout(settings.session_timeout, connected).await.is_ok() {
        return Ok(());
    }
    let seconds = settings.session_timeout.as_secs_f64();
    let reason = failure.unwrap_or_else(|| format!("no answer within {seconds} s"));
    Err(FollowError::Unreachable { store: settings.url.clone(), reason })
}

/// On a thread of its own, because it may take for ever: until then, signals are heeded.
async fn print(line: String) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush())
    });
    written.await.map_err(io::Error::other)?
}
