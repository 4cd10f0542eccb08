//! Which step failed on the way from the fork to an action's program.

use std::io;

use crate::model::Resource;

/// A step that can fail in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything that is done for all actions alike.
    Basics,
    Limit(Resource),
    Nice,
    Cwd,
    NoNewPrivs,
    Program,
}

impl Step {
    /// All steps. The child tells its parent the position of the one that failed.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let limits = Resource::ALL.into_iter().map(Self::Limit);
        [Self::Basics, Self::Nice, Self::Cwd, Self::NoNewPrivs, Self::Program].into_iter().chain(limits)
    }

    pub(super) fn failed(self, error: io::Error) -> SetupError {
        SetupError { step: self, error }
    }
}

/// Why a child could not become its program.
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
