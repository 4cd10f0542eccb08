//! The memory of collections that were larger once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};

/// With so few places, a collection keeps its memory: some hundred KiB at most.
const FEW: usize = 1024;

/// A collection that keeps the memory of its largest size, until it is told to give it back.
pub trait Shrink {
    /// Gives memory back if hardly any of it is used. Called after each removal, this costs next to nothing:
    /// what is left is moved only after many times as much was removed.
    fn shrink_if_sparse(&mut self);
}

/// Returns the capacity that such a collection should have, if this is much too large.
pub(super) fn shrunk(len: usize, capacity: usize) -> Option<usize> {
    (capacity > FEW && len < capacity / 4).then_some(len * 2)
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn shrink_if_sparse(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher> Shrink for HashSet<T, S> {
    fn shrink_if_sparse(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

impl<T> Shrink for VecDeque<T> {
    fn shrink_if_sparse(&mut self) {
        if let Some(capacity) = shrunk(self.len(), self.capacity()) {
            self.shrink_to(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_large_keeps_only_memory_for_what_is_left_and_moves_it_seldom() {
        let mut map: HashMap<usize, usize> = (0..100_000).map(|number| (number, number)).collect();
        let mut moves = 0;
        for number in 0..100_000 - 5 {
            let before = map.capacity();
            map.remove(&number);
            map.shrink_if_sparse();
            // A removed entry may leave a place that counts as taken.
            moves += usize::from(map.capacity() < before * 3 / 4);
        }
        assert!(map.capacity() <= FEW, "{}", map.capacity());
        assert!((5..20).contains(&moves), "{moves}");
        assert_eq!(map.len(), 5);
        let small = map.capacity();
        map.clear();
        map.shrink_if_sparse();
        assert!(map.capacity() >= small, "{} of {small}", map.capacity());
        let mut queue: VecDeque<usize> = (0..100_000).collect();
        while queue.pop_front().is_some() {
            queue.shrink_if_sparse();
        }
        assert!(queue.capacity() <= FEW, "{}", queue.capacity());
    }
}
