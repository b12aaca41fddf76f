//! Who owns a shard, and who may take it: what every adapter decides in the same way.
//!
//! ```text
//!             take (larger epoch)            take, from its owner (fenced first)
//!   nobody ─────────────────────► owner A ─────────────────────────────────────► owner B
//!      ▲                             │  │            give (larger epoch)            ▲ │
//!      │                             │  └───────────────────────────────────────────┘ │
//!      └─────────────────────────────┴─ release ──────────────────────────────────────┘
//! ```

use rookery_proto::ids::Epoch;

/// One run of a node. Never used twice; 0 is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The owner, as stored, of a shard that was released.
    pub const NOBODY: Self = Self(0);
}

/// What owns shards, each with epochs of its own. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ShardKind {
    /// The rooms of a shard. Who loses it is fenced before.
    Rooms = 1,
    /// The users of a shard. Nothing acknowledged rests on it, so nobody is fenced for it.
    Presence = 2,
}

impl ShardKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Rooms, Self::Presence];

    /// Whether the former owner is fenced before another takes the shard.
    #[must_use]
    pub const fn fences(self) -> bool {
        match self {
            Self::Rooms => true,
            Self::Presence => false,
        }
    }
}

/// From whom a shard is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TakeFrom {
    /// Only if nobody has it: never taken, or released.
    Nobody,
    /// From this incarnation too (dead, or this very one): it is fenced unless it is the taker.
    Owner(Incarnation),
    /// From whoever has it: only where nobody else can live (embedded).
    Anyone,
}

/// What came of taking a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It is the taker's, under this epoch.
    Taken(Epoch),
    /// The database knows another owner; nothing was changed, nobody was fenced.
    Refused {
        /// The owner.
        owner: Incarnation,
        /// Under which epoch.
        epoch: Epoch,
    },
}

/// A shard's owner, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub incarnation: Incarnation,
    /// Under which epoch.
    pub epoch: Epoch,
}

impl Owner {
    /// What the row becomes when its owner gives the shard back.
    #[must_use]
    pub fn released(self) -> Self {
        Self {
            incarnation: Incarnation::NOBODY,
            epoch: self.epoch,
        }
    }

    /// What the row becomes when its owner gives the shard to another.
    #[must_use]
    pub fn given(self, next: Incarnation) -> Self {
        Self {
            incarnation: next,
            epoch: Epoch(self.epoch.0 + 1),
        }
    }
}

/// What a taker has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fence that incarnation, if any, and then take the shard under the epoch, if its row is
    /// still as read.
    Take {
        /// Whom to fence.
        fence: Option<Incarnation>,
        /// The epoch to take or found.
        epoch: Epoch,
    },
    /// Give up.
    Refuse(Owner),
}

/// Decides from a shard's row (`None`: never taken) what `taker` has to do.
#[must_use]
pub fn decide(row: Option<Owner>, kind: ShardKind, taker: Incarnation, from: TakeFrom) -> Step {
    let Some(owner) = row else {
        return Step::Take {
            fence: None,
            epoch: Epoch(1),
        };
    };
    let other = owner.incarnation;
    let free = other == Incarnation::NOBODY || other == taker;
    let given = match from {
        TakeFrom::Nobody => free,
        TakeFrom::Owner(from) => free || other == from,
        TakeFrom::Anyone => true,
    };
    if !given {
        return Step::Refuse(owner);
    }
    Step::Take {
        fence: (!free && kind.fences()).then_some(other),
        epoch: Epoch(owner.epoch.0 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKER: Incarnation = Incarnation(7);
    const OTHER: Incarnation = Incarnation(8);
    const THIRD: Incarnation = Incarnation(9);

    fn row(incarnation: Incarnation) -> Option<Owner> {
        let epoch = Epoch(4);
        Some(Owner { incarnation, epoch })
    }

    #[test]
    fn shard_is_taken_from_whom_the_taker_names_and_that_one_is_fenced() {
        let free = |epoch| Step::Take {
            fence: None,
            epoch: Epoch(epoch),
        };
        let fenced = Step::Take {
            fence: Some(OTHER),
            epoch: Epoch(5),
        };
        let refused = Step::Refuse(row(OTHER).expect("made above"));
        let (owner, anyone) = (TakeFrom::Owner, TakeFrom::Anyone);
        for (row, from, step) in [
            (None, TakeFrom::Nobody, free(1)),
            (None, owner(OTHER), free(1)),
            (None, anyone, free(1)),
            (row(Incarnation::NOBODY), TakeFrom::Nobody, free(5)),
            (row(Incarnation::NOBODY), owner(OTHER), free(5)),
            (row(TAKER), TakeFrom::Nobody, free(5)),
            (row(TAKER), owner(TAKER), free(5)),
            (row(TAKER), owner(OTHER), free(5)),
            (row(TAKER), anyone, free(5)),
            (row(OTHER), TakeFrom::Nobody, refused),
            (row(OTHER), owner(TAKER), refused),
            (row(OTHER), owner(THIRD), refused),
            (row(OTHER), owner(OTHER), fenced),
            (row(OTHER), anyone, fenced),
        ] {
            let decided = decide(row, ShardKind::Rooms, TAKER, from);
            assert_eq!(decided, step, "{row:?} from {from:?}");
        }
    }

    #[test]
    fn presence_is_taken_without_a_fence() {
        let step = decide(
            row(OTHER),
            ShardKind::Presence,
            TAKER,
            TakeFrom::Owner(OTHER),
        );
        let epoch = Epoch(5);
        assert_eq!(step, Step::Take { fence: None, epoch });
    }
}
