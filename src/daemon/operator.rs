//! What operators command and ask for: their commands carried out, and the answers in words.

use super::effects::Performer;
use super::persist::Persist;
use super::runs::Runs;
use super::status::held_summary;
use super::watches::Watches;
use crate::control::{CommandResult, RUNS_PER_PAGE, RequestError};
use crate::ledger::{RunFilter, RunRecord};
use crate::model::{Subject, WatchCommand, WatchKey};
use crate::report::{Report, force_command};
use crate::text::printable;
use crate::watch::{Accepted, Refusal};

/// Carries out a command about the watch that the operator means by `named`, unless the core refuses it.
pub fn command(
    parts: &mut Performer<'_>,
    command: WatchCommand,
    named: &str,
) -> Result<CommandResult, RequestError> {
    let (id, entry) = parts.watches.find(named)?;
    let (key, spec) = (entry.key().clone(), entry.spec());
    let unreadable = spec.and_then(|spec| parts.stores.unreadable(&spec.store, &spec.subject));
    let answer = entry.watch().answer(command, unreadable.is_some());
    let accepted = answer.map_err(|refusal| refused(&key, spec.map(|spec| &spec.subject), refusal))?;
    let place = spec.map(|spec| (spec.store.clone(), spec.subject.clone()));
    let mut done = done(accepted).to_owned();
    if accepted.changes_something() {
        parts.log.report(&Report::Ordered { watch: &key, command });
        parts.watches.step(id, command.into());
        parts.perform_all();
        match command {
            // Before the operator is told that it is so, it has to outlive the daemon.
            WatchCommand::Pause | WatchCommand::Resume | WatchCommand::Trigger { force: true } => {
                parts.persist.save_watch(id, parts.watches, parts.stores);
                parts.persist.ledger_mut().commit();
            }
            WatchCommand::Kill | WatchCommand::Trigger { force: false } => {}
        }
        match (command, place) {
            (WatchCommand::Trigger { .. }, Some((store, subject))) => {
                parts.stores[&store].refresh(id, &subject);
            }
            (WatchCommand::Pause | WatchCommand::Resume, _)
                if parts.persist.ledger().lost_reason().is_some() =>
            {
                done += " (until a restart: the ledger cannot be written)";
            }
            (WatchCommand::Trigger { .. }, None)
            | (WatchCommand::Pause | WatchCommand::Resume | WatchCommand::Kill, _) => {}
        }
    }
    Ok(CommandResult { watch: Some(key.to_string()), done })
}

/// The next runs that the ledger has, newest first, before the one with the number `before`.
pub fn history(
    persist: &mut Persist,
    watches: &Watches,
    filter: &RunFilter,
    before: Option<i64>,
) -> Result<Vec<(i64, RunRecord)>, RequestError> {
    let mut page = |filter: &RunFilter, before, count| {
        persist.ledger_mut().history(filter, before, count).map_err(RequestError::Unavailable)
    };
    let found = page(filter, before, RUNS_PER_PAGE)?;
    if let (true, None, Some(named)) = (found.is_empty(), before, &filter.watch) {
        // Either the watch has no such run, or there is no such watch, nor was there one.
        let any = RunFilter { failed: false, ..filter.clone() };
        if page(&any, None, 1)?.is_empty() {
            watches.find(named)?;
        }
    }
    Ok(found)
}

/// What a run that has ended printed last. `run` is its id, or the number that the log has.
pub fn output(persist: &mut Persist, runs: &Runs, run: &str) -> Result<Vec<u8>, RequestError> {
    if let Some(live) = runs.iter().find(|live| live.matches_id(run)) {
        return Err(RequestError::Conflict(format!(
            "{} still runs; what it prints is in the log, and kept when it has ended",
            live.intent.run
        )));
    }
    let output = persist.ledger_mut().output(run).map_err(RequestError::Unavailable)?;
    output.ok_or_else(|| {
        let run = printable(run.as_bytes());
        RequestError::Unknown(format!("the ledger has no run {run}; `twitcher history` lists them"))
    })
}

pub fn stopping() -> RequestError {
    RequestError::Unavailable("the daemon is stopping".into())
}

/// What comes of a command, in the operator's words.
fn done(accepted: Accepted) -> &'static str {
    match accepted {
        Accepted::RunsOnceReadable => "runs as soon as its node can be read",
        Accepted::RunsNext => "runs again when the running action has ended",
        Accepted::RunsHeld => "runs with what was held",
        Accepted::RunsPresent => "runs with what its node has now",
        Accepted::RunsDeleted => "runs for the deletion of its node",
        Accepted::Paused => "paused: it goes on observing, and nothing is started",
        Accepted::AlreadyPaused => "was paused already",
        Accepted::Resumed { waiting: true } => "resumed: what came meanwhile runs now",
        Accepted::Resumed { waiting: false } => "resumed",
        Accepted::NotPaused => "was not paused",
        Accepted::Killed => "sent SIGTERM, and SIGKILL in 5 s to what is left then",
    }
}

/// Why a command is refused, in the operator's words, and what to do.
fn refused(key: &WatchKey, subject: Option<&Subject>, refusal: Refusal) -> RequestError {
    RequestError::Conflict(match refusal {
        Refusal::Stopping => return stopping(),
        Refusal::NothingRuns => format!("{key}: no action of it is running"),
        Refusal::NotRegistered => format!("{key}: no file registers it; `twitcher kill` can end its action"),
        Refusal::Paused => format!("{key} is paused; `twitcher resume` it first"),
        Refusal::NoNode => {
            let node = subject.map_or("", |subject| subject.path.as_str());
            format!("{key}: there is no node {node}, and so nothing to run with")
        }
        Refusal::Held(held) => {
            let held = subject.map(|subject| held_summary(&held, subject)).unwrap_or_default();
            let remedy = force_command(&key.to_string());
            format!("{key}: {held}, and is held; `{remedy}` runs it all the same")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fixtures::{key, subject, version};
    use crate::watch::{Event, Held, HoldReason};

    #[test]
    fn a_refusal_names_the_watch_and_what_to_do() {
        let held = Held { event: Event::Load, version: version(3), hold_reason: HoldReason::Empty };
        for (refusal, expected) in [
            (Refusal::NothingRuns, "a.twc:a: no action of it is running"),
            (Refusal::NotRegistered, "a.twc:a: no file registers it; `twitcher kill` can end its action"),
            (Refusal::Paused, "a.twc:a is paused; `twitcher resume` it first"),
            (Refusal::NoNode, "a.twc:a: there is no node /n, and so nothing to run with"),
            (
                Refusal::Held(held),
                "a.twc:a: version 3 has 0 bytes (not_empty), and is held; `twitcher trigger --force a.twc:a` \
                 runs it all the same",
            ),
        ] {
            let refused = refused(&key("a"), Some(&subject("/n")), refusal);
            assert_eq!(refused, RequestError::Conflict(expected.into()));
        }
        let stopping = refused(&key("a"), None, Refusal::Stopping);
        assert_eq!(stopping, RequestError::Unavailable("the daemon is stopping".into()));
    }
}
