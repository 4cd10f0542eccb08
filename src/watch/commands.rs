//! Answers and obeys the commands of operators to a watch.
//!
//! [`Watch::answer`] predicts the effect of a command, and changes nothing. [`Watch::step`] obeys a command
//! unless the answer is a [`Refusal`], so the two cannot disagree.

use super::state::Life;
use super::{Effect, Event, Held, Input, Reason, Seen, Time, Watch};
use crate::model::{RunMode, WatchCommand};

/// The reason why a watch refuses a command. A refused command changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The daemon stops.
    Stopping,
    /// The action does not run, so there is nothing to kill.
    NothingRuns,
    /// No loaded config file registers the watch, but its action still runs.
    NotRegistered,
    /// The watch is paused and starts nothing.
    Paused,
    /// The node does not exist, so there is nothing to run with.
    NoNode,
    /// A guard holds the node's content, and the trigger was not forced.
    Held(Held),
}

/// The effect of a command that a watch accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The action runs as soon as the node can be read.
    RunsOnceReadable,
    /// The action runs again when the running one has ended.
    RunsNext,
    /// The action runs with the content that a guard held.
    RunsHeld,
    /// The action runs with the node's present content.
    RunsPresent,
    /// The action runs for the deletion of the node.
    RunsDeleted,
    Paused,
    /// The watch was already paused, so nothing changes.
    AlreadyPaused,
    /// `waiting` is true if updates waited during the pause; they run now.
    Resumed {
        waiting: bool,
    },
    /// The watch was not paused, so nothing changes.
    NotPaused,
    /// Every run of the watch is told to end, as a timeout does.
    Killed,
}

impl Accepted {
    /// Whether the command changes anything.
    pub fn changes_something(self) -> bool {
        match self {
            Accepted::AlreadyPaused | Accepted::NotPaused => false,
            Accepted::RunsOnceReadable
            | Accepted::RunsNext
            | Accepted::RunsHeld
            | Accepted::RunsPresent
            | Accepted::RunsDeleted
            | Accepted::Paused
            | Accepted::Resumed { .. }
            | Accepted::Killed => true,
        }
    }
}

impl From<WatchCommand> for Input {
    fn from(command: WatchCommand) -> Self {
        match command {
            WatchCommand::Trigger { force } => Input::Triggered { force },
            WatchCommand::Pause => Input::Paused,
            WatchCommand::Resume => Input::Resumed,
            WatchCommand::Kill => Input::Killed,
        }
    }
}

impl Watch {
    /// Returns what `command` would do now. The caller asks the store whether the node is `unreadable` at the
    /// moment.
    pub fn answer(&self, command: WatchCommand, unreadable: bool) -> Result<Accepted, Refusal> {
        if let Some(refusal) = self.refusal(command) {
            return Err(refusal);
        }
        let busy = !self.runs.is_empty() && self.policy.run_mode != RunMode::Parallel;
        Ok(match command {
            WatchCommand::Trigger { .. } if unreadable || self.seen.is_none() => Accepted::RunsOnceReadable,
            WatchCommand::Trigger { .. } if busy => Accepted::RunsNext,
            WatchCommand::Trigger { .. } if self.held.is_some() => Accepted::RunsHeld,
            WatchCommand::Trigger { .. } if self.seen == Some(Seen::Absent) => Accepted::RunsDeleted,
            WatchCommand::Trigger { .. } => Accepted::RunsPresent,
            WatchCommand::Pause if self.paused => Accepted::AlreadyPaused,
            WatchCommand::Pause => Accepted::Paused,
            WatchCommand::Resume if !self.paused => Accepted::NotPaused,
            WatchCommand::Resume => Accepted::Resumed { waiting: !self.waiting.is_empty() },
            WatchCommand::Kill => Accepted::Killed,
        })
    }

    fn refusal(&self, command: WatchCommand) -> Option<Refusal> {
        match (command, self.life) {
            (_, Life::Stopping) => Some(Refusal::Stopping),
            (WatchCommand::Kill, Life::Active | Life::Retired) => {
                self.runs.is_empty().then_some(Refusal::NothingRuns)
            }
            (_, Life::Retired) => Some(Refusal::NotRegistered),
            (WatchCommand::Pause | WatchCommand::Resume, Life::Active) => None,
            (WatchCommand::Trigger { .. }, Life::Active) if self.paused => Some(Refusal::Paused),
            (WatchCommand::Trigger { .. }, Life::Active)
                if self.seen == Some(Seen::Absent) && !self.policy.run_on_delete =>
            {
                Some(Refusal::NoNode)
            }
            (WatchCommand::Trigger { force: true }, Life::Active) => None,
            (WatchCommand::Trigger { force: false }, Life::Active) => self.held().copied().map(Refusal::Held),
        }
    }

    pub(super) fn obey(&mut self, command: WatchCommand, now: Time, effects: &mut Vec<Effect>) {
        if self.refusal(command).is_some() {
            return;
        }
        match command {
            WatchCommand::Trigger { .. } => {
                self.stopped = false;
                self.forced = self.held().map(|held| held.version);
                self.due_event = Some(Event::Trigger);
            }
            WatchCommand::Pause => self.paused = true,
            WatchCommand::Resume => {
                // The running action was not notified of updates that arrived during the pause.
                if std::mem::take(&mut self.paused) && !self.waiting.is_empty() {
                    self.notify(effects);
                }
            }
            WatchCommand::Kill => self.end_all_by(now, Reason::Kill),
        }
    }
}
