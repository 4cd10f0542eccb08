//! Answers and obeys the commands of operators to a watch.
//!
//! [`Watch::answer`] predicts the effect of a command, and changes nothing. [`Watch::step`] obeys
//! a command unless the answer is a [`Refusal`], so the two cannot disagree.

use super::state::Life;
use super::{Event, Held, HoldReason, Seen, Watch};
use crate::model::{RunMode, WatchCommand};

/// The reason why a watch refuses a command. A refused command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A guard holds the node's content, and the trigger was not forced; or the content is faulty, which no
    /// force changes.
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
    /// The action runs with the node's present content if that is decoded without a fault.
    RunsOnceDecoded,
    /// The action runs for the deletion of the node.
    RunsDeleted,
    Paused,
    /// The watch was already paused. This pause replaces the other one, with its end and its reason.
    PausedAnew,
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
            Accepted::NotPaused => false,
            Accepted::RunsOnceReadable
            | Accepted::RunsNext
            | Accepted::RunsHeld
            | Accepted::RunsPresent
            | Accepted::RunsOnceDecoded
            | Accepted::RunsDeleted
            | Accepted::Paused
            | Accepted::PausedAnew
            | Accepted::Resumed { .. }
            | Accepted::Killed => true,
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
        let is_absent = self.seen == Some(Seen::Absent);
        Ok(match command {
            WatchCommand::Trigger { .. } if unreadable || self.seen.is_none() => Accepted::RunsOnceReadable,
            WatchCommand::Trigger { .. } if self.policy.decode.is_some() && !is_absent => {
                Accepted::RunsOnceDecoded
            }
            WatchCommand::Trigger { .. } if busy => Accepted::RunsNext,
            WatchCommand::Trigger { .. } if self.held.is_some() => Accepted::RunsHeld,
            WatchCommand::Trigger { .. } if is_absent => Accepted::RunsDeleted,
            WatchCommand::Trigger { .. } => Accepted::RunsPresent,
            WatchCommand::Pause if self.is_paused() => Accepted::PausedAnew,
            WatchCommand::Pause => Accepted::Paused,
            WatchCommand::Resume if !self.is_paused() => Accepted::NotPaused,
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
            (WatchCommand::Trigger { .. }, Life::Active) if self.is_paused() => Some(Refusal::Paused),
            (WatchCommand::Trigger { .. }, Life::Active)
                if self.seen == Some(Seen::Absent) && !self.policy.run_on_delete =>
            {
                Some(Refusal::NoNode)
            }
            (WatchCommand::Trigger { force }, Life::Active) => {
                let is_faulty = |held: &&Held| matches!(held.hold_reason, HoldReason::Faulty(_));
                self.held().filter(|held| !force || is_faulty(held)).cloned().map(Refusal::Held)
            }
        }
    }

    pub(super) fn accepts(&self, command: WatchCommand) -> bool {
        self.refusal(command).is_none()
    }

    pub(super) fn trigger(&mut self) {
        self.stopped = false;
        self.forced = self.held().map(|held| Box::new(held.version));
        self.due_event = Some(Event::Trigger);
    }
}
