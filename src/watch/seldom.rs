//! What is nearly always empty, and takes one word as long as it is.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

/// Something that takes next to no memory while it is empty: most watches are at rest most of the time, and
/// there may be a hundred thousand.
#[derive(Debug)]
pub(super) struct Seldom<T>(Option<Box<T>>);

/// What a [`Seldom`] can be: a list, or something else that can be empty.
pub(super) trait CanBeEmpty: 'static {
    const EMPTY: &'static Self;

    fn is_empty(&self) -> bool;
}

impl<T: 'static> CanBeEmpty for Vec<T> {
    const EMPTY: &'static Self = &Vec::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<T: 'static> CanBeEmpty for VecDeque<T> {
    const EMPTY: &'static Self = &VecDeque::new();

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<T: CanBeEmpty> Seldom<T> {
    /// Gives the memory back if there is nothing in it. A change takes it again.
    pub(super) fn rest(&mut self) {
        self.0.take_if(|all| all.is_empty());
    }
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: CanBeEmpty> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: CanBeEmpty + Default> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
