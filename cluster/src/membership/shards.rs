//! Which shards somebody owns, as a bitmap.

use std::fmt;

use rookery_proto::shard::{SHARD_COUNT, Shard};

const WORDS: usize = SHARD_COUNT as usize / 64;
/// Bytes of the bitmap on the wire.
pub const SHARD_SET_BYTES: usize = WORDS * 8;
const _: () = assert!(SHARD_COUNT.is_multiple_of(64));

/// A set of shards.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardSet([u64; WORDS]);

impl ShardSet {
    /// Whether the shard is in it.
    #[must_use]
    pub fn contains(&self, shard: Shard) -> bool {
        let (word, bit) = place(shard);
        self.0[word] & bit != 0
    }

    /// Puts the shard in.
    pub fn insert(&mut self, shard: Shard) {
        let (word, bit) = place(shard);
        self.0[word] |= bit;
    }

    /// Takes the shard out.
    pub fn remove(&mut self, shard: Shard) {
        let (word, bit) = place(shard);
        self.0[word] &= !bit;
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Its shards in order.
    pub fn iter(&self) -> impl Iterator<Item = Shard> + '_ {
        Shard::all().filter(|shard| self.contains(*shard))
    }

    /// As on the wire: bit n % 8 of byte n / 8 is shard n.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SHARD_SET_BYTES] {
        let mut bytes = [0; SHARD_SET_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; no bytes are the empty set. `None`: another
    /// length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        if bytes.len() != SHARD_SET_BYTES {
            return None;
        }
        let mut words = [0; WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("chunks of 8"));
        }
        Some(Self(words))
    }
}

fn place(shard: Shard) -> (usize, u64) {
    let number = usize::from(shard.number());
    (number / 64, 1 << (number % 64))
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        let mut set = Self::default();
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardSet({} of {SHARD_COUNT})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bitmap_holds_what_was_put_in(numbers in proptest::collection::btree_set(0..SHARD_COUNT, 0..60)) {
            let all: Vec<_> = Shard::all().collect();
            let shards: Vec<_> = numbers.iter().map(|number| all[usize::from(*number)]).collect();
            let mut set: ShardSet = shards.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), shards.clone());
            prop_assert_eq!(set.len(), shards.len());
            let bytes = set.to_bytes();
            for number in &numbers {
                prop_assert!(bytes[usize::from(number / 8)] >> (number % 8) & 1 == 1);
            }
            prop_assert_eq!(ShardSet::from_bytes(&bytes), Some(set));
            for shard in shards {
                set.remove(shard);
            }
            prop_assert!(set.is_empty());
        }
    }

    #[test]
    fn bitmap_of_another_length_is_refused() {
        assert_eq!(ShardSet::from_bytes(&[0; 63]), None);
        assert_eq!(ShardSet::from_bytes(&[]), Some(ShardSet::default()));
    }
}
