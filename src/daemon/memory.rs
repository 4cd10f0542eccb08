//! Memory that is free again after many watches were removed.

use std::time::Duration;

use tokio::time::Instant;

use crate::sys;

/// Fewer watches hold so little memory, some 2 KiB each, that returning it is not worth the time.
const MANY: usize = 1000;

/// The time after which the memory is returned: the stores release theirs later than the daemon.
const DELAY: Duration = Duration::from_secs(2);

/// Returns memory to the kernel after many watches were removed. The allocator keeps it otherwise.
#[derive(Default)]
pub struct Memory {
    /// The most watches since memory was returned last.
    peak: usize,
    due: Option<Instant>,
}

impl Memory {
    /// Notes how many watches there are now.
    pub fn note(&mut self, watches: usize) {
        if watches + MANY <= self.peak {
            self.peak = watches;
            self.due = Some(Instant::now() + DELAY);
        }
        self.peak = self.peak.max(watches);
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn trim(&mut self) {
        self.due = None;
        sys::trim_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_after_many_watches_were_removed_and_not_after_few() {
        let mut memory = Memory::default();
        memory.note(5000);
        memory.note(5000 - MANY + 1);
        assert_eq!(memory.due(), None);
        memory.note(5000 - MANY);
        assert!(memory.due().is_some());
        memory.trim();
        memory.note(5000 - MANY);
        assert_eq!(memory.due(), None);
    }
}
