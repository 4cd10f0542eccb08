//! What a walk finds.

use crate::config::mistake::Mistake;

/// A name that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    Variable(String),
    /// With the number of arguments.
    Function(String, usize),
}

/// What looks wrong, and the name that does not exist if that is the reason.
pub struct Finding {
    pub mistake: Mistake,
    pub unknown: Option<Unknown>,
}
