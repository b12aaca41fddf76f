//! What keeping shards asks of the node.

use rookery_proto::{ids::Epoch, shard::Shard};

use crate::endpoint::EndpointId;

/// Who owns a shard next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Name of its node, for people.
    pub node: String,
    /// Its run.
    pub incarnation: u64,
}

/// What the node must do about a shard. `Take`, `StopAdmitting` and `Release` are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Another is about to give it to us: hold what comes for it, for a moment.
    Expect {
        /// The shard.
        shard: Shard,
    },
    /// Take it in the database, from this incarnation, which is dead (fencing it), or, if `None`,
    /// only if nobody has it. Answered by `taken`, `take_refused` or `take_failed`.
    Take {
        /// The shard.
        shard: Shard,
        /// The dead incarnation that has it.
        from: Option<u64>,
    },
    /// It was given to us: the database has it so.
    Given {
        /// The shard.
        shard: Shard,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// Admit nothing more for it (answer `NotOwner` with `to`), finish what is in flight, let go
    /// of its rooms. Answered by `finished`.
    StopAdmitting {
        /// The shard.
        shard: Shard,
        /// Who is about to own it; `None`: nobody yet.
        to: Option<EndpointId>,
    },
    /// Make it the next owner's in the database, under the next epoch, or nobody's. Answered by
    /// `released` or `release_failed`.
    Release {
        /// The shard.
        shard: Shard,
        /// The epoch under which it was owned.
        epoch: Epoch,
        /// The next owner.
        to: Option<Successor>,
    },
    /// The move is off: admit again.
    Admit {
        /// The shard.
        shard: Shard,
    },
    /// Somebody else owns it under a higher epoch: let go of its rooms at once.
    Lost {
        /// The shard.
        shard: Shard,
    },
}
