//! The steps from the fork to an action's program, and the error of a failed step.

use std::io;

use crate::model::Resource;

/// A step that can fail in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What all actions need and what hardly fails.
    Basics,
    /// The parent makes the child.
    Fork,
    /// The parent opens what the action reads and writes.
    Files,
    /// The child notes who it is, for the next daemon.
    Identify,
    Limit(Resource),
    Nice,
    Keyring,
    Groups,
    Gid,
    Uid,
    /// The kernel reports other ids than those that were set.
    Verification,
    Cwd,
    /// Descriptors of the daemon are kept from the program.
    Descriptors,
    NoNewPrivs,
    Program,
}

impl Step {
    /// Returns all steps. The child tells its parent the position of the failed step.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let limits = Resource::ALL.into_iter().map(Self::Limit);
        let others = [
            Self::Basics,
            Self::Fork,
            Self::Files,
            Self::Identify,
            Self::Nice,
            Self::Keyring,
            Self::Groups,
            Self::Gid,
            Self::Uid,
            Self::Verification,
            Self::Cwd,
            Self::Descriptors,
            Self::NoNewPrivs,
            Self::Program,
        ];
        others.into_iter().chain(limits)
    }

    /// The step's position in [`Self::all`].
    pub(super) fn position(self) -> u8 {
        Self::all().position(|other| other == self).unwrap_or(0) as u8
    }

    /// The step at a position of [`Self::all`].
    pub(super) fn at(position: u8) -> Self {
        Self::all().nth(position.into()).unwrap_or(Self::Basics)
    }

    pub(super) fn failed(self, error: io::Error) -> SetupError {
        SetupError { step: self, error }
    }
}

/// The reason why a child could not execute its program.
#[derive(Debug)]
pub struct SetupError {
    pub step: Step,
    pub error: io::Error,
}

impl From<io::Error> for SetupError {
    fn from(error: io::Error) -> Self {
        Step::Basics.failed(error)
    }
}
