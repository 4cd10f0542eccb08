//! The pure core of services: decides whether a service is well. It does no IO and reads no clock.
//!
//! * [`verdict`] judges by the results of checks.

mod verdict;

pub use verdict::{CheckResult, Health, Turn, Verdict};
