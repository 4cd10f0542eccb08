//! `twitcher watch NODE`: follows one node with the daemon's code, until interrupted.

mod line;

use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::shared::exit::{Exit, print_error};
use super::shared::format::parse_format;
use super::shared::number;
use super::shared::runtime::block_on;
use super::shared::signals;
use super::shared::stdout::{PrintError, print_bytes};
use super::shared::store::NodeArgs;
use super::shared::table::terminal_width;
use crate::model::{Facet, Format, Subject};
use crate::store::{StoreChannel, StoreEvent, StoreSettings};
use crate::sys::kernel::{THREAD_CALLS, cannot};
use crate::text::{Timestamp, escaped_json};
use line::Follower;

/// Follow a node: print its present state, then a line for each change, until interrupted
#[derive(Debug, clap::Args)]
pub struct Watch {
    #[command(flatten)]
    node: NodeArgs,
    /// Follow the names of the node's children instead of its data
    #[arg(long)]
    children: bool,
    /// Print one JSON object per line, with the whole content: time, znode, event, version, size and text (or
    /// children, or the reason)
    #[arg(long)]
    json: bool,
    /// Decode the data, and print what comes of it, or why it cannot be decoded. With --json, each line has
    /// the `value`, or the `fault`
    #[arg(long, value_name = "FORMAT", value_parser = parse_format, conflicts_with = "children")]
    decode: Option<Format>,
    /// End after N lines
    #[arg(long, value_name = "N", value_parser = number::at_least(1_u64), allow_hyphen_values = true)]
    count: Option<u64>,
}

impl Watch {
    /// Prints the node's present state, and then a line for each change. Succeeds when it is interrupted,
    /// when it has printed `count` lines, and when stdout is closed. Fails if there is no connection within
    /// the session timeout; a later loss of the connection is reported on stderr, and the connection made
    /// again.
    pub fn run(self) -> Exit {
        let settings = self.node.store_settings()?;
        block_on(follow_until_interrupted(&self, &settings))??;
        Ok(ExitCode::SUCCESS)
    }
}

async fn follow_until_interrupted(args: &Watch, settings: &StoreSettings) -> Result<(), Box<dyn Error>> {
    let mut signals = signals::receive(&[SIGINT, SIGTERM])?;
    let closed = stdout_closed()?;
    let facet = if args.children { Facet::Children } else { Facet::Data };
    let mut store = settings.open();
    store.follow(Subject { path: args.node.node.clone(), facet });
    let followed = tokio::select! {
        followed = follow(args, settings, &mut store) => followed,
        _ = signals.recv() => Ok(()),
        _ = closed => Ok(()),
    };
    store.close().await;
    followed
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

async fn follow(
    args: &Watch,
    settings: &StoreSettings,
    store: &mut StoreChannel,
) -> Result<(), Box<dyn Error>> {
    first_connection(settings, store).await?;
    let mut follower = Follower::new(args.decode);
    let mut printed = 0;
    while args.count.is_none_or(|count| printed < count) {
        let Some(event) = store.next().await else { break };
        let now = Timestamp(SystemTime::now());
        let line = match &event {
            StoreEvent::Observed { subject, state } => follower.observed(subject, state, now),
            StoreEvent::Unreadable { subject, reason } => Some(follower.unreadable(subject, reason, now)),
            StoreEvent::Connected { what, identity: _ } => {
                print_error(format_args!("twitcher: connected again to {what}"));
                None
            }
            StoreEvent::Disconnected { reason } | StoreEvent::Refused { reason } => {
                print_error(format_args!("twitcher: not connected: {reason}; trying again"));
                None
            }
            StoreEvent::Degraded { reason } | StoreEvent::RootMissing { reason } => {
                print_error(format_args!("twitcher: {reason}"));
                None
            }
            // The observation came before this event.
            StoreEvent::MissedChange { .. } => None,
            // Only the daemon reports this.
            StoreEvent::Exposed(_) | StoreEvent::HalfStarted(_) | StoreEvent::HalfEnded => None,
            // The node that is watched tells more.
            StoreEvent::RootFound => None,
        };
        let Some(line) = line else { continue };
        print(if args.json { escaped_json(&line.json()) } else { line.text(terminal_width()) }).await?;
        printed += 1;
    }
    Ok(())
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
async fn print(line: String) -> Result<(), PrintError> {
    let written = tokio::task::spawn_blocking(move || print_bytes((line + "\n").as_bytes()));
    written.await.map_err(io::Error::other)?
}
