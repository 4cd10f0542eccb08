//! What a process of a store is for.

use serde::{Deserialize, Serialize};

/// The work of a process of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Follows nodes.
    Follow,
    /// Keeps members.
    Keep(AtEnd),
}

/// What becomes of the members when who gives the orders ends without a last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtEnd {
    /// They stay as long as their owner does, so that the next one can take them over.
    Leave,
    /// They are withdrawn, because nobody else would.
    Withdraw,
}

impl Task {
    /// The subcommand of this program that does it.
    pub(super) fn subcommand(self) -> &'static str {
        match self {
            Self::Follow => "store",
            Self::Keep(_) => "keep",
        }
    }

    /// Whether the process dies at once when the one ends that has started it.
    pub(super) fn dies_with_us(self) -> bool {
        match self {
            Self::Follow | Self::Keep(AtEnd::Leave) => true,
            Self::Keep(AtEnd::Withdraw) => false,
        }
    }
}
