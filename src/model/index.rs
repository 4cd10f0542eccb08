//! An index of things by a part of them.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

use super::shrink::shrunk;

/// Finds the numbers of things by a part of them. A map would hold that part once more, which counts where
/// there are a hundred thousand. So the caller says where it is.
pub struct Index<I> {
    table: HashTable<I>,
    hasher: RandomState,
}

impl<I: Copy + PartialEq> Index<I> {
    /// Returns the number of the thing that `key` is a part of. `key_of` returns this part of a thing in the
    /// index.
    pub fn get<'a, K: Hash + Eq + ?Sized + 'a>(&self, key: &K, key_of: impl Fn(I) -> &'a K) -> Option<I> {
        self.table.find(self.hasher.hash_one(key), |number| key_of(*number) == key).copied()
    }

    /// Adds the number of a thing that is not in the index.
    pub fn insert<'a, K: Hash + Eq + ?Sized + 'a>(&mut self, number: I, key_of: impl Fn(I) -> &'a K) {
        let Self { table, hasher } = self;
        let hash = |number: &I| hasher.hash_one(key_of(*number));
        table.insert_unique(hash(&number), number, hash);
    }

    /// Removes a number. `key` is the part of its thing, and `key_of` returns those of the others.
    pub fn remove<'a, K: Hash + ?Sized + 'a>(&mut self, number: I, key: &K, key_of: impl Fn(I) -> &'a K) {
        let Self { table, hasher } = self;
        if let Ok(entry) = table.find_entry(hasher.hash_one(key), |other| *other == number) {
            entry.remove();
        }
        if let Some(capacity) = shrunk(table.len(), table.capacity()) {
            table.shrink_to(capacity, |number| hasher.hash_one(key_of(*number)));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = I> {
        self.table.iter().copied()
    }
}

impl<I> Default for Index<I> {
    fn default() -> Self {
        Self { table: HashTable::new(), hasher: RandomState::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_found_by_its_part_until_it_is_removed() {
        let names: Vec<String> = (0..1000).map(|number| format!("thing {number}")).collect();
        let name = |number: usize| names[number].as_str();
        let mut index = Index::default();
        for number in 0..names.len() {
            assert_eq!(index.get(name(number), name), None);
            index.insert(number, name);
        }
        for number in (0..names.len()).step_by(2) {
            index.remove(number, name(number), name);
        }
        for number in 0..names.len() {
            assert_eq!(index.get(name(number), name), (number % 2 == 1).then_some(number));
        }
        assert_eq!(index.iter().count(), names.len() / 2);
    }
}
