//! The texts of reports on services in the log.

use std::fmt;

use super::event::ServiceReport;
use super::pause::pause_terms;
use crate::model::{Holder, MemberName, WatchCommand, WatchKey};
use crate::service::CheckResult;
use crate::text::{printable, quoted};

pub fn service_report(
    f: &mut fmt::Formatter<'_>,
    service: &WatchKey,
    member: &MemberName,
    what: &ServiceReport<'_>,
) -> fmt::Result {
    write!(f, "{service}: ")?;
    let shown = |text: &str| printable(text.as_bytes());
    match what {
        ServiceReport::Added => write!(f, "service added: {member}"),
        ServiceReport::Changed => write!(f, "service changed: {member}"),
        ServiceReport::Renamed { name } => write!(f, "service is called {name} from now on: {member}"),
        ServiceReport::Removed => write!(f, "service removed: {member}"),
        ServiceReport::Checked(CheckResult::Passed) => f.write_str("check passed"),
        ServiceReport::Checked(CheckResult::Failed) => f.write_str("check failed"),
        ServiceReport::Checked(CheckResult::NotStarted) => f.write_str("check not started"),
        ServiceReport::Turned { is_well: true, .. } => f.write_str("is well: its check succeeds"),
        ServiceReport::Turned { is_well: false, why } => {
            f.write_str("fails its check")?;
            why.map_or(Ok(()), |why| write!(f, ": {}", shown(why)))
        }
        ServiceReport::Unstartable { why } => {
            write!(f, "{}; the last verdict stays, trying again", shown(why))
        }
        ServiceReport::Startable => f.write_str("its check starts again"),
        ServiceReport::Announced => write!(f, "announced {member}"),
        ServiceReport::Withdrawn => write!(f, "withdrew {member}"),
        ServiceReport::Conflict { holder } => {
            write!(f, "cannot announce {member}: {} has it; ", shown(&holder.to_string()))?;
            match holder {
                Holder::Service(_) => f.write_str("give one of both another `address`, or remove one"),
                Holder::Owner(_) => write!(
                    f,
                    "it is announced when that one goes; `{}` shows what that one says of itself",
                    command("get", member)
                ),
                Holder::Nobody => write!(f, "`{}` removes it", command("rm", member)),
            }
        }
        ServiceReport::Refused { reason } => {
            write!(f, "cannot announce {member}: {}; trying again", shown(reason))
        }
        ServiceReport::Ordered { command, pause } => {
            let what = match command {
                WatchCommand::Pause => "paused",
                WatchCommand::Resume => "resumed",
                // A service takes no other command.
                WatchCommand::Trigger { .. } | WatchCommand::Kill => "commanded",
            };
            write!(f, "{what} by an operator")?;
            if let Some(by) = &pause.by {
                write!(f, " ({by})")?;
            }
            match command {
                WatchCommand::Pause => {
                    pause_terms(f, pause)?;
                    f.write_str("; its member is withdrawn, and the checks go on")
                }
                WatchCommand::Resume | WatchCommand::Trigger { .. } | WatchCommand::Kill => Ok(()),
            }
        }
        ServiceReport::StaysPaused { pause } => {
            f.write_str("stays paused")?;
            if let Some(by) = &pause.by {
                write!(f, ", by {by}")?;
            }
            pause_terms(f, pause)?;
            f.write_str("; its member is not announced until `twitcher resume`")
        }
        ServiceReport::PauseOver => f.write_str("resumed: the time of its pause is over"),
    }
}

/// Returns the command that does this to the member's node.
fn command(what: &str, member: &MemberName) -> String {
    let store = match member.store.is_default() {
        true => String::new(),
        false => format!("--store {} ", member.store),
    };
    format!("twitcher {what} {store}{}", quoted(member.path.as_str()))
}
