//! The policy of a watch: the part of its definition that decides when its action runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Format;

/// The rules for when and how often an action runs. A config sets them, and [`crate::watch`] applies them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    pub run_mode: RunMode,
    pub run_on_load: RunOnLoad,
    /// Whether the deletion of the node runs the action.
    #[serde(default)]
    pub run_on_delete: bool,
    /// The signal, 1 to 64, that tells a running action of an update. QUEUE only.
    pub notify_signal: Option<i32>,
    /// The longest time that one run may take.
    pub timeout: Option<Duration>,
    /// The largest number of runs at the same time, at least 1. PARALLEL only.
    pub max_parallel: u32,
    pub retry: Option<Retry>,
    pub on_failure: OnFailure,
    pub throttle: Throttle,
    pub guard: Guard,
    /// The format in which content must be. What is not so is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<Format>,
}

impl Policy {
    /// The policy of a watch that sets none of these keys.
    pub const DEFAULT: Self = Self {
        run_mode: RunMode::Queue,
        run_on_load: RunOnLoad::Always,
        run_on_delete: false,
        notify_signal: None,
        timeout: None,
        max_parallel: 64,
        retry: None,
        on_failure: OnFailure::Keep,
        throttle: Throttle {
            debounce: Duration::ZERO,
            debounce_max: None,
            min_interval: Duration::ZERO,
            splay: Duration::ZERO,
        },
        guard: Guard { max_data: None, not_empty: false, max_shrink: None },
        decode: None,
    };

    /// The policy of a watch that no loaded config file registers. Such a watch starts nothing.
    pub const UNLOADED: Self = Self { run_on_load: RunOnLoad::Never, max_parallel: 1, ..Self::DEFAULT };
}

/// The effect of an update while the action runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RunMode {
    /// The update waits, and a newer one replaces it.
    Queue,
    /// The update is ignored.
    Discard,
    /// The update starts another run.
    Parallel,
}

/// Whether the action runs when its watch is first loaded, or when its definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RunOnLoad {
    Never,
    Always,
    /// Only if the ledger does not show the present content as applied under this definition.
    Changed,
}

/// How a failed update is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Retry {
    /// The number of retries.
    pub attempts: u32,
    /// The delay before the first retry. It doubles for each further one.
    pub delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
}

impl Retry {
    /// The defaults of the keys of a `retry` map: six tries within two minutes, if each fails at once.
    pub const DEFAULT: Self =
        Self { attempts: 5, delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) };

    /// Returns the delay after this many failures in a row, before it is jittered.
    pub fn backoff(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.delay.saturating_mul(doubled).min(self.max_delay)
    }
}

/// The effect of a failure on a watch when no retry is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnFailure {
    /// The next update runs.
    Keep,
    /// Nothing runs until the definition changes or an operator triggers the watch.
    Stop,
}

/// Delays before the start of an update. A throttle drops no update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Throttle {
    /// The time without a further update that must pass before a start.
    pub debounce: Duration,
    /// The longest time that `debounce` delays an update; see [`Self::longest_debounce`].
    pub debounce_max: Option<Duration>,
    /// The shortest time between two starts.
    pub min_interval: Duration,
    /// Each update waits a random part of this time.
    pub splay: Duration,
}

impl Throttle {
    /// How many times `debounce` an update waits at most, unless `debounce_max` says otherwise. A node that
    /// never rests must not delay its action for ever.
    pub const DEBOUNCE_MAX_FACTOR: u32 = 10;

    /// Returns the longest time that `debounce` delays an update.
    pub fn longest_debounce(&self) -> Duration {
        self.debounce_max.unwrap_or_else(|| self.debounce.saturating_mul(Self::DEBOUNCE_MAX_FACTOR))
    }
}

/// The signs of an accident. Updates that show one are held; see [`crate::watch::HoldReason`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guard {
    /// The largest content that passes, as [`Content::bytes`](crate::model::Content::bytes) counts.
    pub max_data: Option<u64>,
    /// Whether empty content is held.
    pub not_empty: bool,
    /// How much smaller than the content of the last success an update may be.
    pub max_shrink: Option<Share>,
}

/// A share from 0 to 100 %, in millionths, so that equal texts of up to four decimals are equal shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Share(u32);

impl Share {
    const PERCENT: u32 = 10_000;
    const WHOLE: u32 = 100 * Self::PERCENT;

    /// Returns `None` unless `percent` is between 0 and 100.
    pub fn of_percent(percent: f64) -> Option<Self> {
        let millionths = (percent * f64::from(Self::PERCENT)).round();
        (0.0..=100.0).contains(&percent).then_some(Self(millionths as u32))
    }

    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(Self::PERCENT)
    }

    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Whether `part` is more than this share of `whole`.
    pub fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(Self::WHOLE) > u128::from(whole) * u128::from(self.0)
    }
}
