//! Follows what runs print. The daemon keeps the last 64 KiB of each, and this asks for what is new: a slow
//! terminal holds up nobody, and is told how much it missed.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;

use crate::cli::shared::exit::{Exit, print_error};
use crate::cli::shared::stdout::print_foreign;
use crate::control::client::{self, ControlError};
use crate::control::status::WatchStatus;
use crate::ledger::RunRecord;

/// How often the daemon is asked. People read no faster, and a request takes far less than a millisecond of
/// the daemon's time.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line without an end is shown on a terminal when it has this many bytes.
const MAX_LINE_BYTES: usize = 64 << 10;

pub async fn follow(socket: &Path, named: &str) -> Exit {
    match follow_run(socket, named).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref() {
            // It may be a watch.
            Some(ControlError::Refused(_)) => match look_up(socket, named).await? {
                Some(watch) => follow_watch(socket, watch).await,
                None => Err(error),
            },
            Some(_) | None => Err(error),
        },
    }
}

/// Shows what a run prints until it ends.
async fn follow_run(socket: &Path, run: &str) -> Result<(), Box<dyn Error>> {
    let mut screen = Screen::default();
    let (mut run, mut shown) = (run.to_owned(), 0);
    loop {
        let found = client::output_since(socket, &run, shown).await?;
        if found.piece.from > shown {
            screen.end()?;
            print_error(format_args!("twitcher: {} bytes not shown", found.piece.from - shown));
        }
        shown = found.piece.from + found.piece.bytes.len() as u64;
        screen.show(&found.piece.bytes)?;
        if !found.is_running {
            screen.end()?;
            return Ok(());
        }
        run = found.run;
        if found.piece.bytes.is_empty() {
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Returns the watch of this name, if there is one.
async fn look_up(socket: &Path, named: &str) -> Result<Option<WatchStatus>, ControlError> {
    match client::ask(socket, Method::GET, "watches", &[("watch", named)]).await {
        Ok(reply) => Ok(client::lines(socket, &reply)?.into_iter().next()),
        Err(ControlError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Shows what the running actions of a watch print, then what its next ones print.
async fn follow_watch(socket: &Path, watch: WatchStatus) -> Exit {
    let name = watch.watch;
    // The newest run that is not to be shown.
    let mut last = newest_ended(socket, &name).await?;
    loop {
        let runs = runs_after(socket, &name, last.as_deref()).await?;
        if runs.is_empty() {
            tokio::time::sleep(INTERVAL).await;
        }
        for run in runs {
            print_error(format_args!("==> {name}: run {}, {} <==", run.run, run.event));
            match follow_run(socket, &run.run).await {
                Ok(()) => {}
                Err(error) if error.downcast_ref().is_some_and(is_refused) => {
                    print_error(format_args!("twitcher: {error}"));
                    wait_for_end(socket, &name, &run.run).await?;
                }
                Err(error) => return Err(error),
            }
            last = Some(run.run);
        }
    }
}

fn is_refused(error: &ControlError) -> bool {
    matches!(error, ControlError::Refused(_))
}

/// Waits for the end of a run whose output cannot be had.
async fn wait_for_end(socket: &Path, watch: &str, run: &str) -> Result<(), ControlError> {
    let is_live = |watch: WatchStatus| watch.runs.iter().any(|live| live.run == run);
    while look_up(socket, watch).await?.is_some_and(is_live) {
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

async fn newest_ended(socket: &Path, watch: &str) -> Result<Option<String>, ControlError> {
    let runs = history(socket, watch, 100).await?;
    // Runs that began before the oldest live one are old.
    let oldest_live = runs.iter().rposition(|run| run.outcome == "running");
    let before = oldest_live.map_or(0, |at| at + 1);
    Ok(runs.into_iter().nth(before).map(|run| run.run))
}

/// Returns the runs that began after `last`, oldest first.
async fn runs_after(socket: &Path, watch: &str, last: Option<&str>) -> Result<Vec<RunRecord>, ControlError> {
    let newest = history(socket, watch, 1).await?;
    if newest.first().map(|run| run.run.as_str()) == last {
        return Ok(Vec::new());
    }
    let runs = history(socket, watch, 100).await?;
    let mut new: Vec<_> = runs.into_iter().take_while(|run| Some(run.run.as_str()) != last).collect();
    new.reverse();
    Ok(new)
}

async fn history(socket: &Path, watch: &str, limit: usize) -> Result<Vec<RunRecord>, ControlError> {
    let query = [("watch", watch), ("limit", &limit.to_string())];
    match client::ask(socket, Method::GET, "history", &query).await {
        Ok(reply) => client::lines(socket, &reply),
        Err(error) => Err(error),
    }
}

/// Shows output as it comes. A terminal gets whole lines, because each is escaped.
#[derive(Default)]
struct Screen {
    partial: Vec<u8>,
}

impl Screen {
    fn show(&mut self, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        if !io::stdout().is_terminal() {
            return Ok(print_foreign(bytes)?);
        }
        self.partial.extend_from_slice(bytes);
        let end = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if self.partial.len() - end > MAX_LINE_BYTES { self.partial.len() } else { end };
        let lines: Vec<u8> = self.partial.drain(..end).collect();
        if !lines.is_empty() {
            print_foreign(&lines)?;
        }
        Ok(())
    }

    /// Shows the line that has no end.
    fn end(&mut self) -> Result<(), Box<dyn Error>> {
        match std::mem::take(&mut self.partial) {
            rest if rest.is_empty() => Ok(()),
            rest => Ok(print_foreign(&rest)?),
        }
    }
}
