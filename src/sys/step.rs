//! The steps from the fork to an action's program, and the error of a failed step.

use std::io;

use crate::model::Resource;

/// A step that can fail in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything that all actions need.
    Basics,
    Limit(Resource),
    Nice,
    Cwd,
    NoNewPrivs,
    Program,
}

impl Step {
    /// Returns all steps. The child tells its parent the position of the failed step.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let limits = Resource::ALL.into_iter().map(Self::Limit);
        [Self::Basics, Self::Nice, Self::Cwd, Self::NoNewPrivs, Self::Program].into_iter().chain(limits)
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
