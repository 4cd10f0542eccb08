//! How often a service is checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a service is checked, and how many results in a row turn the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pace {
    /// The time from the end of a check to the start of the next one.
    pub interval: Duration,
    /// A check that takes longer is killed and has failed.
    pub timeout: Duration,
    /// How many successes in a row announce the member. At least 1.
    pub rise: u32,
    /// How many failures in a row withdraw the member. At least 1.
    pub fall: u32,
}

impl Pace {
    /// The pace of a service that sets none of these keys.
    pub const DEFAULT: Self =
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(5), rise: 1, fall: 2 };
}
