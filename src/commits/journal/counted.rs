//! How much a table on a server has, without having the server count its rows at each question.
//!
//! The rows are counted again after a rest, which is long where counting takes long. What this program saves
//! meanwhile is added; what other servers save is known with the next count. It reads no clock.

use tokio::time::Instant;

use super::error::JournalError;
use super::interface::Size;

/// The rest after a count, in durations of the count: at most one part in a hundred of the server's time is
/// spent on it.
const REST: u32 = 100;

/// The rest after a count that failed. It is shorter, because the database may be back before it ends.
const REST_AFTER_FAILURE: u32 = 10;

/// The last count.
#[derive(Debug, Default)]
pub(super) struct Counted {
    answer: Option<Result<Size, JournalError>>,
    /// When the rows are counted again. `None` before the first count.
    next: Option<Instant>,
    is_counting: bool,
}

impl Counted {
    /// Returns what is known. If that is `None`, the rows are to be counted now, and [`Self::end`] takes the
    /// result.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Result<Size, JournalError>> {
        let is_fresh = self.is_counting || self.next.is_some_and(|next| now < next);
        let known = self.answer.clone().filter(|_| is_fresh);
        self.is_counting |= known.is_none();
        known
    }

    /// Notes a count that began at `began`, and returns what is known now. A count that failed leaves the
    /// one before it.
    pub(super) fn end(
        &mut self,
        counted: Result<Size, JournalError>,
        began: Instant,
        now: Instant,
    ) -> Result<Size, JournalError> {
        self.is_counting = false;
        let rest = if counted.is_ok() { REST } else { REST_AFTER_FAILURE };
        self.next = Some(now + now.duration_since(began) * rest);
        let answer = match (counted, self.answer.take()) {
            (Err(_), Some(Ok(before))) => Ok(before),
            (counted, _) => counted,
        };
        self.answer.insert(answer).clone()
    }

    /// Adds a commit that this program has saved.
    pub(super) fn saved(&mut self, version: i64) {
        if let Some(Ok(size)) = &mut self.answer {
            size.keys += u64::from(version == 1);
            size.commits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn size(keys: u64, commits: u64) -> Size {
        Size { keys, commits, corrupt: 0 }
    }

    fn failure() -> JournalError {
        JournalError::Unavailable("it takes too long".to_owned())
    }

    #[test]
    fn rows_are_counted_again_after_a_rest_and_what_is_saved_meanwhile_is_added() {
        let (mut counted, began) = (Counted::default(), Instant::now());
        assert_eq!(counted.begin(began), None);
        counted.saved(1);
        let took = Duration::from_millis(30);
        assert_eq!(counted.end(Ok(size(2, 5)), began, began + took), Ok(size(2, 5)));
        counted.saved(1);
        counted.saved(6);
        let rest_ends = began + took + took * REST;
        assert_eq!(counted.begin(rest_ends - Duration::from_nanos(1)), Some(Ok(size(3, 7))));
        assert_eq!(counted.begin(rest_ends), None);
        // Whoever asks while it is counted does not have it counted once more.
        assert_eq!(counted.begin(rest_ends), Some(Ok(size(3, 7))));
        assert_eq!(counted.end(Ok(size(4, 9)), rest_ends, rest_ends), Ok(size(4, 9)));
        assert_eq!(counted.begin(rest_ends), None, "it took no time");
    }

    #[test]
    fn a_table_that_cannot_be_counted_is_left_alone_for_a_while() {
        let (mut counted, began) = (Counted::default(), Instant::now());
        let took = Duration::from_secs(9);
        assert_eq!(counted.begin(began), None);
        assert_eq!(counted.begin(began), None, "nothing is known yet");
        assert_eq!(counted.end(Err(failure()), began, began + took), Err(failure()));
        assert_eq!(counted.begin(began + took * REST_AFTER_FAILURE), Some(Err(failure())));
        let again = began + took + took * REST_AFTER_FAILURE;
        assert_eq!(counted.begin(again), None);
        assert_eq!(counted.end(Ok(size(1, 1)), again, again), Ok(size(1, 1)));
        assert_eq!(counted.begin(again), None);
        assert_eq!(counted.end(Err(failure()), again, again), Ok(size(1, 1)), "the last count stands");
    }
}
