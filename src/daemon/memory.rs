//! Memory that is free again after many watches were removed.

use std::time::Duration;

use tokio::time::Instant;

use crate::sys;

/// Fewer watches hold so little memory, some 2 KiB each, that returning it is not worth the time.
const MANY: usize = 1000;

/// The times after which the memory is returned: the stores release theirs later than the daemon, and much
/// later on a busy host.
const DELAYS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// Returns memory to the kernel after many watches were removed. The allocator keeps it otherwise.
#[derive(Default)]
pub struct Memory {
    /// The most watches since memory was returned last.
    peak: usize,
    due: Option<Instant>,
    /// How often memory was returned since many watches were removed.
    trims: usize,
}

impl Memory {
    /// Notes how many watches there are now.
    pub fn note(&mut self, watches: usize) {
        if watches + MANY <= self.peak {
            self.peak = watches;
            (self.trims, self.due) = (0, Some(Instant::now() + DELAYS[0]));
        }
        self.peak = self.peak.max(watches);
    }

    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn trim(&mut self) {
        self.trims += 1;
        self.due = DELAYS.get(self.trims).map(|delay| Instant::now() + *delay);
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
        assert!(memory.due().is_some(), "the stores may take longer");
        memory.trim();
        memory.note(5000 - MANY);
        assert_eq!(memory.due(), None);
    }
}
