//! The terms of a pause, in words.

use std::fmt;

use crate::model::Pause;
use crate::text::{Timestamp, printable};

/// Says when a pause ends by itself, and why there is one.
pub fn pause_terms(f: &mut fmt::Formatter<'_>, pause: &Pause) -> fmt::Result {
    if let Some(until) = pause.until {
        write!(f, " until {}", Timestamp(until).to_the_second())?;
    }
    match &pause.why {
        Some(why) => write!(f, ": {}", printable(why.as_bytes())),
        None => Ok(()),
    }
}
