//! What operators command and ask for: their commands carried out, and the answers in words.

use std::time::SystemTime;

use super::effects::Performer;
use super::live_run::Stage;
use super::persist::Persist;
use super::runs::Runs;
use super::services::perform::ServicePerformer;
use super::services::{ServiceId, Services};
use super::status::held_summary;
use super::watches::Watches;
use crate::action::output::Piece;
use crate::control::{CommandResult, Order, OutputPiece, RUNS_PER_PAGE, RequestError, name};
use crate::ledger::{MemberFilter, MemberRecord, RunFilter, RunRecord};
use crate::model::{Pause, Subject, WatchCommand, WatchKey};
use crate::report::{Report, ServiceReport, force_command};
use crate::service;
use crate::text::{Timestamp, printable};
use crate::watch::{Accepted, HoldReason, Input, Refusal};

/// Carries out a command, unless the core refuses it.
pub fn command(parts: &mut Performer<'_>, order: Order) -> Result<CommandResult, RequestError> {
    let Order { command, watch: named, by, length, why } = order;
    let (id, entry) = parts.watches.find(&named)?;
    let (key, spec) = (entry.key().clone(), entry.spec());
    let unreadable = spec.and_then(|spec| parts.stores.unreadable(&spec.store, &spec.subject));
    let answer = entry.watch().answer(command, unreadable.is_some());
    let accepted = answer.map_err(|refusal| refused(&key, spec.map(|spec| &spec.subject), refusal))?;
    let place = spec.map(|spec| (spec.store.clone(), spec.subject.clone()));
    let pause = Pause { by, why, ..Pause::new(length, parts.watches.now(), SystemTime::now()) };
    let mut done = done(accepted, &pause);
    if accepted.changes_something() {
        parts.log.report(&Report::Ordered { watch: &key, command, pause: &pause });
        parts.watches.step(id, input(command, pause));
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

/// What a command is for.
pub enum Target {
    Watch,
    Service(ServiceId),
}

/// Finds out whether an operator means a watch or a service.
pub fn target(watches: &Watches, services: &Services, order: &Order) -> Result<Target, RequestError> {
    let named = &order.watch;
    let service = name::find(named, services.names()).map(|key| (key.clone(), services.id(key)));
    match (watches.find(named), service) {
        (Ok((_, entry)), Ok((key, _))) if entry.key() != &key => Err(RequestError::Ambiguous(format!(
            "{named:?} matches the watch {} and the service {key}; use the full name",
            entry.key()
        ))),
        (Ok(_), _) => Ok(Target::Watch),
        (Err(_), Ok((_, Some(id)))) => Ok(Target::Service(id)),
        (Err(_), Err(error @ RequestError::Ambiguous(_))) => Err(error),
        (Err(error), Err(_) | Ok((_, None))) => Err(error),
    }
}

/// Carries out a command to a service, which takes only two.
pub fn service_command(
    parts: &mut ServicePerformer<'_>,
    id: ServiceId,
    order: Order,
) -> Result<CommandResult, RequestError> {
    let Order { command, watch, by, length, why } = order;
    let unknown = || RequestError::Unknown(format!("{} has just gone", printable(watch.as_bytes())));
    let entry = parts.services.get(id).ok_or_else(unknown)?;
    let (key, member) = (entry.spec().id.clone(), entry.spec().member.name.clone());
    let pause = Pause { by, why, ..Pause::new(length, parts.services.now(), SystemTime::now()) };
    let was_paused = entry.service().pause().is_some();
    let (input, mut done) = match command {
        WatchCommand::Pause => {
            let until = pause.until.map(|until| format!(" until {}", Timestamp(until).to_the_second()));
            let until = until.unwrap_or_default();
            let done = match was_paused {
                true if until.is_empty() => "was paused already; stays so until it is resumed".to_owned(),
                true => format!("was paused already; stays so{until}"),
                false => format!("paused{until}: its member is withdrawn, and the checks go on"),
            };
            (service::Input::Paused(Box::new(pause.clone())), done)
        }
        WatchCommand::Resume if !was_paused => {
            let done = "was not paused".to_owned();
            return Ok(CommandResult { watch: Some(key.to_string()), done });
        }
        WatchCommand::Resume => {
            (service::Input::Resumed, "resumed: its member is announced if its check succeeds".to_owned())
        }
        WatchCommand::Trigger { .. } | WatchCommand::Kill => {
            return Err(RequestError::Conflict(format!(
                "{key} is a service; `twitcher pause` withdraws its member, `twitcher resume` announces it"
            )));
        }
    };
    let what = ServiceReport::Ordered { command, pause: &pause };
    parts.log.report(&Report::Service { service: &key, member: &member, what });
    parts.services.step(id, input);
    parts.perform_all();
    // Before the operator is told that it is so, it has to outlive the daemon.
    parts.save_one(id);
    parts.persist.ledger_mut().commit();
    if parts.persist.ledger().lost_reason().is_some() {
        done += " (until a restart: the ledger cannot be written)";
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
        let any = RunFilter { watch: filter.watch.clone(), ..RunFilter::default() };
        if page(&any, None, 1)?.is_empty() {
            watches.find(named)?;
        }
    }
    Ok(found)
}

/// The next announcements and withdrawals that the ledger has, as [`history`] returns runs.
pub fn member_history(
    persist: &mut Persist,
    services: &Services,
    filter: &MemberFilter,
    before: Option<i64>,
) -> Result<Vec<(i64, MemberRecord)>, RequestError> {
    let mut page = |filter: &MemberFilter, before, count| {
        persist.ledger_mut().member_history(filter, before, count).map_err(RequestError::Unavailable)
    };
    let found = page(filter, before, RUNS_PER_PAGE)?;
    if let (true, None, Some(named)) = (found.is_empty(), before, &filter.service) {
        // Either nothing happened to it then, or there is no such service, nor was there one.
        let any = MemberFilter { service: filter.service.clone(), ..MemberFilter::default() };
        if page(&any, None, 1)?.is_empty() && name::find(named, services.names()).is_err() {
            let unknown = format!("no service is called {named:?}; `twitcher status` lists all");
            return Err(RequestError::Unknown(unknown));
        }
    }
    Ok(found)
}

/// What a run that has ended printed last. `run` is its id, or the number that the log has.
pub fn output(persist: &mut Persist, runs: &Runs, run: &str) -> Result<Vec<u8>, RequestError> {
    if let Some(live) = runs.iter().find(|live| live.matches_id(run)) {
        return Err(RequestError::Conflict(format!(
            "{} still runs; `twitcher logs -f` shows what it prints, and it is kept when the run has ended",
            live.intent.run
        )));
    }
    let output = persist.ledger_mut().output(run).map_err(RequestError::Unavailable)?;
    output.ok_or_else(|| {
        let run = printable(run.as_bytes());
        RequestError::Unknown(format!(
            "the ledger has no run {run}; `twitcher history` lists them, and `twitcher logs -f` follows a \
             watch"
        ))
    })
}

/// What a run has printed after its first `from` bytes, also while it runs.
pub fn output_since(
    persist: &mut Persist,
    runs: &Runs,
    run: &str,
    from: u64,
) -> Result<OutputPiece, RequestError> {
    if let Some(live) = runs.iter().find(|live| live.matches_id(run)) {
        let piece = match &live.stage {
            Stage::Starting { .. } => Some(Piece::default()),
            Stage::Running { handle, .. } => handle.follow_output(from),
        };
        let run = live.intent.run.clone();
        return match piece {
            Some(piece) => Ok(OutputPiece { run, piece, is_running: true }),
            None => Err(RequestError::Conflict(format!(
                "an earlier daemon started {run}, and its output ended with that daemon"
            ))),
        };
    }
    let ended = |piece| OutputPiece { run: run.to_owned(), piece, is_running: false };
    match persist.followed.since(run, from) {
        Some(piece) => Ok(ended(piece)),
        None => {
            let piece = Piece { from: 0, bytes: output(persist, runs, run)? };
            Ok(ended(piece.since(from)))
        }
    }
}

pub fn stopping() -> RequestError {
    RequestError::Unavailable("the daemon is stopping".into())
}

fn input(command: WatchCommand, pause: Pause) -> Input {
    match command {
        WatchCommand::Trigger { force } => Input::Triggered { force },
        WatchCommand::Pause => Input::Paused(Box::new(pause)),
        WatchCommand::Resume => Input::Resumed,
        WatchCommand::Kill => Input::Killed,
    }
}

/// What comes of a command, in the operator's words. `pause` is the pause that was asked for.
fn done(accepted: Accepted, pause: &Pause) -> String {
    let until = pause.until.map(|until| format!(" until {}", Timestamp(until).to_the_second()));
    let until = until.unwrap_or_default();
    let done = match accepted {
        Accepted::RunsOnceReadable => "runs as soon as its node can be read",
        Accepted::RunsNext => "runs again when the running action has ended",
        Accepted::RunsHeld => "runs with what was held",
        Accepted::RunsPresent => "runs with what its node has now",
        Accepted::RunsOnceDecoded => "runs with what its node has now, if that can be decoded",
        Accepted::RunsDeleted => "runs for the deletion of its node",
        Accepted::Paused => {
            return format!("paused{until}: it goes on observing, and nothing is started");
        }
        Accepted::PausedAnew if until.is_empty() => "was paused already; stays so until it is resumed",
        Accepted::PausedAnew => return format!("was paused already; stays so{until}"),
        Accepted::Resumed { waiting: true } => "resumed: what came meanwhile runs now",
        Accepted::Resumed { waiting: false } => "resumed",
        Accepted::NotPaused => "was not paused",
        Accepted::Killed => "sent SIGTERM, and SIGKILL in 5 s to what is left then",
    };
    done.to_owned()
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
            let command = force_command(&key.to_string());
            let remedy = match held.hold_reason {
                HoldReason::Faulty(_) => "no trigger runs it; the node's next good content will".to_owned(),
                HoldReason::Undecided(_) => format!("`{command}` has it decoded again"),
                HoldReason::TooMuch { .. }
                | HoldReason::Empty
                | HoldReason::Shrunk { .. }
                | HoldReason::HeldBefore => format!("`{command}` runs it all the same"),
            };
            let held = subject.map(|subject| held_summary(&held, subject)).unwrap_or_default();
            format!("{key}: {held}, and is held; {remedy}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::fixtures::{key, subject, version};
    use crate::watch::{Event, Held};

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
