//! The texts of reports in the log.

use std::fmt;
use std::time::Duration;

use super::event::{NodeRef, PreviousRun, ReloadCause, Report, RunName, RunReport};
use super::held::{HeldSummary, remedy};
use super::pause::pause_terms;
use super::service::service_report;
use super::version::ReadableVersion;
use crate::action::output::{Printed, Stream};
use crate::action::run::ExitStatus;
use crate::ledger::LedgerEvent;
use crate::model::{Facet, StoreName, Subject, Version, WatchCommand};
use crate::store::Exposure;
use crate::text::{Timestamp, count, printable, quoted, shortened};
use crate::watch::{Event, Reason, RunId};

/// How many runs a line names, as many as fit some lines of a terminal.
const MAX_NAMED_RUNS: usize = 5;

/// How many characters of a commit's author and comment a line has. The fields of the line have more.
const MAX_COMMIT: usize = 200;

/// The number of a deletion.
const DELETION: i64 = Version::DELETION.number;

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Starting { version, store, config } => {
                write!(f, "twitcher {version} starts: store {store}, configs in {config}")
            }
            Report::Serving { control: None, metrics: None } => f.write_str(
                "no control socket: this user has no XDG_RUNTIME_DIR; name a path with --control-socket",
            ),
            Report::Serving { control, metrics } => {
                let control = control.map(|path| format!("control socket {}", path.display()));
                let metrics = metrics.map(|address| format!("metrics on http://{address}/metrics"));
                let served: Vec<_> = control.into_iter().chain(metrics).collect();
                write!(f, "serving {}", served.join(", "))
            }
            Report::Ready { watches } => write!(f, "configs loaded: {}", count(*watches as u64, "watch")),
            Report::Welcome { text } => f.write_str(text),
            Report::Stopping { signal, running, timeout, drain } => {
                stopping(f, signal, running, *timeout)?;
                if drain.is_zero() {
                    return Ok(());
                }
                let seconds = drain.as_secs_f64();
                write!(f, "; members are withdrawn, and their clients have {seconds} s to see it")
            }
            Report::Stopped => f.write_str("stopped"),
            Report::Problem { what } | Report::Advice { what } => f.write_str(what),
            Report::Degraded { part, what } => write!(f, "{part}: {what}"),
            Report::Recovered { part, how, downtime } => {
                write!(f, "{part}: {how}, after {}", readable(*downtime))
            }
            Report::PlacesTaken { limit, waiting } => write!(
                f,
                "{} running, which is max_actions: {} until one ends; \
                 `twitcher status` shows which; see max_actions in twitcher.toml(5)",
                count(*limit as u64, "action"),
                match waiting {
                    1 => "1 watch waits".to_owned(),
                    waiting => format!("{waiting} watches wait"),
                }
            ),
            Report::PlacesFree => f.write_str("no watch waits for max_actions any more"),
            Report::StoreHalfStarted { store, pid, confinement, restarts } => {
                write!(f, "{}: served by process {pid} {confinement}", Store(*store))?;
                match restarts {
                    0 => Ok(()),
                    restarts => write!(f, ", after {}", count(*restarts, "other")),
                }
            }
            Report::StoreConnected { store, what, downtime } => {
                write!(f, "{}: connected to {what}", Store(*store))?;
                let Some(downtime) = downtime else { return Ok(()) };
                write!(f, "; it was away for {}", readable(*downtime))
            }
            Report::StoreDisconnected { store, reason } | Report::StoreRefused { store, reason } => {
                write!(f, "{}: not connected: {reason}; watches are kept, trying again", Store(*store))
            }
            Report::StoreExposed { store, what } => write!(f, "{}: {what}", Store(*store)),
            Report::StoreDegraded { store: None, reason } => f.write_str(reason),
            Report::StoreDegraded { store, reason } => write!(f, "{}: {reason}", Store(*store)),
            Report::NodeObserved { node } => write!(f, "{node}: observed"),
            Report::NodeUnreadable { node, watches, reason } => {
                write!(f, "{node}: cannot be read: {reason}; trying again; watches:")?;
                watches.iter().try_for_each(|watch| write!(f, " {watch}"))
            }
            Report::NodeReadable { node } => write!(f, "{node}: can be read again"),
            Report::NodeChangeMissed { node, total } => {
                write!(f, "{node}: a resync found a change that no watch had announced ({total} so far)")
            }
            Report::ConfigReload { cause } => {
                match cause {
                    ReloadCause::Signal(signal) => f.write_str(signal),
                    ReloadCause::Operator(None) => f.write_str("an operator"),
                    ReloadCause::Operator(Some(by)) => write!(f, "an operator ({by})"),
                }?;
                f.write_str(": reading the configs again")
            }
            Report::ConfigLoaded { file, added, changed, removed } => {
                write!(f, "{file}: loaded, {added} added, {changed} changed, {removed} removed")
            }
            Report::ConfigRemoved { file, watches } => {
                write!(f, "{file}: removed, with its {}", count(*watches as u64, "watch"))
            }
            Report::ConfigFailed { file: _, error, keeps_watches, is_partial } => {
                let rest = match (is_partial, keeps_watches) {
                    (false, false) => "not loaded",
                    (false, true) => "not loaded: its last good watches stay",
                    (true, false) => "the other watches of the file are loaded",
                    (true, true) => {
                        "the other watches of the file are loaded, and of these the last good stay"
                    }
                };
                write!(f, "{error}\n  {rest}")
            }
            Report::ConfigWarning { file: _, warning } => f.write_str(warning),
            Report::WatchAdded { watch, node } => write!(f, "{watch}: watches {node}"),
            Report::WatchChanged { watch, node } => write!(f, "{watch}: changed, watches {node}"),
            Report::WatchRemoved { watch } => write!(f, "{watch}: removed"),
            Report::Run { run, what } => {
                write!(f, "{run}: {what}")?;
                let is_started = matches!(what, RunReport::Started { .. });
                match run.cause.and_then(|cause| cause.commit.as_ref()).filter(|_| is_started) {
                    Some(commit) => write!(f, ", {}", shortened(&commit.to_string(), MAX_COMMIT)),
                    None => Ok(()),
                }
            }
            Report::PreviousRun { watch, what } => match what {
                PreviousRun::StillRunning { run, id, pid } => {
                    write!(f, "{watch} run {run}: pid {pid} still runs as {id} of an earlier daemon")
                }
                PreviousRun::Ended(id) => {
                    write!(
                        f,
                        "{watch}: run {id} was interrupted by the end of its daemon; it runs again, with \
                         what its node has now, once its watch is loaded"
                    )
                }
                PreviousRun::Unwatchable(id, error) => {
                    write!(
                        f,
                        "{watch}: run {id} of an earlier daemon may still run, and this one cannot learn \
                         when it ends: {error}"
                    )
                }
            },
            Report::Ledger { event: LedgerEvent::Quarantined { path, reason } } => {
                write!(
                    f,
                    "ledger: {reason}; started a new one, so some actions may run again, also those of \
                     watches that were paused, stopped or held"
                )?;
                path.as_ref().map_or(Ok(()), |path| write!(f, "; the old one is now {path}"))
            }
            Report::Ledger { event: LedgerEvent::Lost { reason } } => {
                write!(f, "ledger: {reason}; going on without it: after a restart some actions may run again")
            }
            Report::Ledger { event: LedgerEvent::Back } => f.write_str("ledger: can be written again"),
            Report::Ledger { event: LedgerEvent::Oversized { reason } } => write!(f, "ledger: {reason}"),
            Report::Ledger { event: LedgerEvent::Shrunk } => {
                f.write_str("ledger: its log is small again; the output of actions is recorded")
            }
            Report::Deleted { watch, node } => write!(
                f,
                "{watch}: {node} was deleted, and the action keeps what it was given last; `run_on_delete: \
                 true` in the config makes a deletion run it"
            ),
            Report::Discarded { watch, version: DELETION, facet: _ } => {
                write!(f, "{watch}: deletion ignored, the action is running (DISCARD)")
            }
            Report::Discarded { watch, version, facet } => {
                let version = ReadableVersion(*version, *facet);
                write!(f, "{watch}: version {version} ignored, the action is running (DISCARD)")
            }
            Report::Held { watch, node, version, hold_reason, warn: _ } => {
                let held = HeldSummary { version: *version, hold_reason, facet: node.subject.facet };
                write!(f, "{watch}: held: {node}, {held}; not run until the node changes")?;
                match remedy(&watch.to_string(), hold_reason) {
                    Some(remedy) => write!(f, "; {remedy}"),
                    None => Ok(()),
                }
            }
            Report::GaveUp { watch, failures, stopped } => {
                let next = if *stopped {
                    "stopped (on_failure: STOP): nothing runs until `twitcher trigger` or a change of its \
                     definition"
                } else {
                    "waiting for the next update"
                };
                write!(f, "{watch}: failed {} in a row, {next}", count((*failures).into(), "time"))
            }
            Report::Ordered { watch, command, pause } => {
                let what = match command {
                    WatchCommand::Trigger { force: false } => "triggered",
                    WatchCommand::Trigger { force: true } => "triggered with --force",
                    WatchCommand::Pause => "paused",
                    WatchCommand::Resume => "resumed",
                    WatchCommand::Kill => "kill requested",
                };
                write!(f, "{watch}: {what} by an operator")?;
                if let Some(by) = &pause.by {
                    write!(f, " ({by})")?;
                }
                match command {
                    WatchCommand::Pause => pause_terms(f, pause),
                    WatchCommand::Trigger { .. } | WatchCommand::Resume | WatchCommand::Kill => Ok(()),
                }
            }
            Report::StaysPaused { watch, pause } => {
                write!(f, "{watch}: stays paused")?;
                if let Some(by) = &pause.by {
                    write!(f, ", by {by}")?;
                }
                if let Some(since) = pause.since {
                    write!(f, " at {}", Timestamp(since).to_the_second())?;
                }
                pause_terms(f, pause)?;
                match pause.until {
                    Some(_) => f.write_str("; nothing runs until then, or until `twitcher resume`"),
                    None => f.write_str("; nothing runs until `twitcher resume`"),
                }
            }
            Report::PauseOver { watch } => write!(f, "{watch}: resumed: the time of its pause is over"),
            Report::StaysStopped { watch } => write!(
                f,
                "{watch}: failed before the restart and stays stopped (on_failure: STOP): nothing runs until \
                 `twitcher trigger` or a change of its definition"
            ),
            Report::Service { service, member, what } => service_report(f, service, member, what),
            Report::MembersConnected { store, what } => {
                write!(f, "{}: members are held by {what}", Store(*store))
            }
            Report::MembersDisconnected { store, reason } => {
                write!(f, "{}: members cannot be announced: {reason}; trying again", Store(*store))
            }
            Report::Superseded { watch, total, warn: _ } => {
                write!(
                    f,
                    "{watch}: too many updates or bytes wait: the newest update replaced the one before, \
                     which never runs ({total} so far)"
                )
            }
        }
    }
}

/// Returns a time as people read it: `43 ms`, `6.8 s`.
pub(super) fn readable(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// Says what a daemon that stops waits for, for how long, and how to end that.
fn stopping(f: &mut fmt::Formatter<'_>, signal: &str, running: &[String], timeout: Duration) -> fmt::Result {
    write!(f, "{signal}: stopping; {} still running", count(running.len() as u64, "action"))?;
    let (named, others) = running.split_at(running.len().min(MAX_NAMED_RUNS));
    let others = match others.len() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let seconds = timeout.as_secs_f64();
    let named = named.join(", ");
    match () {
        () if running.is_empty() => Ok(()),
        () if timeout.is_zero() => {
            write!(f, ": {named}{others}; no more waiting: SIGTERM now, SIGKILL 5 s later")
        }
        () => write!(
            f,
            ": {named}{others}; waiting {seconds} s for them to end, then they get SIGTERM; a second Ctrl-C \
             or SIGTERM ends the wait now"
        ),
    }
}

impl fmt::Display for RunReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunReport::Started { event: event @ Event::Deleted, node, version: _, pid, latency: _ } => {
                write!(f, "started, pid {pid}, {node} {}", event.as_str())
            }
            RunReport::Started { event, node, version, pid, latency: _ } => {
                let version = ReadableVersion(*version, node.subject.facet);
                write!(f, "started, pid {pid}, {node} {}, version {version}", event.as_str())
            }
            RunReport::NotStarted { command, error } => {
                write!(f, "cannot start {}: {error}", printable(command.as_bytes()))
            }
            RunReport::Printed(Printed::Line(Stream::Stdout, line)) => write!(f, "stdout: {line}"),
            RunReport::Printed(Printed::Line(Stream::Stderr, line)) => write!(f, "stderr: {line}"),
            RunReport::Printed(Printed::Suppressed(lines)) => {
                write!(f, "{} of output not logged: too many at once", count(*lines, "line"))
            }
            RunReport::Notified { signal } => write!(f, "sent {}: the node changed", SignalName(*signal)),
            RunReport::Terminated { reason: Reason::Timeout } => f.write_str("timed out, sent SIGTERM"),
            RunReport::Terminated { reason: Reason::Stop } => f.write_str("sent SIGTERM: the daemon stops"),
            RunReport::Terminated { reason: Reason::Kill } => {
                f.write_str("sent SIGTERM: an operator requested it")
            }
            RunReport::Killed => f.write_str("did not end, sent SIGKILL"),
            RunReport::Unkillable { pid, after, why } => {
                let after = after.as_secs_f64();
                write!(
                    f,
                    "process {pid} still exists {after:.0} s after SIGKILL: {why}; its watch waits for it"
                )
            }
            RunReport::Ended { outcome, ended_by, took, is_ordered: _, runs_again } => {
                match outcome {
                    ExitStatus::Exited(0) => f.write_str("ended")?,
                    ExitStatus::Exited(code) => write!(f, "failed: exit code {code}")?,
                    ExitStatus::Signaled(signal) => write!(f, "failed: killed by {}", SignalName(*signal))?,
                    ExitStatus::Unknown => {
                        f.write_str("ended with an unknown result, which counts as interrupted,")?
                    }
                }
                write!(f, " after {}", readable(*took))?;
                match ended_by {
                    None => {}
                    Some(Reason::Timeout) => f.write_str(" (timeout)")?,
                    Some(Reason::Stop) => f.write_str(" (stopped)")?,
                    Some(Reason::Kill) => f.write_str(" (killed by an operator)")?,
                }
                match (runs_again, ended_by) {
                    (false, _) => Ok(()),
                    (true, Some(Reason::Stop)) => f.write_str("; the next daemon runs it again"),
                    (true, _) => f.write_str("; it runs again"),
                }
            }
            RunReport::Unchanged => f.write_str("not started: nothing has changed since its last success"),
            RunReport::Postponed { after } => {
                write!(f, "postponed for {}: the update is not lost", readable(*after))
            }
            RunReport::Retry { failures, attempts, after } => {
                let after = readable(*after);
                write!(
                    f,
                    "trying again in {after}, unless the node changes before ({failures} of {attempts})"
                )
            }
            RunReport::Lost { error } => write!(f, "lost track of its process: {error}"),
        }
    }
}

impl fmt::Display for RunName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} run {}", self.watch, self.number)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.store.is_default() {
            write!(f, "{}:", self.store)?;
        }
        f.write_str(self.subject.path.as_str())?;
        match self.subject.facet {
            Facet::Data => Ok(()),
            Facet::Children => f.write_str(" (children)"),
            Facet::Tree => f.write_str(" (tree)"),
            Facet::Members => f.write_str(" (members)"),
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exposure::Plaintext { server, with_credentials } => {
                let passwords = if *with_credentials { ", and read our credentials" } else { "" };
                write!(
                    f,
                    "the connection to {server} is not encrypted: anyone on the network between can read \
                     and change what actions get{passwords}; use the server's TLS port with [tls] in \
                     twitcher.toml"
                )
            }
            Exposure::Writable(Subject { path, facet }) => {
                let (what, rights) = match facet {
                    Facet::Data => ("anyone may write to it", "w"),
                    Facet::Children | Facet::Tree | Facet::Members => {
                        ("anyone may create or delete its children", "c and d")
                    }
                };
                let quoted = quoted(path.as_str());
                write!(
                    f,
                    "node {path}: {what}, and so decide when its actions run and with what data; remove \
                     {rights} from world:anyone in its ACL: `twitcher set {quoted} --acl read` leaves \
                     these rights to the credentials of `auth` or `sasl` in twitcher.toml alone"
                )
            }
            Exposure::MoreWritable => {
                f.write_str("there are more nodes that anyone may change, which are not listed")
            }
        }
    }
}

/// Displays `store`, or `store eu` if several are configured.
struct Store<'a>(Option<&'a StoreName>);

impl fmt::Display for Store<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("store")?;
        self.0.map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// Displays `SIGHUP`, or `signal 34` if the signal has no name.
pub(crate) struct SignalName(pub(crate) i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}
