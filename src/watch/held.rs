//! Which updates a guard holds, and why.

use std::sync::Arc;

use super::Event;
use crate::model::{Content, Guard, Share, Version};

/// Why an update is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The content has more than `max_data`, which is `limit`.
    TooMuch { bytes: u64, limit: u64 },
    /// The content is empty, which `not_empty` forbids.
    Empty,
    /// The content is smaller than that of the last success by more than `max_shrink`, which is `limit`. Both
    /// sizes count as [`Content::size`] does.
    Shrunk { size: u64, applied_size: u64, limit: Share },
    /// A former daemon held the content. That daemon may have known more than this one.
    HeldBefore,
    /// The content does not decode, or does not conform to the schema. No force runs it.
    Faulty(Arc<str>),
    /// What decodes the content did not come to an end. Force has it decoded again.
    Undecided(Arc<str>),
}

/// An update that does not run: until an operator forces it, if a guard holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub event: Event,
    pub version: Version,
    pub hold_reason: HoldReason,
}

impl Guard {
    /// Returns what is suspicious about `content`, if anything. `applied_size` is the size of the content
    /// that the action last succeeded with.
    pub(super) fn hold_reason(&self, content: &Content, applied_size: Option<u64>) -> Option<HoldReason> {
        let Self { max_data, not_empty, max_shrink } = *self;
        if let Some(limit) = max_data
            && let bytes = content.bytes()
            && bytes > limit
        {
            return Some(HoldReason::TooMuch { bytes, limit });
        }
        let size = content.size();
        if not_empty && size == 0 {
            return Some(HoldReason::Empty);
        }
        let (applied_size, limit) = applied_size.zip(max_shrink)?;
        let lost = applied_size.saturating_sub(size);
        limit.is_exceeded_by(lost, applied_size).then_some(HoldReason::Shrunk { size, applied_size, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Policy;

    const FREE: Guard = Policy::DEFAULT.guard;
    const NOT_EMPTY: Guard = Guard { not_empty: true, ..FREE };

    #[test]
    fn what_is_suspicious() {
        let share = |percent| Share::of_percent(percent).unwrap();
        let shrink = |percent| Guard { max_shrink: Some(share(percent)), ..FREE };
        let limit = |bytes| Guard { max_data: Some(bytes), ..FREE };
        let shrunk = |size, applied_size, percent| {
            Some(HoldReason::Shrunk { size, applied_size, limit: share(percent) })
        };
        let too_much = |bytes, limit| Some(HoldReason::TooMuch { bytes, limit });
        for (guard, size, applied_size, expected) in [
            (FREE, 0, Some(1000), None),
            (limit(0), 0, None, None),
            (limit(0), 1, None, too_much(1, 0)),
            (limit(10), 10, None, None),
            (limit(10), 11, None, too_much(11, 10)),
            (NOT_EMPTY, 0, None, Some(HoldReason::Empty)),
            (NOT_EMPTY, 1, None, None),
            (shrink(50.0), 0, None, None),
            (shrink(50.0), 0, Some(0), None),
            (shrink(50.0), 1, Some(0), None),
            (shrink(50.0), 100, Some(100), None),
            (shrink(50.0), 50, Some(100), None),
            (shrink(50.0), 49, Some(100), shrunk(49, 100, 50.0)),
            (shrink(50.0), 1000, Some(100), None),
            (shrink(0.0), 100, Some(100), None),
            (shrink(0.0), 99, Some(100), shrunk(99, 100, 0.0)),
            (shrink(12.5), 7, Some(8), None),
            (shrink(12.4), 7, Some(8), shrunk(7, 8, 12.4)),
            (shrink(100.0), 0, Some(100), None),
            // The largest size does not overflow.
            (shrink(50.0), 10, Some(u64::MAX), shrunk(10, u64::MAX, 50.0)),
            (Guard { not_empty: true, ..shrink(50.0) }, 0, Some(100), Some(HoldReason::Empty)),
            (Guard { max_data: Some(1), ..shrink(50.0) }, 2, Some(100), too_much(2, 1)),
        ] {
            let content = Content::Data(vec![0; size].into());
            assert_eq!(
                guard.hold_reason(&content, applied_size),
                expected,
                "{guard:?} {size} {applied_size:?}"
            );
        }
    }
}
