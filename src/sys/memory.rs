//! Memory that is free again, and that the allocator keeps all the same, and memory that only the start
//! needed.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::program::unmap_program;

/// Fewer watches hold so little memory, some KiB each, that returning it is not worth the time.
const MANY: usize = 1000;

/// The times after which the memory is returned, each from the one before: what was loaded or removed is soon
/// dealt with; a store takes a few seconds to read a hundred thousand nodes, and on a busy host much longer.
const DELAYS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(30)];

/// The time after which the memory of the start is returned. Most starts are over then.
const START: Duration = Duration::from_secs(3);

/// Returns memory to the kernel: once after the start, and after many watches were added or removed. To load
/// a watch takes more memory than to have it.
pub struct FreeMemory {
    /// How many watches there were when the memory was last found to be worth returning.
    count: usize,
    due: Option<Instant>,
    /// How often memory was returned since then.
    trims: usize,
}

impl FreeMemory {
    /// Must be called when the process starts.
    pub fn since_start() -> Self {
        Self { count: 0, due: Some(Instant::now() + START), trims: DELAYS.len() }
    }

    /// Notes how many watches there are now.
    pub fn note(&mut self, count: usize) {
        if count.abs_diff(self.count) >= MANY {
            self.count = count;
            (self.trims, self.due) = (0, Some(Instant::now() + DELAYS[0]));
        }
    }

    /// Waits until [`Self::trim`] is due. Can be dropped at any time.
    pub async fn until_due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => pending().await,
        }
    }

    /// Takes some 10 ms for 100 MiB, in which no other thread can allocate.
    pub fn trim(&mut self) {
        self.trims += 1;
        self.due = DELAYS.get(self.trims).map(|delay| Instant::now() + *delay);
        trim_heap();
        unmap_program();
    }
}

fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and touches only memory that nobody uses.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_after_the_start_and_after_many_watches_were_added_or_removed_and_not_after_few() {
        let mut memory = FreeMemory::since_start();
        assert!(memory.due.is_some());
        memory.trim();
        assert_eq!(memory.due, None);
        for count in [MANY / 2, 5000, 5000 - MANY] {
            let is_due = count >= MANY;
            memory.note(count);
            assert_eq!(memory.due.is_some(), is_due, "{count}");
            if is_due {
                for _ in 1..DELAYS.len() {
                    memory.trim();
                    assert!(memory.due.is_some(), "the stores may take longer");
                }
                memory.trim();
            }
            memory.note(count + 1);
            memory.note(count);
            assert_eq!(memory.due, None);
        }
    }
}
