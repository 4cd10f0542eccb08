//! The inputs of a watch, and the effects that it returns.

use std::sync::Arc;
use std::time::Duration;

use super::{Event, HoldReason, Snapshot};
use crate::model::{Content, Decoded, Origin, Pause, Policy, State, Version};

/// The time since an arbitrary origin, from a monotonic clock, so that setting the wall clock moves no
/// timeout.
pub type Time = Duration;

/// The time between the SIGTERM and the SIGKILL to a process group. The number is from the original's manual.
pub const KILL_AFTER: Duration = Duration::from_secs(5);

/// The largest number of updates that wait in PARALLEL, beyond `max_parallel` running ones (from the
/// contract).
pub const MAX_WAITING: usize = 1024;

/// The number of a run, unique as long as the daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// The number of a decoding, unique within its watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecodingId(pub u64);

/// One content for the action to run with. A deletion ([`Event::Deleted`]) has no content: it is empty data
/// then, whatever the facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub event: Event,
    pub version: Version,
    pub origin: Origin,
    pub content: Content,
    /// The content in the form in which the action gets it, if the watch has `decode`.
    pub decoded: Option<Decoded>,
}

impl Update {
    pub(super) fn deletion() -> Self {
        let content = Content::Data([].into());
        let (version, origin) = (Version::DELETION, Origin::UNKNOWN);
        Self { event: Event::Deleted, version, origin, content, decoded: None }
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    /// The store reports a state of the node. It may have reported the same state before.
    Observed(State),
    /// The answer to [`Effect::Decode`]. It may come at any time.
    Decoded {
        decoding: DecodingId,
        verdict: Verdict,
    },
    /// The answer to [`Effect::WantsStart`]: one waiting update may start now.
    MayStart,
    /// The program of a run has been executing since `executed`. The timeout counts from then: a start has
    /// its own deadline. Only a retry needs the content again.
    Started {
        run: RunId,
        executed: Time,
    },
    /// The updates that wait in all watches hold too many bytes, and this watch is to hold fewer: the newest
    /// update replaces the one before it.
    MustShed,
    /// A run is over: its process is reaped and its output read, or it could not be started.
    Ended {
        run: RunId,
        end: RunResult,
    },
    /// A file registers the watch, for the first time or after [`Input::Retired`]. `snapshot` is what is
    /// known of this node from before. `same_definition` is true if the live runs belong to this definition.
    Loaded {
        policy: Arc<Policy>,
        snapshot: Snapshot,
        same_definition: bool,
    },
    /// The definition changed. `same_subject` is false if it watches another node or facet now. The caller
    /// makes sure that an observation follows.
    Redefined {
        policy: Arc<Policy>,
        same_subject: bool,
    },
    /// The watch was removed from its file. Its runs continue.
    Retired,
    /// An operator asks for a run with the present content, also if a failure stopped the watch. Held content
    /// runs only with `force`. The caller makes sure that an observation follows.
    Triggered {
        force: bool,
    },
    /// An operator wants nothing to start, and no action to be notified, until [`Input::Resumed`] or until
    /// the pause ends by itself. Runs continue. A later pause replaces an earlier one.
    Paused(Box<Pause>),
    Resumed,
    /// An operator ends all runs, as a timeout does.
    Killed,
    /// The daemon stops. Nothing new starts, and runs have `grace` to end by themselves.
    Stopping {
        grace: Duration,
    },
    /// Time has passed.
    Tick,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// The action exited with code 0, and was not told to end.
    Succeeded,
    /// The action ended in another way, or its program cannot be started.
    Failed,
    /// The action could not be started for lack of descriptors, memory or processes.
    Starved,
    /// The daemon stopped or died first, so nobody knows what the run has done.
    Interrupted,
}

/// Why a run is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Timeout,
    /// The daemon stops.
    Stop,
    /// An operator kills the run.
    Kill,
}

/// What came of a decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Conforms(Decoded),
    /// The content does not decode, or does not conform to the schema. The text says where and why.
    Faulty(Arc<str>),
    /// Nobody knows, because what decodes it did not come to an end. The text says why.
    Undecided(Arc<str>),
}

/// Something for the daemon to do or to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An update is due. Answer with [`Input::MayStart`] when the daemon has a place for one more run. The
    /// update may be replaced until then, or not start after all.
    WantsStart,
    /// Decode this content. Answer with [`Input::Decoded`]. An earlier decoding of this watch that is not
    /// answered yet is of no use any more.
    Decode { decoding: DecodingId, content: Content },
    /// Start the action. `since` is when the run was due: its update was accepted, and the waits that the
    /// definition asks for (throttles, the delay before a retry) were over. After that time, the run waited
    /// for other runs or for resources.
    Spawn { run: RunId, update: Update, since: Time },
    /// Send `notify_signal` to the run's process group.
    Notify { run: RunId, signal: i32 },
    /// Send SIGTERM to the run's process group.
    Terminate { run: RunId, reason: Reason },
    /// Send SIGKILL to the run's process group. This comes [`KILL_AFTER`] the SIGTERM.
    Kill { run: RunId },
    /// A guard holds an update. This comes once for each state of the node and each definition.
    Held { version: Version, hold_reason: HoldReason },
    /// The node is gone, and the action keeps what it has of it (no `run_on_delete`). This comes once for
    /// each deletion that is seen.
    Deleted,
    /// DISCARD ignored an update.
    Discarded { version: Version },
    /// An update will not run: PARALLEL replaced the newest waiting one by a newer one, because too many
    /// updates or bytes wait, or an update that
    /// starved is older than one that ran. `total` counts these updates.
    Superseded { total: u64 },
    /// The run failed. Its update is tried again `after` this time, unless a newer one arrives first.
    /// `failures` counts its failures so far.
    Retry { run: RunId, failures: u32, after: Duration },
    /// The run starved. Its update, or a newer one, is tried again `after` this time.
    Postponed { run: RunId, after: Duration },
    /// The update is not tried again. If `stopped`, nothing runs until the definition changes.
    GaveUp { failures: u32, stopped: bool },
    /// The time of a pause is over, and the watch is not paused any more.
    PauseOver,
    /// A retired watch has no more runs. Remove the [`Watch`](super::Watch).
    Forget,
}
