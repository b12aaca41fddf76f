//! Operations by what they have in common.

use crate::checker::facts::Operation;

/// Ends a list.
pub(super) const NONE: u32 = u32::MAX;

/// Operations by what they have in common, in the order they began: lists through one vector.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// By operation.
    next: Vec<u32>,
}

impl Lists {
    pub(super) fn new(operations: &[Operation]) -> Self {
        Self {
            next: vec![NONE; operations.len()],
        }
    }

    /// Puts an operation before those of a list, of which `first` is the first.
    pub(super) fn prepend(&mut self, first: &mut u32, index: usize) {
        let number = u32::try_from(index).expect("fewer than 2^32 operations in a room");
        self.next[index] = std::mem::replace(first, number);
    }

    pub(super) fn from(&self, first: u32) -> impl Iterator<Item = usize> {
        let some = |number: u32| (number != NONE).then_some(number as usize);
        std::iter::successors(some(first), move |index| some(self.next[*index]))
    }
}

/// The operations with one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidates {
    pub(super) first: u32,
    /// The first that may still be found in the log.
    pub(super) open: u32,
}
