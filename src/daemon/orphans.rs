//! The runs that a former daemon started and did not see end, taken over before anything else can be started.

use std::time::Duration;

use super::persist::Persist;
use super::runs::Runs;
use super::watches::Watches;
use crate::action::orphan::Finder;
use crate::action::proc;
use crate::ledger::RunOutcome;
use crate::report::{PreviousRun, Report, Reporter};

/// Adopts every run that still lives, and tells the ledger which have ended.
pub fn adopt_all(
    log: &Reporter,
    watches: &mut Watches,
    runs: &mut Runs,
    persist: &mut Persist,
    is_dry_run: bool,
) {
    let mut finder = Finder::new(proc::processes);
    for former in persist.unfinished() {
        let intent = former.intent;
        // A dry run must not signal what another daemon may be about. A process of an earlier boot is gone.
        let found = match former.this_boot && !is_dry_run {
            true => {
                let trace = runs.slots_mut().trace(&intent.run);
                finder.find(&intent.run, former.process, trace)
            }
            false => Ok(None),
        };
        let (watch, id) = (&intent.watch, &intent.run);
        match found {
            Ok(Some(orphan)) => {
                // The ledger may not know its process yet.
                runs.slots_mut().keep(id);
                // A timeout counts from when the program executes. Nobody tells when an orphan does that.
                let spent = if orphan.has_executed { orphan.age } else { Duration::ZERO };
                let timeout_in = intent.timeout.map(|timeout| timeout.saturating_sub(spent));
                if let Some((watch, run)) = watches.adopt(watch, timeout_in) {
                    runs.adopt(watch, run, intent, orphan);
                }
            }
            Ok(None) => {
                log.report(&Report::PreviousRun { watch, what: PreviousRun::Ended(id) });
                persist.ledger_mut().ended(id, RunOutcome::Unknown, &[]);
            }
            Err(error) => {
                runs.slots_mut().keep(id);
                log.report(&Report::PreviousRun { watch, what: PreviousRun::Unwatchable(id, &error) });
            }
        }
    }
}
