//! A sorted map for few entries.
//!
//! A user has a device or two, and a node has many users: the standard tree takes memory for eleven
//! entries at once, which was half of what a connected user held.

/// Keys in their order, each with a value; not much larger than it is full.
#[derive(Debug)]
pub(super) struct Few<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<K: Ord, V> Few<K, V> {
    fn place(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(known, _)| known.cmp(key))
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let place = self.place(key).ok()?;
        Some(&self.entries[place].1)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        Some(&mut self.entries[place].1)
    }

    /// In place of what was there under this key.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(place) => self.entries[place].1 = value,
            Err(place) => {
                let count = self.entries.len();
                if count == self.entries.capacity() {
                    self.entries.reserve_exact(1 + count / 2);
                }
                self.entries.insert(place, (key, value));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key).ok()?;
        let (_, value) = self.entries.remove(place);
        let count = self.entries.len();
        if self.entries.capacity() > 4 * (count + 1) {
            self.entries.shrink_to(2 * count);
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// In the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_entries_are_as_the_standard_map_has_them(
            changes in proptest::collection::vec((0_u8..12, proptest::option::of(0_u16..)), 0..80),
        ) {
            let (mut few, mut tree) = (Few::default(), BTreeMap::new());
            for (key, value) in changes {
                match value {
                    Some(value) => {
                        few.insert(key, value);
                        tree.insert(key, value);
                    }
                    None => prop_assert_eq!(few.remove(&key), tree.remove(&key)),
                }
                prop_assert_eq!(few.get(&key), tree.get(&key));
                prop_assert_eq!(few.get_mut(&key).is_some(), tree.contains_key(&key));
                prop_assert_eq!((few.len(), few.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert!(few.iter().eq(tree.iter()));
            }
        }
    }

    #[test]
    fn one_entry_takes_the_memory_of_one() {
        let mut few = Few::default();
        few.insert(1, 'a');
        assert_eq!(few.entries.capacity(), 1);
    }

    #[test]
    fn memory_of_many_entries_is_given_back_when_they_go() {
        let mut few = Few::default();
        (0..1_000).for_each(|key| few.insert(key, 'a'));
        (1..1_000).for_each(|key| assert!(few.remove(&key).is_some()));
        assert_eq!(few.get(&0), Some(&'a'));
        assert!(few.entries.capacity() <= 8, "{}", few.entries.capacity());
    }
}
