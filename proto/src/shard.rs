//! How a room or a user finds its shard.

use std::fmt;

/// Virtual shards of a cluster. Fixed for ever: stored epochs are per shard.
pub const SHARD_COUNT: u16 = 512;

/// One of [`SHARD_COUNT`] virtual shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(u16);

impl Shard {
    /// The shard of a room id or a user id: XXH3 of its bytes, modulo [`SHARD_COUNT`].
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        Self(u16::try_from(hash % u64::from(SHARD_COUNT)).expect("a remainder below 512"))
    }

    /// Its number, `0..SHARD_COUNT`.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// All shards, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARD_COUNT).map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here would send every stored room to another shard.
    #[test]
    fn shard_of_known_names_never_changes() {
        let shards = ["general", "room-1", "ada"].map(|name| Shard::of(name).number());
        assert_eq!(shards, SHARDS_KNOWN);
    }
    const SHARDS_KNOWN: [u16; 3] = [275, 7, 47];
}
